/* SPDX-License-Identifier: MIT
 *
 * Exports: what an analysis found, in the formats of other tools. An exporter
 * is one file that exports one constant, and one row of MA_EXPORTERS. It sees the
 * aggregated result only (rows, timeline, what the replay tells its observers), so
 * that every filter of the analysis holds for it. Several exports may be made in
 * one run, each to an output of its own.
 */
#ifndef MA_EXPORT_H
#define MA_EXPORT_H

#include <stdio.h>

#include "ma_analysis.h"
#include "ma_output.h"

/*
 * All functions return 0 or a negative errno: -ENOMEM, or -EOVERFLOW if the
 * format cannot hold the result. Errors of `out` are noticed by the caller.
 * Every text of a trace is hostile: escape it as the format asks.
 */
struct ma_exporter {
    const char *name; /* after --export= */
    const char *help;
    bool binary; /* not for a terminal */
    /* Write all, or what is left to write. The rows are made. */
    int (*write)(struct ma_analysis *analysis, void *state, FILE *out);
    bool timeline; /* needs the timeline */
    /* Those that follow events: `begin`, before the pass, makes the state and
     * registers observers (ma_observer.h), which may write; `end` frees. */
    int (*begin)(struct ma_analysis *analysis, FILE *out, void **state);
    void (*end)(void *state);
    /* Those that write a file by its name, not through `out`, which is open for its
     * temporary one: whether they may replace what is there, asked before it is opened, and
     * why they failed, the end of a sentence or NULL. */
    int (*may_replace)(const char *file, struct ma_error *error);
    const char *(*problem)(const void *state);
};

/* The table: a row for each exporter, in the order of the help. The exporter
 * `pprof` is ma_exporter_pprof of ma_export_pprof.c. */
#define MA_EXPORTERS(ROW)                                                                          \
    ROW(pprof)                                                                                     \
    ROW(speedscope)                                                                                \
    ROW(callgrind)                                                                                 \
    ROW(massif)                                                                                    \
    ROW(heaptrack)                                                                                 \
    ROW(chrome)                                                                                    \
    ROW(firefox)                                                                                   \
    ROW(csv)                                                                                       \
    ROW(csv_timeline)                                                                              \
    ROW(html)                                                                                      \
    ROW(sqlite)

#define MA_EXPORTER_DECLARE(name) extern const struct ma_exporter ma_exporter_##name;
MA_EXPORTERS(MA_EXPORTER_DECLARE)
#undef MA_EXPORTER_DECLARE

extern const struct ma_exporter *const ma_exporters[];
extern const size_t ma_exporter_count;

/* The exporter whose name is these `length` bytes, or NULL. */
const struct ma_exporter *ma_exporter_find(const char *name, size_t length);

/* The names with commas between, for messages. Static. */
const char *ma_exporter_names(void);

/* The exports that the options ask for. All zero: none. */
struct ma_exports {
    struct ma_export_job {
        const struct ma_exporter *exporter;
        struct ma_output output;
        void *state; /* NULL: not begun, or none */
    } jobs[MA_EXPORTS_MAX];
    size_t n;
};

/* Open all outputs and register what they need: before the pass. Returns 0 or a negative errno with
 * a message; close in either case. */
int ma_exports_open(struct ma_exports *exports, struct ma_analysis *analysis,
                    struct ma_error *error);

/* Write and finish all. */
int ma_exports_write(struct ma_exports *exports, struct ma_analysis *analysis,
                     struct ma_error *error);

/* Give up what is not finished, free all. */
void ma_exports_close(struct ma_exports *exports);

#endif
