/* SPDX-License-Identifier: MIT
 *
 * Two-level segregated fit, after Masmano, Ripoll, Crespo and Real, "TLSF: a New
 * Dynamic Memory Allocator for Real-Time Systems" (2004): every call takes a bounded
 * number of steps, whatever the heap looks like. Pools lie in memory that the caller
 * gives; there are no globals, no calls into libc, no locks. libmlog-tlsf.so serves
 * programs with it, and mlog-analyze --pool replays a trace through it.
 *
 * The end of the newest pool that no block lies in, the top, is in no list: it is cut
 * only where no listed block fits, and exactly. So where blocks lie does not depend
 * on how large the pool is, and the smallest pool that holds a sequence of calls is
 * the furthest that the top ever began (mlog_tlsf_high) in one that is large enough.
 * A test runs both (tests/unit/test_tlsf.c).
 *
 * One thread at a time may use a struct mlog_tlsf and its blocks.
 */
#ifndef MLOG_TLSF_H
#define MLOG_TLSF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLOG_TLSF_ALIGNMENT 16 /* of every block */
#define MLOG_TLSF_SECOND_LOG2 5
#define MLOG_TLSF_SECOND (1 << MLOG_TLSF_SECOND_LOG2) /* lists of one power of two */
#define MLOG_TLSF_FIRST 40                            /* powers of two */
#define MLOG_TLSF_TAGS (sizeof(size_t) == 8 ? 1 << 16 : 1)

/* Bytes of a pool that no block can have. */
#define MLOG_TLSF_POOL_OVERHEAD 16
/* No pool and no block may be larger. */
#define MLOG_TLSF_MAX (sizeof(size_t) == 8 ? (size_t)((uint64_t)1 << 47) : (size_t)1 << 30)

struct mlog_tlsf_block;

struct mlog_tlsf {
    uint64_t first; /* bit n: second[n] is not 0 */
    uint32_t second[MLOG_TLSF_FIRST];
    struct mlog_tlsf_block *lists[MLOG_TLSF_FIRST][MLOG_TLSF_SECOND];
    struct mlog_tlsf_block *top; /* NULL: the newest pool is full to its end */
    struct mlog_tlsf_block *end; /* what closes the newest pool; NULL: no pool yet */
    char *base;                  /* of the newest pool */
    char *high;                  /* where its top began at most */
    char *fresh;                 /* from here on it was never written to */
    size_t used, blocks;         /* with headers and rounding; of all pools */
    size_t pooled;               /* bytes of all pools */
    size_t tag;
};

/* Begin without a pool. tag: below MLOG_TLSF_TAGS, given back by mlog_tlsf_tag of
 * each block. */
void mlog_tlsf_init(struct mlog_tlsf *tlsf, unsigned tag);

/* Give it memory, for good, which becomes the newest pool. Requires a multiple of
 * MLOG_TLSF_ALIGNMENT for address and size. zeroed: it holds zeros. Returns false if the
 * size is above MLOG_TLSF_MAX or too small for a block. */
bool mlog_tlsf_add_pool(struct mlog_tlsf *tlsf, void *memory, size_t size, bool zeroed);

/* A block, NULL if no pool has room. alignment: a power of two, or 0. dirty: of a block, how
 * many of its first bytes may not be zero (may be NULL). */
void *mlog_tlsf_allocate(struct mlog_tlsf *tlsf, size_t alignment, size_t size, size_t *dirty);

void mlog_tlsf_free(struct mlog_tlsf *tlsf, void *block);

/* Make a block larger or smaller where it lies. Returns false, with nothing changed, if
 * it cannot become as large. */
bool mlog_tlsf_resize(struct mlog_tlsf *tlsf, void *block, size_t size);

/* The bytes that the owner of a block may use. */
size_t mlog_tlsf_usable(const void *block);

/* The tag of whoever allocated it. */
unsigned mlog_tlsf_tag(const void *block);

/* False if this is certainly no block in use: a wrong address (which must be readable,
 * 16 bytes before and at it) or one that was freed. */
bool mlog_tlsf_plausible(const void *block);

/* The smallest pool that certainly holds a block as its first; SIZE_MAX if none does. */
size_t mlog_tlsf_pool_for(size_t alignment, size_t size);

/* The size by which pools grow for a request: additional, doubled until the request
 * fits. Returns 0 if that is above MLOG_TLSF_MAX. Requires additional > 0. */
size_t mlog_tlsf_growth(size_t additional, size_t alignment, size_t size);

/* Of the newest pool: the size that it would need for what it holds now, and for what it
 * ever held. */
size_t mlog_tlsf_extent(const struct mlog_tlsf *tlsf);
size_t mlog_tlsf_high(const struct mlog_tlsf *tlsf);

/* Check all that must hold of a pool, block by block, and of the lists, entry by entry.
 * The pools are all of the allocator's. Returns NULL, or what does not hold. */
struct mlog_tlsf_pool {
    void *memory;
    size_t size;
};
const char *mlog_tlsf_check(const struct mlog_tlsf *tlsf, const struct mlog_tlsf_pool *pools,
                            size_t n);

/* Make `copy` the same allocator over copies of its pools: of each one the headers are
 * written at the same distance from `to` as they lie from `from`, payloads are not.
 * Requires that all pools lie at that distance. */
void mlog_tlsf_copy(struct mlog_tlsf *copy, const struct mlog_tlsf *tlsf,
                    const struct mlog_tlsf_pool *pools, size_t n, const void *from, void *to);

#endif
