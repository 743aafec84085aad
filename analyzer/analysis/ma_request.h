/* SPDX-License-Identifier: MIT
 *
 * The request: a trace to analyse and the results to make of it. The command
 * line is parsed into one (ma_options.h); from then on it is const for
 * everyone. Reports, exporters, dumpers and conditions stand above it: it names
 * them by index or pointer and looks into none of them.
 */
#ifndef MA_REQUEST_H
#define MA_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ma_filter_options.h"
#include "ma_symbols.h"

struct ma_condition; /* ma_gate.h */
struct ma_dumper;    /* ma_dump.h */
struct ma_exporter;  /* ma_export.h */

enum ma_sort { MA_SORT_BYTES, MA_SORT_BLOCKS, MA_SORT_CALLS };
#define MA_SORT_KEYS 4

/* Which blocks a database gets (ma_sql.h): those that live at the end always. */
enum ma_blocks { MA_BLOCKS_BOUNDED, MA_BLOCKS_ALL, MA_BLOCKS_LIVE, MA_BLOCKS_SAMPLED };

#define MA_REPORTS_MAX 32
#define MA_EXPORTS_MAX 16
#define MA_SUPPRESSION_FILES 16

struct ma_export_request {
    const struct ma_exporter *exporter;
    const char *file; /* NULL: where the main output would go */
};

struct ma_request {
    const char *trace;
    int trace_fd;              /* open and not 0: the trace itself, which `trace` is the name of */
    const char *const *traces; /* with --pool more than one: `trace` is the first */
    size_t n_traces;
    const char *output;           /* NULL: standard output */
    const struct ma_dumper *dump; /* NULL: none */
    const char *flamegraph;       /* name of a cost, or NULL */
    bool bundle;                  /* write one to bundle_output, which becomes output */
    const char *bundle_output;
    bool invert, icicle; /* flame graph: innermost frames as roots; growing down */
    struct ma_export_request exports[MA_EXPORTS_MAX];
    size_t n_exports;
    enum ma_blocks blocks;
    char *page;          /* the name of an interactive page that got one here; or NULL */
    uint64_t page_limit; /* bytes of interactive pages */
    bool exports_only;   /* no main output: neither report nor dump nor flame graph */
    uint32_t reports;    /* bit n: report n of ma_reports was asked for */
    unsigned char order[MA_REPORTS_MAX]; /* those, as they were asked for */
    size_t n_reports;
    uint64_t temporary_within;              /* --temporary: allocations of the thread between */
    const char *snapshots;                  /* --snapshots: when; it has been checked */
    const char *stack;                      /* --stack: a number or its beginning */
    const char *callers, *callees;          /* names or patterns of functions */
    uint64_t pool_initial, pool_additional; /* --pool: bytes; 0: the usual ones */
    bool tree_bottom_up;
    unsigned tree_cost; /* MA_COST_… of ma_name_tree.h */
    size_t jobs;        /* processors to use at most; SIZE_MAX: those there are */
    bool json;
    bool follow;       /* reports while the trace grows */
    uint64_t interval; /* ms between them */
    bool symbols;
    size_t top; /* entries of a report, SIZE_MAX: all */
    bool top_given;
    size_t frames; /* of a stack in text, SIZE_MAX: all */
    bool frames_given;
    enum ma_sort sort[MA_SORT_KEYS];
    size_t n_sort;
    struct ma_symbol_options symbol_options;
    const char *suppressions[MA_SUPPRESSION_FILES];
    size_t n_suppressions;
    bool show_runtime; /* show blocks that the C and C++ runtimes keep for themselves */
    bool diff;
    const char *diff_old;                  /* compared with trace */
    struct ma_filter_options diff_window;  /* active: the window of diff_old is this one */
    const struct ma_condition *conditions; /* --fail-on */
    size_t n_conditions;
    bool judges_growth;        /* one of them is about it: needs what savepoints see */
    const char *baseline;      /* a trace or a JSON report, or NULL */
    const char *junit, *sarif; /* files, or NULL */
    struct ma_filter_options filter;
};

#endif
