/* SPDX-License-Identifier: MIT
 *
 * Beginnings of zstd frames; see ma_zstd.h.
 */
#include "ma_zstd.h"

#include <stdint.h>
#include <string.h>
#include <zstd.h>

#define TRIES 4096 /* of places that look like a frame */

const unsigned char ma_zstd_magic[4] = {0x28, 0xb5, 0x2f, 0xfd};

bool ma_zstd_begins(const unsigned char *data, size_t size)
{
    if (size < 4)
        return false;
    uint32_t magic = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                     (uint32_t)data[3] << 24;
    return magic == ZSTD_MAGICNUMBER || (magic & 0xfffffff0u) == ZSTD_MAGIC_SKIPPABLE_START;
}

size_t ma_zstd_find(const unsigned char *data, size_t size)
{
    unsigned char some[64];
    size_t found = size, at = 0;
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (stream)
        ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, MA_ZSTD_WINDOW_LOG_MAX);
    for (int i = 0; stream && found == size && i < TRIES; i++, at++) {
        const unsigned char *magic =
            memmem(data + at, size - at, ma_zstd_magic, sizeof ma_zstd_magic);
        if (!magic)
            break;
        at = (size_t)(magic - data);
        ZSTD_inBuffer in = {data, size, at};
        ZSTD_outBuffer out = {some, sizeof some, 0};
        ZSTD_DCtx_reset(stream, ZSTD_reset_session_only);
        if (!ZSTD_isError(ZSTD_decompressStream(stream, &out, &in)) && out.pos)
            found = at;
    }
    ZSTD_freeDStream(stream);
    return found;
}
