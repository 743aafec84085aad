/* SPDX-License-Identifier: MIT
 *
 * Address ranges, sorted by start, that may nest and overlap. A search goes
 * back from the last range that starts at or before the address, and stops
 * where no earlier one reaches that far; steps are bounded, since a crafted
 * file may make one range reach over a million others.
 */
#include <errno.h>
#include <stdlib.h>

#include "ma_symbols_impl.h"

enum { MAX_STEPS = 4096 };

int ma_ranges_add(struct ma_ranges *ranges, uint64_t low, uint64_t high, size_t what)
{
    if (low >= high)
        return 0;
    if (ranges->n == ranges->room) {
        size_t room = ranges->room ? ranges->room * 2 : 16;
        struct ma_range *at = reallocarray(ranges->at, room, sizeof(*at));
        if (!at)
            return -ENOMEM;
        ranges->at = at;
        ranges->room = room;
    }
    ranges->at[ranges->n++] = (struct ma_range){.low = low, .high = high, .what = what};
    return 0;
}

static int compare_ranges(const void *a_, const void *b_)
{
    const struct ma_range *a = a_, *b = b_;
    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    if (a->high != b->high)
        return a->high > b->high ? -1 : 1;
    /* The first added is found first: it sorts last. */
    return a->what > b->what ? -1 : a->what < b->what;
}

void ma_ranges_sort(struct ma_ranges *ranges)
{
    if (ranges->n)
        qsort(ranges->at, ranges->n, sizeof(*ranges->at), compare_ranges);
    uint64_t reach = 0;
    for (size_t i = 0; i < ranges->n; i++) {
        if (ranges->at[i].high > reach)
            reach = ranges->at[i].high;
        ranges->at[i].reach = reach;
    }
}

const struct ma_range *ma_ranges_find(const struct ma_ranges *ranges, uint64_t address,
                                      size_t *cursor)
{
    size_t i = *cursor;
    if (i == SIZE_MAX) {
        size_t low = 0, high = ranges->n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (ranges->at[middle].low <= address)
                low = middle + 1;
            else
                high = middle;
        }
        i = low;
    }
    for (int steps = 0; i > 0 && steps < MAX_STEPS; steps++) {
        const struct ma_range *range = &ranges->at[--i];
        if (range->reach <= address)
            break;
        if (range->high > address) {
            *cursor = i;
            return range;
        }
    }
    *cursor = 0;
    return NULL;
}

void ma_ranges_free(struct ma_ranges *ranges)
{
    free(ranges->at);
    *ranges = (struct ma_ranges){0};
}
