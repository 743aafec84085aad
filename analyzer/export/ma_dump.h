/* SPDX-License-Identifier: MIT
 *
 * Dumpers: write every event in merged order while the trace is read. One file
 * that exports one constant, and one row of MA_DUMPERS each. With a filter they
 * write the events that begin or end an accepted block, or fail and are accepted:
 * those that reports count.
 */
#ifndef MA_DUMP_H
#define MA_DUMP_H

#include <stdio.h>

#include "ma_analysis.h"

struct ma_dump;

struct ma_dumper {
    const char *name;                   /* after --dump= */
    int (*begin)(struct ma_dump *dump); /* before the first event */
    int (*event)(struct ma_dump *dump, const struct ma_merged *merged);
    int (*end)(struct ma_dump *dump); /* NULL: nothing is left to do */
    bool replays;                     /* it wants to know of blocks, also without a filter */
    bool prompt;                      /* events of a pipe are to be written soon */
};

/* The outcome of the event at hand, as the replay saw it. */
struct ma_dump_sight {
    bool begins, ends, failed; /* a block that is accepted; a call that is */
    uint64_t ended_size;
};

struct ma_dump {
    const struct ma_dumper *dumper;
    struct ma_analysis *analysis;
    FILE *out;
    struct ma_pass pass; /* for ma_analysis_run */
    struct ma_observer observer;
    struct ma_dump_sight sight;
    const struct ma_process *current; /* of the latest entry of text */
    unsigned char *has_header;        /* text, by process index: it has its header */
    size_t n_has_header;
};

/* The table: a row for each dumper. The dumper `text` is ma_dumper_text of
 * ma_dump_text.c. */
#define MA_DUMPERS(ROW)                                                                            \
    ROW(text)                                                                                      \
    ROW(json)

#define MA_DUMPER_DECLARE(name) extern const struct ma_dumper ma_dumper_##name;
MA_DUMPERS(MA_DUMPER_DECLARE)
#undef MA_DUMPER_DECLARE

/* The dumper of this name, or NULL. */
const struct ma_dumper *ma_dumper_find(const char *name);

/* The names, for messages: "text or json". Static. */
const char *ma_dumper_names(void);

/* Begin: dump->pass is then what ma_analysis_run needs. The analysis is open, its
 * pass not begun; both outlive dump. Returns 0 or -ENOMEM; free in either case. */
int ma_dump_begin(struct ma_dump *dump, const struct ma_dumper *dumper,
                  struct ma_analysis *analysis, FILE *out);
void ma_dump_free(struct ma_dump *dump);

/* The extent of an event that a filter leaves: nothing, all, or one part of a
 * realloc, as an event of its own in *part. */
enum ma_dump_extent { MA_DUMP_NOTHING, MA_DUMP_PART, MA_DUMP_ALL };
enum ma_dump_extent ma_dump_extent(const struct ma_dump *dump, const struct ma_merged *merged,
                                   struct ma_event *part);

/* Call visit for each frame of a stack, innermost first, waiting for
 * definitions that are still being written. */
typedef void ma_dump_frame(FILE *out, const struct ma_process *process, const struct ma_node *node,
                           size_t index);
int ma_dump_stack(struct ma_analysis *analysis, const struct ma_process *process, uint32_t stack,
                  ma_dump_frame *visit, FILE *out);

extern const char *const ma_function_names[MLF_FN_COUNT];

#endif
