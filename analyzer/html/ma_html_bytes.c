/* SPDX-License-Identifier: MIT
 *
 * The bytes of the interactive report: numbers of few bytes, deflated, in base64.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "ma_html.h"

void ma_html_put(struct ma_html_bytes *bytes, const void *from, size_t n)
{
    if (bytes->capacity - bytes->n < n) {
        const size_t capacity = (bytes->n + n) + (bytes->n + n) / 2 + 64;
        unsigned char *at = realloc(bytes->at, capacity);
        if (!at) {
            bytes->failed = true;
            return;
        }
        bytes->at = at;
        bytes->capacity = capacity;
    }
    if (n)
        memcpy(bytes->at + bytes->n, from, n);
    bytes->n += n;
}

void ma_html_put_number(struct ma_html_bytes *bytes, uint64_t number)
{
    unsigned char text[10];
    size_t n = 0;
    for (; number >= 128; number >>= 7)
        text[n++] = (unsigned char)(number | 128);
    text[n++] = (unsigned char)number;
    ma_html_put(bytes, text, n);
}

void ma_html_put_change(struct ma_html_bytes *bytes, int64_t change)
{
    ma_html_put_number(bytes, (uint64_t)change << 1 ^ (uint64_t)(change >> 63));
}

int ma_html_deflate(const struct ma_html_bytes *from, struct ma_html_bytes *to)
{
    const uLong bound = compressBound((uLong)from->n);
    unsigned char *at = realloc(to->at, bound);
    if (from->failed || !at)
        return -ENOMEM;
    uLongf n = bound;
    to->at = at;
    to->capacity = bound;
    const int status = compress2(at, &n, from->at, (uLong)from->n, Z_DEFAULT_COMPRESSION);
    to->n = n;
    return status == Z_OK ? 0 : -ENOMEM;
}

void ma_html_write_base64(const struct ma_html_bytes *from, FILE *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < from->n; i += 3) {
        const size_t left = from->n - i;
        const unsigned triple = (unsigned)from->at[i] << 16 |
                                (left > 1 ? (unsigned)from->at[i + 1] << 8 : 0) |
                                (left > 2 ? from->at[i + 2] : 0);
        const char four[4] = {digits[triple >> 18], digits[triple >> 12 & 63],
                              left > 1 ? digits[triple >> 6 & 63] : '=',
                              left > 2 ? digits[triple & 63] : '='};
        fwrite(four, 1, sizeof four, out);
    }
}
