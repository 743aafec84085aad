/* SPDX-License-Identifier: MIT
 *
 * The records of FORMAT.md section 5, decoded. Byte strings point into the
 * payload they were decoded from and live as long as it.
 */
#ifndef MA_RECORD_H
#define MA_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mlf_format.h"

struct ma_bytes {
    const unsigned char *data;
    size_t size;
};

/* What a STOP met, in bytes; `what` 0: not told. */
struct ma_met {
    uint64_t what, limit, held, asked; /* enum mlf_met */
};

struct ma_segment {
    uint64_t address, size, offset, flags;
};

struct ma_process_record {
    uint64_t pid, parent_pid, parent_key, how, start, fork_time;
    uint64_t inherited_nodes, inherited_modules;
    uint64_t clock, tick_shift, counts_per_second, monotonic_ns, realtime_ns;
    uint64_t block_header, block_grain, smallest_usable, page_size, pointer_bytes;
    uint64_t pid_namespace, birth, machine; /* 0: not told */
};

struct ma_module_record {
    uint64_t id, time, bias, flags;
    struct ma_bytes build_id, path;
    struct ma_segment segments[MLF_SEGMENTS_MAX];
    size_t n_segments;
};

struct ma_stream_record { /* STREAM and STREAM_END */
    uint64_t stream, tid, time, flags;
    struct ma_bytes name;
};

/* All the short ones; `time` where the record has one. */
struct ma_short_record {
    uint64_t time;
    union {
        struct {
            uint64_t what;
            struct ma_bytes bytes;
        } text;
        struct {
            uint64_t id;
        } module_end;
        struct {
            uint64_t monotonic_ns, realtime_ns;
        } clock;
        struct {
            uint64_t how, status;
        } process_end;
        struct {
            uint64_t stream, lost, reason;
        } loss;
        struct {
            uint64_t interval;
        } sampling;
        struct {
            uint64_t stream;
        } taken_over;
        struct {
            uint64_t reason, error;
            struct ma_met met;
        } stop;
        struct {
            uint64_t virtual_bytes, resident, shared;
        } memory;
        struct {
            uint64_t kind;
            struct ma_bytes name;
        } mark;
        struct {
            uint64_t what, by; /* enum mlf_window, mlf_window_by */
        } window;
        struct {
            struct ma_bytes pairs;
        } counters; /* vu, vu to the end */
        struct {
            uint64_t number, flags; /* MLF_SAVEPOINT_* */
            int64_t growth;
            struct ma_bytes name, place;
        } savepoint;
        struct {
            struct ma_bytes text;
        } print;
        struct {
            uint64_t stream, kind, sequence, bytes, checksum;
            bool summed; /* there is a checksum */
        } filled;
        struct {
            uint64_t pid, state; /* MLF_EXEC_* */
            struct ma_bytes path;
        } exec;
        struct {
            uint64_t pid, how, status, flags; /* enum mlf_child_end; MLF_CHILD_* */
        } child_end;
        struct {
            uint64_t kind, bytes; /* enum mlf_limit */
        } limit;
        struct {
            uint64_t why; /* enum mlf_bypass */
            struct ma_bytes path, target;
        } bypass;
        struct {
            uint64_t what, stack; /* enum mlf_stack_of; node id */
        } stack;
    };
};

struct ma_record {
    unsigned tag; /* enum mlf_record */
    union {
        struct ma_process_record process;
        struct ma_module_record module;
        struct ma_stream_record stream;
        struct ma_short_record brief;
    };
};

/* Decode the record `tag` found in a chunk of `kind`. Returns 1, 0 if it is one
 * to skip, or -1 with *problem set if it must be refused. */
int ma_record_decode(struct ma_record *record, unsigned tag, unsigned kind,
                     const unsigned char *payload, size_t size, const char **problem);

/* Names of a record's enumerations; "unknown" outside them. */
const char *ma_loss_name(uint64_t reason);
const char *ma_end_name(uint64_t how);
const char *ma_child_end_name(uint64_t how);
const char *ma_met_name(uint64_t what);
const char *ma_mark_name(uint64_t kind);
const char *ma_window_name(uint64_t what);
const char *ma_window_by_name(uint64_t by);
const char *ma_stack_of_name(uint64_t what);
const char *ma_clock_name(uint64_t clock);

#endif
