/* SPDX-License-Identifier: MIT
 *
 * Reports. A report turns an analysis into a part of the model: one file that
 * exports one constant, and one row of MA_REPORTS. The audit closes every set of reports and
 * is built last, because it counts what the others could not resolve.
 */
#ifndef MA_REPORT_H
#define MA_REPORT_H

#include "ma_analysis.h"
#include "ma_model.h"

struct ma_report {
    const char *name; /* of the option and of the JSON member */
    const char *help;
    bool usual;  /* part of the output when no report is asked for */
    bool always; /* part of every JSON object */
    bool alone;  /* nothing comes with it unasked, the audit neither */
    /* Add to the root of the model. Returns 0 or -ENOMEM. */
    int (*build)(struct ma_analysis *analysis, struct ma_model *model);
    /* Before the pass, if the report is wanted: register observers of what the
     * books do not hold (ma_observer.h). NULL: none. Returns 0 or -ENOMEM. */
    int (*observe)(struct ma_analysis *analysis);
    /* The option's value after a "=", as it is called in the help; in brackets if
     * it may be left out. NULL: none. */
    const char *value;
    /* Take the value (NULL: left out) into the request. Returns NULL, or what was
     * expected as the end of a sentence that begins with the option and its value. */
    const char *(*parse)(struct ma_request *request, const char *value);
};

/* The table: a row for each report, in the order of the help and of what comes
 * unasked, the audit last. The report `churn` is ma_report_churn of
 * ma_report_churn.c. */
#define MA_REPORTS(ROW)                                                                            \
    ROW(trace)                                                                                     \
    ROW(filter)                                                                                    \
    ROW(verdict)                                                                                   \
    ROW(brief)                                                                                     \
    ROW(wrong_frees)                                                                               \
    ROW(summary)                                                                                   \
    ROW(leaks)                                                                                     \
    ROW(peak)                                                                                      \
    ROW(allocations)                                                                               \
    ROW(timeline)                                                                                  \
    ROW(processes)                                                                                 \
    ROW(temporary)                                                                                 \
    ROW(churn)                                                                                     \
    ROW(sizes)                                                                                     \
    ROW(lifetimes)                                                                                 \
    ROW(threads)                                                                                   \
    ROW(reallocs)                                                                                  \
    ROW(snapshots)                                                                                 \
    ROW(savepoints)                                                                                \
    ROW(callers)                                                                                   \
    ROW(callees)                                                                                   \
    ROW(tree)                                                                                      \
    ROW(stack)                                                                                     \
    ROW(pool)                                                                                      \
    ROW(footer)                                                                                    \
    ROW(audit)

#define MA_REPORT_DECLARE(name) extern const struct ma_report ma_report_##name;
MA_REPORTS(MA_REPORT_DECLARE)
#undef MA_REPORT_DECLARE

extern const struct ma_report *const ma_reports[];
extern const size_t ma_report_count;

/* Register what the reports that the request asks for need: before the pass. */
int ma_report_observe(struct ma_analysis *analysis, struct ma_error *error);

/* Build all reports that the request asks for: first what comes unasked, then in
 * the order they were asked for, the audit last. */
int ma_report_build(struct ma_analysis *analysis, struct ma_model *model, struct ma_error *error);

/* Shared by reports of stacks: what one measures of a row, which rows it has
 * (bytes or blocks not 0), sorted as the request says, the top ones. */
struct ma_measure {
    uint64_t bytes, blocks;
};
struct ma_stack_report {
    const char *key, *title;
    const char *blocks_title; /* a plural with s */
    const char *none;         /* the sentence if there is no row */
    struct ma_measure (*measure)(const struct ma_row *row);
    /* The rest may be NULL. True if the report's list leaves a row out: */
    bool (*leaves_out)(struct ma_analysis *analysis, const struct ma_row *row);
    /* Order where --sort does not tell: below 0 if a comes first, 0: by bytes. */
    int (*compare)(struct ma_analysis *analysis, const struct ma_row *a, const struct ma_row *b);
    /* Add to the entry of a row. Returns 0 or -ENOMEM. */
    int (*describe)(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *entry,
                    const struct ma_row *row);
    /* A word for what a row is. If given, people get rows of one own function as one
     * entry, with a table of its lines. */
    const char *(*kind)(struct ma_analysis *analysis, const struct ma_row *row);
};
int ma_report_stacks(struct ma_analysis *analysis, struct ma_model *model,
                     const struct ma_stack_report *report);
/* The same of other rows, as a child of parent. */
int ma_report_rows(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                   const struct ma_stack_report *report, const struct ma_row *rows, size_t n_rows);

/* The label of a stack (see ma_label.h), with module and offset where symbols
 * are missing, as text under "label"; its note is the file and line. The stack's number
 * (ma_stack_key.h) stands before it, as "stack_id". Returns 0 or -ENOMEM. */
int ma_report_label(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                    uint32_t stack);

/* A process's program with its arguments, cut at the size; "unknown". Briefly: without the
 * program's folder, and cut at some 60 bytes. Returns buffer. */
#define MA_COMMAND_SIZE 512
const char *ma_report_command(const struct ma_process *process, bool briefly,
                              char buffer[MA_COMMAND_SIZE]);

/* Add the own peak of a row and the number of its stack. Returns 0 or -ENOMEM. */
int ma_report_own_peak(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *entry,
                       const struct ma_row *row);

/* Add a function, as "function" with its "file", "line" and "last_line": the lines of its
 * calls, which people see behind it. program: of several programs' functions of this name
 * the program whose it is, or NULL. */
struct ma_lines;
void ma_report_function(struct ma_model *model, struct ma_value *parent, const char *title,
                        const char *name, const char *program, const struct ma_lines *lines);

/* Add the filter, as "filter" of parent: null without one. title: NULL, not for
 * people, or "". Returns 0 or -ENOMEM. */
int ma_report_add_filter(const struct ma_analysis *analysis, struct ma_model *model,
                         struct ma_value *parent, const char *title);

/* The process whose private memory grew most without a call in the trace, by
 * enough to be worth a word (its `unseen`); NULL: none did. */
const struct ma_account *ma_report_unseen(const struct ma_analysis *analysis);

/* True if an assertion of the program was judged, and *bytes: by how much what it asserts
 * about had grown, the worst of each place. */
bool ma_report_growth(const struct ma_analysis *analysis, uint64_t *bytes);

/* Add to the audit, and to its warnings, which programs were executed that are not in
 * the trace. Returns 0 or -ENOMEM. */
int ma_report_missing(const struct ma_analysis *analysis, struct ma_model *model,
                      struct ma_value *audit, struct ma_value *warnings);

/* Add to the audit, and to its warnings, which modules call another malloc than the
 * traced one. Returns 0 or -ENOMEM. */
int ma_report_bypass(const struct ma_analysis *analysis, struct ma_model *model,
                     struct ma_value *audit, struct ma_value *warnings);

/* Add to the audit, and to its warnings, the times without recording. */
void ma_report_gaps(const struct ma_analysis *analysis, struct ma_model *model,
                    struct ma_value *audit, struct ma_value *warnings);

#endif
