/* SPDX-License-Identifier: MIT
 *
 * The audit: counts of what a trace cannot vouch for, kept by reader, decoder,
 * merge and replay while they work, and printed at the end of every report.
 */
#ifndef MA_AUDIT_H
#define MA_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ma_record.h"

#define MA_SKIPPED_MAX 256  /* ranges kept with their reason; more are counted */
#define MA_UNWRITTEN_MAX 64 /* ranges kept; more are counted */
#define MA_CHANGED_MAX 64   /* chunks kept; more are counted */

struct ma_skipped {
    uint64_t offset, bytes;
    char reason[88];
};

struct ma_range {
    uint64_t offset, bytes;
};

/* The filled part of a chunk's payload. */
struct ma_changed {
    uint64_t offset, bytes;
    const struct ma_process *process;
    uint32_t stream;
    unsigned kind; /* enum mlf_chunk_kind */
};

struct ma_audit {
    /* reader and decoder */
    struct ma_skipped skipped[MA_SKIPPED_MAX];
    size_t n_skipped;        /* entries above */
    uint64_t skipped_ranges; /* all of them; reports call them bad chunks */
    uint64_t skipped_bytes;
    uint64_t missing_chunks; /* gaps in sequence numbers */
    uint64_t duplicate_chunks;
    uint64_t unwritten_units;                    /* mapped: claimed, and never given a chunk */
    struct ma_range unwritten[MA_UNWRITTEN_MAX]; /* where these are */
    size_t n_unwritten;
    uint64_t changed_chunks; /* with another checksum than the trace tells; used all the same */
    struct ma_changed changed[MA_CHANGED_MAX];
    size_t n_changed;        /* entries above */
    uint64_t truncated_at;   /* UINT64_MAX: the trace is not cut */
    bool no_header;          /* the trace begins with a chunk */
    char input_problem[160]; /* why the input ended early, or empty */
    bool symbols_damaged;    /* the symbol data of a bundle */
    /* the program's side */
    uint64_t lost_events;
    uint64_t stops, stop_reason, stop_errno; /* of the last STOP */
    struct ma_met stop_met;
    /* The same of the table of stops: what reads the trace runs ahead of the replay. */
    uint64_t table_stops, table_reason, table_errno;
    struct ma_met table_met;
    uint64_t sampling_interval; /* bytes, 0: every call is in the trace */
    /* merge and replay */
    uint64_t late_events;     /* came after later ones of their process had been replayed */
    uint64_t order_repairs;   /* allocation at a live address: the free in between is missing */
    uint64_t retired_returns; /* processes that went on after they were retired (ma_retire.h) */
    uint64_t late_forks;      /* fork whose parent had gone on already */
    uint64_t unmatched_frees;
    uint64_t unseen_frees;   /* of blocks that began in a window without recording, or may have */
    uint64_t unseen_ends;    /* blocks whose end was in such a window, as the next use tells */
    uint64_t foreign_clocks; /* processes whose ticks are not those of the first */
    uint64_t clock_guesses;  /* processes whose tick rate is unknown */
    /* definitions */
    uint64_t unknown_processes, unknown_stacks, unknown_modules;
};

void ma_audit_init(struct ma_audit *audit);

/* Note that bytes [offset, offset + bytes) were not used; format is the reason. */
void ma_audit_skip(struct ma_audit *audit, uint64_t offset, uint64_t bytes, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Note that a mapped trace has nothing in `units` claimed units, which take `bytes`. */
void ma_audit_unwritten(struct ma_audit *audit, uint64_t offset, uint64_t bytes, uint64_t units);

/* Note that a chunk is not what was written: what was read of it is used, and doubtful. */
void ma_audit_changed(struct ma_audit *audit, const struct ma_changed *changed);

/* Note that the trace ends within the item at offset. */
void ma_audit_truncated(struct ma_audit *audit, uint64_t offset);

/* True if part of what was written could not be read, or the writer gave up
 * before the program's end. In that case `sentence` says so in one line. */
bool ma_audit_is_damaged(const struct ma_audit *audit, char *sentence, size_t size);

/* Why recording ended before the program did, an enum mlf_loss, and the errno that
 * was met; 0 if it did not, or none. */
uint64_t ma_audit_stop_reason(const struct ma_audit *audit);
uint64_t ma_audit_stop_errno(const struct ma_audit *audit);
struct ma_met ma_audit_stop_met(const struct ma_audit *audit); /* that was met */

#endif
