/* SPDX-License-Identifier: MIT
 *
 * Two-level segregated fit; see mlog_tlsf.h. A block is preceded by one word, its head:
 * its pitch (the bytes from it to the next block), two flags and a tag. The word in
 * front of that belongs to the block before, and holds that one's address while it is
 * free. A free block has its links in its payload. No function has a loop but
 * mlog_tlsf_growth (a doubling each), mlog_tlsf_check and mlog_tlsf_copy.
 */
#include "mlog_tlsf.h"

struct mlog_tlsf_block {
    struct mlog_tlsf_block *before; /* free, if PREVIOUS_FREE is set; else payload of that one */
    size_t head;
    struct mlog_tlsf_block *next, *previous; /* while it is free and not the top */
};

#define WORD sizeof(size_t)
#define HEADER (2 * WORD) /* from a block to its payload */
#define GRAIN ((size_t)MLOG_TLSF_ALIGNMENT)
#define MIN_PITCH (4 * WORD)
#define SMALL_LOG2 9 /* below, a list for each pitch */
#define SMALL ((size_t)1 << SMALL_LOG2)

#define FREE ((size_t)1)
#define PREVIOUS_FREE ((size_t)2)
#define PITCH ((((size_t)1 << (WORD == 8 ? 24 : 15)) << (WORD == 8 ? 24 : 16)) - GRAIN)
#define TAG_SHIFT (WORD == 8 ? 48 : 0)

_Static_assert(MIN_PITCH % MLOG_TLSF_ALIGNMENT == 0, "a block ends where another may begin");
_Static_assert(sizeof(struct mlog_tlsf_block) <= MIN_PITCH, "links fit into any block");

static struct mlog_tlsf_block *block_of(const void *payload)
{
    return (struct mlog_tlsf_block *)((char *)payload - HEADER);
}

static void *payload_of(struct mlog_tlsf_block *block)
{
    return (char *)block + HEADER;
}

static size_t pitch_of(const struct mlog_tlsf_block *block)
{
    return block->head & PITCH;
}

static struct mlog_tlsf_block *following(const struct mlog_tlsf_block *block)
{
    return (struct mlog_tlsf_block *)((char *)block + pitch_of(block));
}

static bool closes_pool(const struct mlog_tlsf_block *block)
{
    return pitch_of(block) == 0;
}

/* The pitch of a block of this size; 0: too large. */
static size_t pitch_for(size_t size)
{
    if (size > MLOG_TLSF_MAX)
        return 0;
    const size_t pitch = (size + WORD + GRAIN - 1) & ~(GRAIN - 1);
    return pitch < MIN_PITCH ? MIN_PITCH : pitch;
}

static unsigned log2_of(size_t value)
{
    return 63 - (unsigned)__builtin_clzll(value);
}

/* The list of blocks of this pitch, and of up to the next one's. */
static void place(size_t pitch, unsigned *first, unsigned *second)
{
    if (pitch < SMALL) {
        *first = 0;
        *second = (unsigned)(pitch / GRAIN);
    } else {
        const unsigned log2 = log2_of(pitch);
        *first = log2 - SMALL_LOG2 + 1;
        *second = (unsigned)(pitch >> (log2 - MLOG_TLSF_SECOND_LOG2)) & (MLOG_TLSF_SECOND - 1);
    }
}

static void insert(struct mlog_tlsf *tlsf, struct mlog_tlsf_block *block)
{
    unsigned first, second;
    place(pitch_of(block), &first, &second);
    struct mlog_tlsf_block *head = tlsf->lists[first][second];
    block->next = head;
    block->previous = NULL;
    if (head)
        head->previous = block;
    tlsf->lists[first][second] = block;
    tlsf->second[first] |= (uint32_t)1 << second;
    tlsf->first |= (uint64_t)1 << first;
}

static void take_out(struct mlog_tlsf *tlsf, struct mlog_tlsf_block *block)
{
    if (block->next)
        block->next->previous = block->previous;
    if (block->previous) {
        block->previous->next = block->next;
        return;
    }
    unsigned first, second;
    place(pitch_of(block), &first, &second);
    tlsf->lists[first][second] = block->next;
    if (block->next)
        return;
    tlsf->second[first] &= ~((uint32_t)1 << second);
    if (!tlsf->second[first])
        tlsf->first &= ~((uint64_t)1 << first);
}

/* A listed block of at least this pitch, out of its list; NULL: there is none. The pitch is
 * rounded up to the next list: there any block fits, and none is looked at. */
static struct mlog_tlsf_block *take(struct mlog_tlsf *tlsf, size_t pitch)
{
    unsigned first, second;
    if (pitch >= SMALL)
        pitch += ((size_t)1 << (log2_of(pitch) - MLOG_TLSF_SECOND_LOG2)) - 1;
    place(pitch, &first, &second);
    if (first >= MLOG_TLSF_FIRST)
        return NULL;
    uint32_t lists = tlsf->second[first] & ~(uint32_t)0 << second;
    if (!lists) {
        const uint64_t larger = tlsf->first & ~(uint64_t)0 << (first + 1);
        if (!larger)
            return NULL;
        first = (unsigned)__builtin_ctzll(larger);
        lists = tlsf->second[first];
    }
    struct mlog_tlsf_block *block = tlsf->lists[first][__builtin_ctz(lists)];
    take_out(tlsf, block);
    return block;
}

/* Write the head of a block, keeping what it says of the one before. */
static void set_head(const struct mlog_tlsf *tlsf, struct mlog_tlsf_block *block, size_t pitch,
                     size_t is_free)
{
    block->head =
        pitch | is_free | (block->head & PREVIOUS_FREE) | (WORD == 8 ? tlsf->tag << TAG_SHIFT : 0);
}

/* Tell the block behind a free one of it. What closes a pool need not know where it is,
 * and the word for that may be memory that was never written to. */
static void mark_free(struct mlog_tlsf_block *block)
{
    struct mlog_tlsf_block *next = following(block);
    next->head |= PREVIOUS_FREE;
    if (!closes_pool(next))
        next->before = block;
}

static void set_top(struct mlog_tlsf *tlsf, struct mlog_tlsf_block *top)
{
    char *begin = (char *)(top ? top : tlsf->end);
    tlsf->top = top;
    if (begin > tlsf->high)
        tlsf->high = begin;
    if (begin + HEADER > tlsf->fresh)
        tlsf->fresh = begin + HEADER;
}

/* A block of `have` bytes, free and in no list, keeps `pitch` of them and is used; what is
 * left behind it is listed, or the top again. A rest too small for a block stays with it. */
static void use(struct mlog_tlsf *tlsf, struct mlog_tlsf_block *block, size_t have, size_t pitch,
                bool is_top)
{
    const size_t rest = have - pitch;
    if (rest < MIN_PITCH) {
        set_head(tlsf, block, have, 0);
        following(block)->head &= ~PREVIOUS_FREE;
        if (is_top)
            set_top(tlsf, NULL);
        return;
    }
    set_head(tlsf, block, pitch, 0);
    struct mlog_tlsf_block *behind = following(block);
    behind->head = 0;
    set_head(tlsf, behind, rest, FREE);
    mark_free(behind);
    if (is_top)
        set_top(tlsf, behind);
    else
        insert(tlsf, behind);
}

/* From a payload to the next one of this alignment, with room for a block between them
 * or no room at all. */
static size_t gap_at(const void *payload, size_t alignment)
{
    const size_t gap = (size_t)(-(uintptr_t)payload & (alignment - 1));
    return gap && gap < MIN_PITCH ? gap + alignment : gap;
}

/* Leave the first `gap` bytes of a block that is in no list as a free one. Returns the
 * rest. */
static struct mlog_tlsf_block *cut_gap(struct mlog_tlsf *tlsf, struct mlog_tlsf_block *block,
                                       size_t gap)
{
    set_head(tlsf, block, gap, FREE);
    insert(tlsf, block);
    struct mlog_tlsf_block *rest = following(block);
    rest->head = PREVIOUS_FREE;
    rest->before = block;
    return rest;
}

void *mlog_tlsf_allocate(struct mlog_tlsf *tlsf, size_t alignment, size_t size, size_t *dirty)
{
    const size_t pitch = pitch_for(size);
    if (!pitch || alignment > MLOG_TLSF_MAX)
        return NULL;
    const bool aligned = alignment > GRAIN;
    struct mlog_tlsf_block *block = take(tlsf, aligned ? pitch + alignment + MIN_PITCH : pitch);
    const bool is_top = !block;
    if (is_top)
        block = tlsf->top;
    if (!block)
        return NULL;
    size_t have = pitch_of(block);
    const size_t gap = aligned ? gap_at(payload_of(block), alignment) : 0;
    if (is_top && (have < gap || have - gap < pitch))
        return NULL;
    const char *fresh = tlsf->fresh;
    if (gap) {
        block = cut_gap(tlsf, block, gap);
        have -= gap;
    }
    use(tlsf, block, have, pitch, is_top);
    tlsf->used += pitch_of(block);
    tlsf->blocks++;
    char *payload = payload_of(block);
    if (dirty) {
        *dirty = !is_top || payload < fresh ? size : 0;
        if (is_top && payload < fresh && (size_t)(fresh - payload) < size)
            *dirty = (size_t)(fresh - payload);
    }
    return payload;
}

void mlog_tlsf_free(struct mlog_tlsf *tlsf, void *payload)
{
    struct mlog_tlsf_block *block = block_of(payload);
    size_t pitch = pitch_of(block);
    struct mlog_tlsf_block *next = following(block);
    tlsf->used -= pitch;
    tlsf->blocks--;
    block->head |= FREE; /* for mlog_tlsf_plausible, also where it becomes part of another */
    if (block->head & PREVIOUS_FREE) {
        block = block->before;
        take_out(tlsf, block);
        pitch += pitch_of(block);
    }
    const bool is_top = next == tlsf->top || next == tlsf->end;
    if (next->head & FREE) {
        if (next != tlsf->top)
            take_out(tlsf, next);
        pitch += pitch_of(next);
    }
    set_head(tlsf, block, pitch, FREE);
    mark_free(block);
    if (is_top)
        set_top(tlsf, block);
    else
        insert(tlsf, block);
}

bool mlog_tlsf_resize(struct mlog_tlsf *tlsf, void *payload, size_t size)
{
    struct mlog_tlsf_block *block = block_of(payload);
    const size_t pitch = pitch_for(size), had = pitch_of(block);
    if (!pitch)
        return false;
    if (pitch > had) {
        struct mlog_tlsf_block *next = following(block);
        const size_t have = had + (next->head & FREE ? pitch_of(next) : 0);
        if (have < pitch)
            return false;
        const bool is_top = next == tlsf->top;
        if (!is_top)
            take_out(tlsf, next);
        use(tlsf, block, have, pitch, is_top);
        tlsf->used += pitch_of(block) - had;
    } else if (had - pitch >= MIN_PITCH) {
        set_head(tlsf, block, pitch, 0);
        struct mlog_tlsf_block *rest = following(block);
        rest->head = 0;
        set_head(tlsf, rest, had - pitch, 0);
        tlsf->blocks++; /* for a moment, two */
        mlog_tlsf_free(tlsf, payload_of(rest));
    }
    return true;
}

size_t mlog_tlsf_usable(const void *payload)
{
    return pitch_of(block_of(payload)) - WORD;
}

unsigned mlog_tlsf_tag(const void *payload)
{
    return WORD == 8 ? (unsigned)(block_of(payload)->head >> TAG_SHIFT) : 0;
}

bool mlog_tlsf_plausible(const void *payload)
{
    const struct mlog_tlsf_block *block = block_of(payload);
    return (uintptr_t)payload % GRAIN == 0 && !(block->head & (FREE | (GRAIN - 4))) &&
           pitch_of(block) >= MIN_PITCH;
}

void mlog_tlsf_init(struct mlog_tlsf *tlsf, unsigned tag)
{
    *tlsf = (struct mlog_tlsf){.tag = tag};
}

bool mlog_tlsf_add_pool(struct mlog_tlsf *tlsf, void *memory, size_t size, bool zeroed)
{
    if (size > MLOG_TLSF_MAX || size < MLOG_TLSF_POOL_OVERHEAD + MIN_PITCH)
        return false;
    if (tlsf->top)
        insert(tlsf, tlsf->top);
    struct mlog_tlsf_block *block = block_of((char *)memory + MLOG_TLSF_POOL_OVERHEAD);
    tlsf->end = block_of((char *)memory + size);
    tlsf->end->head = 0;
    tlsf->base = memory;
    tlsf->high = (char *)block;
    tlsf->fresh = zeroed ? (char *)memory : (char *)memory + size;
    tlsf->pooled += size;
    block->head = 0;
    set_head(tlsf, block, size - MLOG_TLSF_POOL_OVERHEAD, FREE);
    mark_free(block);
    set_top(tlsf, block);
    return true;
}

size_t mlog_tlsf_pool_for(size_t alignment, size_t size)
{
    const size_t pitch = pitch_for(size);
    if (!pitch || alignment > MLOG_TLSF_MAX)
        return SIZE_MAX;
    return pitch + (alignment > GRAIN ? alignment + MIN_PITCH : 0) + MLOG_TLSF_POOL_OVERHEAD;
}

size_t mlog_tlsf_growth(size_t additional, size_t alignment, size_t size)
{
    const size_t needed = mlog_tlsf_pool_for(alignment, size);
    size_t growth = additional;
    while (growth < needed && growth <= MLOG_TLSF_MAX)
        growth *= 2;
    return growth <= MLOG_TLSF_MAX ? growth : 0;
}

/* A pool whose top begins there: up to what would close it. */
static size_t size_up_to(const struct mlog_tlsf *tlsf, const char *top)
{
    return tlsf->end ? (size_t)(top + HEADER - tlsf->base) : 0;
}

size_t mlog_tlsf_extent(const struct mlog_tlsf *tlsf)
{
    return size_up_to(tlsf, (const char *)(tlsf->top ? tlsf->top : tlsf->end));
}

size_t mlog_tlsf_high(const struct mlog_tlsf *tlsf)
{
    return size_up_to(tlsf, tlsf->high);
}

/* A block is in the list that it belongs to, by the links around it. */
static bool is_listed(const struct mlog_tlsf *tlsf, const struct mlog_tlsf_block *block)
{
    unsigned first, second;
    place(pitch_of(block), &first, &second);
    const struct mlog_tlsf_block *head = tlsf->lists[first][second];
    return (block->previous ? block->previous->next == block : head == block) &&
           (!block->next || block->next->previous == block);
}

static const char *check_pool(const struct mlog_tlsf *tlsf, const struct mlog_tlsf_pool *pool,
                              size_t *used, size_t *blocks, size_t *listed)
{
    const struct mlog_tlsf_block *block =
        block_of((const char *)pool->memory + MLOG_TLSF_POOL_OVERHEAD);
    const struct mlog_tlsf_block *end = block_of((const char *)pool->memory + pool->size);
    const struct mlog_tlsf_block *before = NULL;
    while (block < end) {
        if (pitch_of(block) < MIN_PITCH || pitch_of(block) % GRAIN)
            return "a pitch that no block has";
        if (!(block->head & PREVIOUS_FREE) != !(before && (before->head & FREE)))
            return "a block that is wrong about the one before";
        if ((block->head & PREVIOUS_FREE) && block->before != before)
            return "a block that does not know where the one before is";
        if (block->head & FREE) {
            if (before && (before->head & FREE))
                return "two free blocks side by side";
            if (block != tlsf->top && !is_listed(tlsf, block))
                return "a free block in no list";
            *listed += block != tlsf->top;
        } else {
            *used += pitch_of(block);
            ++*blocks;
        }
        before = block;
        block = following(block);
    }
    if (block != end || !closes_pool(end))
        return "a pool that does not end where it does";
    if (!(end->head & PREVIOUS_FREE) != !(before && (before->head & FREE)))
        return "an end that is wrong about the block before";
    if (end == tlsf->end && (tlsf->top ? following(tlsf->top) != end : before->head & FREE))
        return "a top that is not the end of its pool";
    return NULL;
}

static const char *check_lists(const struct mlog_tlsf *tlsf, size_t listed)
{
    for (unsigned i = 0; i < MLOG_TLSF_FIRST; i++) {
        if (!(tlsf->first >> i & 1) != !tlsf->second[i])
            return "a bit of the first level that is wrong";
        for (unsigned k = 0; k < MLOG_TLSF_SECOND; k++) {
            const struct mlog_tlsf_block *block = tlsf->lists[i][k];
            if (!(tlsf->second[i] >> k & 1) != !block)
                return "a bit of the second level that is wrong";
            for (; block; block = block->next)
                if (!(block->head & FREE) || !listed--)
                    return "a list that holds what is no free block of a pool";
        }
    }
    return listed ? "free blocks that the lists do not hold" : NULL;
}

const char *mlog_tlsf_check(const struct mlog_tlsf *tlsf, const struct mlog_tlsf_pool *pools,
                            size_t n)
{
    size_t used = 0, blocks = 0, listed = 0;
    for (size_t i = 0; i < n; i++) {
        const char *problem = check_pool(tlsf, &pools[i], &used, &blocks, &listed);
        if (problem)
            return problem;
    }
    if (used != tlsf->used || blocks != tlsf->blocks)
        return "sums that are not those of the blocks";
    return check_lists(tlsf, listed);
}

static void *moved(const void *address, const void *from, void *to)
{
    return address ? (char *)to + ((const char *)address - (const char *)from) : NULL;
}

void mlog_tlsf_copy(struct mlog_tlsf *copy, const struct mlog_tlsf *tlsf,
                    const struct mlog_tlsf_pool *pools, size_t n, const void *from, void *to)
{
    *copy = *tlsf;
    for (unsigned i = 0; i < MLOG_TLSF_FIRST; i++)
        for (unsigned k = 0; k < MLOG_TLSF_SECOND; k++)
            copy->lists[i][k] = moved(tlsf->lists[i][k], from, to);
    copy->top = moved(tlsf->top, from, to);
    copy->end = moved(tlsf->end, from, to);
    copy->base = moved(tlsf->base, from, to);
    copy->high = moved(tlsf->high, from, to);
    copy->fresh = moved(tlsf->fresh, from, to);
    for (size_t i = 0; i < n; i++) {
        const struct mlog_tlsf_block *block =
            block_of((const char *)pools[i].memory + MLOG_TLSF_POOL_OVERHEAD);
        for (;; block = following(block)) {
            struct mlog_tlsf_block *other = moved(block, from, to);
            other->head = block->head;
            if (closes_pool(block))
                break;
            if (block->head & PREVIOUS_FREE)
                other->before = moved(block->before, from, to);
            if ((block->head & FREE) && block != tlsf->top) {
                other->next = moved(block->next, from, to);
                other->previous = moved(block->previous, from, to);
            }
        }
    }
}
