/* SPDX-License-Identifier: MIT
 *
 * Counters by stack, for reports that count in an observer what the books of
 * the replay do not hold. A tally has a fixed number of 64-bit counters for
 * each site (stack of a process); those of the same stack in several processes
 * are united when rows are built. All begin at 0.
 *
 * Memory: 8 bytes a counter for each distinct stack of each process; nothing
 * for events.
 */
#ifndef MA_TALLY_H
#define MA_TALLY_H

#include "ma_analysis.h"

struct ma_tally_part {
    const struct ma_account *account;
    uint64_t *values; /* n_sites times the tally's counters */
    size_t n_sites;
};

struct ma_tally {
    size_t counters;
    size_t n_most; /* the last ones of them: united by their maximum, the others by sum */
    struct ma_tally_part *parts; /* by process index */
    size_t n_parts;
};

struct ma_tally_row {
    uint32_t stack; /* id in ma_stacks */
    const uint64_t *values;
};

struct ma_tally_rows {
    struct ma_tally_row *rows;
    size_t n;
    uint64_t *values;
    uint64_t *total; /* of all rows, united as they are */
};

/* The counters of a site; NULL if memory is short. Valid until the next call. */
uint64_t *ma_tally_at(struct ma_tally *tally, const struct ma_account *account, uint32_t site);
void ma_tally_free(struct ma_tally *tally);

/* One row for each stack that has a counter other than 0, in no order. The
 * caller frees the rows in either case. Returns 0 or -ENOMEM. */
int ma_tally_rows(const struct ma_tally *tally, struct ma_analysis *analysis,
                  struct ma_tally_rows *rows);
void ma_tally_rows_free(struct ma_tally_rows *rows);

/* Sort the rows, largest first by the sums of some counters, one key after the
 * other; then by stack. */
struct ma_tally_key {
    size_t counters[12], n;
};
void ma_tally_sort(struct ma_tally_rows *rows, const struct ma_tally_key *keys, size_t n);

#endif
