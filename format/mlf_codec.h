/* SPDX-License-Identifier: MIT
 *
 * The trace format's number codec (FORMAT.md section 2): fixed-width
 * little-endian integers, the prefix varint "vu", zigzag, CRC-32, and the checksum
 * of a mapped chunk. Header-only,
 * no allocation, no state: safe in any context, a signal handler included.
 */
#ifndef MLF_CODEC_H
#define MLF_CODEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MLF_VU_MAX 9   /* longest vu in bytes */
#define MLF_VU_SLACK 9 /* bytes mlf_put_vu may touch from its start on */

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define MLF_SWAP16(v) __builtin_bswap16(v)
#define MLF_SWAP32(v) __builtin_bswap32(v)
#define MLF_SWAP64(v) __builtin_bswap64(v)
#else
#define MLF_SWAP16(v) (v)
#define MLF_SWAP32(v) (v)
#define MLF_SWAP64(v) (v)
#endif

static inline uint16_t mlf_get_u16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return MLF_SWAP16(v);
}

static inline uint32_t mlf_get_u32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return MLF_SWAP32(v);
}

static inline uint64_t mlf_get_u64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return MLF_SWAP64(v);
}

static inline void mlf_put_u16(unsigned char *p, uint16_t v)
{
    v = MLF_SWAP16(v);
    memcpy(p, &v, sizeof v);
}

static inline void mlf_put_u32(unsigned char *p, uint32_t v)
{
    v = MLF_SWAP32(v);
    memcpy(p, &v, sizeof v);
}

static inline void mlf_put_u64(unsigned char *p, uint64_t v)
{
    v = MLF_SWAP64(v);
    memcpy(p, &v, sizeof v);
}

/* Write v as a vu at p; return the position after it. Stores up to
 * MLF_VU_SLACK bytes from p on, those after the number being zero. */
static inline unsigned char *mlf_put_vu(unsigned char *p, uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
    unsigned length = (bits * 37 + 222) >> 8; /* ceil(bits / 7) for 1 to 64 */
    if (__builtin_expect(length > 8, 0)) {
        *p = 0;
        mlf_put_u64(p + 1, v);
        return p + 9;
    }
    mlf_put_u64(p, (v << length) | (1ull << (length - 1)));
    return p + length;
}

static inline unsigned mlf_vu_size(uint64_t v)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
    unsigned length = (bits * 37 + 222) >> 8;
    return length > 8 ? 9 : length;
}

/* Read a vu from [*p, end) and advance *p; return 0, or -1 with *p unchanged
 * if the number does not end before end. */
static inline int mlf_get_vu(const unsigned char **p, const unsigned char *end, uint64_t *value)
{
    const unsigned char *at = *p;
    if (at >= end)
        return -1;
    if (*at == 0) {
        if (end - at < 9)
            return -1;
        *value = mlf_get_u64(at + 1);
        *p = at + 9;
        return 0;
    }
    unsigned length = (unsigned)__builtin_ctz(*at) + 1;
    if (end - at < (ptrdiff_t)length)
        return -1;
    uint64_t v = 0;
    if (end - at >= 8) {
        v = mlf_get_u64(at);
        if (length < 8)
            v &= (1ull << (8 * length)) - 1;
    } else {
        for (unsigned i = 0; i < length; i++)
            v |= (uint64_t)at[i] << (8 * i);
    }
    *value = v >> length;
    *p = at + length;
    return 0;
}

static inline uint64_t mlf_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t mlf_unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* The default usable size of FORMAT.md section 7. */
static inline uint64_t mlf_default_usable(uint64_t size, uint64_t header, uint64_t grain,
                                          uint64_t smallest)
{
    uint64_t sum = size + header + grain - 1;
    uint64_t usable = sum - sum % grain - header;
    return usable < smallest ? smallest : usable;
}

/* CRC-32 of section 2, continued from crc (0 to begin). The table of a caller
 * is filled by mlf_crc_table_fill and may live in read-only memory after. */
struct mlf_crc_table {
    uint32_t slice[8][256];
};

static inline void mlf_crc_table_fill(struct mlf_crc_table *table)
{
    for (unsigned i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = (c >> 1) ^ (0xedb88320u & -(c & 1));
        table->slice[0][i] = c;
    }
    for (unsigned i = 0; i < 256; i++)
        for (int s = 1; s < 8; s++)
            table->slice[s][i] =
                (table->slice[s - 1][i] >> 8) ^ table->slice[0][table->slice[s - 1][i] & 0xff];
}

static inline uint32_t mlf_crc32(const struct mlf_crc_table *table, uint32_t crc, const void *data,
                                 size_t size)
{
    const unsigned char *p = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = crc ^ mlf_get_u32(p), high = mlf_get_u32(p + 4);
        crc = table->slice[7][low & 0xff] ^ table->slice[6][low >> 8 & 0xff] ^
              table->slice[5][low >> 16 & 0xff] ^ table->slice[4][low >> 24] ^
              table->slice[3][high & 0xff] ^ table->slice[2][high >> 8 & 0xff] ^
              table->slice[1][high >> 16 & 0xff] ^ table->slice[0][high >> 24];
    }
    for (; size; size--, p++)
        crc = (crc >> 8) ^ table->slice[0][(crc ^ *p) & 0xff];
    return ~crc;
}

/* The checksum of section 2. It takes general registers only, as it runs in the target,
 * and there about three instructions for eight bytes. */
#define MLF_SUM_BLOCK 32
#define MLF_SUM_FACTOR 0x9e3779b97f4a7c15u

struct mlf_sum {
    uint64_t lanes[4];
};

static inline uint64_t mlf_sum_fold(uint64_t lane, uint64_t word)
{
    lane ^= word;
    return (lane << 29 | lane >> 35) * MLF_SUM_FACTOR;
}

static inline struct mlf_sum mlf_sum_begin(void)
{
    return (struct mlf_sum){{1, 2, 3, 4}};
}

/* Whole blocks: `size` is a multiple of MLF_SUM_BLOCK. */
static inline void mlf_sum_add(struct mlf_sum *sum, const unsigned char *p, size_t size)
{
    uint64_t a = sum->lanes[0], b = sum->lanes[1], c = sum->lanes[2], d = sum->lanes[3];
    for (const unsigned char *end = p + size; p != end; p += MLF_SUM_BLOCK) {
        a = mlf_sum_fold(a, mlf_get_u64(p));
        b = mlf_sum_fold(b, mlf_get_u64(p + 8));
        c = mlf_sum_fold(c, mlf_get_u64(p + 16));
        d = mlf_sum_fold(d, mlf_get_u64(p + 24));
    }
    *sum = (struct mlf_sum){{a, b, c, d}};
}

/* The checksum, of `all` bytes, of which the last `size` are at p and were not added. */
static inline uint64_t mlf_sum_end(struct mlf_sum sum, const unsigned char *p, size_t size,
                                   uint64_t all)
{
    unsigned char last[MLF_SUM_BLOCK] = {0};
    size_t whole = size - size % MLF_SUM_BLOCK;
    mlf_sum_add(&sum, p, whole);
    if (size > whole) {
        memcpy(last, p + whole, size - whole);
        mlf_sum_add(&sum, last, sizeof last);
    }
    for (int i = 0; i < 4; i++)
        all = mlf_sum_fold(all, sum.lanes[i]);
    return (all ^ all >> 32) | 1ull << 63; /* a record's last byte: no zero */
}

static inline uint64_t mlf_checksum(const unsigned char *p, size_t size)
{
    return mlf_sum_end(mlf_sum_begin(), p, size, size);
}

#endif
