/* SPDX-License-Identifier: MIT
 *
 * Modules whose calls of malloc came past the library, with the reason and what helps:
 * a part of the audit.
 */
#include <stdio.h>
#include <string.h>

#include "ma_report.h"
#include "ma_text.h"

#define SHOWN 5

static const char *name_why(uint64_t why)
{
    switch (why) {
    case MLF_BYPASS_DEEPBIND: return "RTLD_DEEPBIND";
    case MLF_BYPASS_NAMESPACE: return "dlmopen";
    case MLF_BYPASS_OWN: return "own malloc";
    case MLF_BYPASS_OTHER: return "another's malloc";
    default: return "unknown";
    }
}

static bool is_of(const struct ma_bypass *bypass, uint64_t why)
{
    return bypass->why == why ||
           (why == MLF_BYPASS_OTHER && (bypass->why < MLF_BYPASS_DEEPBIND || bypass->why > why));
}

/* The modules with this reason, the first of them by their file names. */
static void warn(const struct ma_trace *trace, struct ma_model *model, struct ma_value *warnings,
                 uint64_t why)
{
    static const char *const reasons[] = {
        [MLF_BYPASS_DEEPBIND] = "opened with RTLD_DEEPBIND: run with MLOG_DEEPBIND=drop, which "
                                "has them opened without",
        [MLF_BYPASS_NAMESPACE] = "opened by dlmopen, with a libc of their own: have the program "
                                 "use dlopen for the run",
        [MLF_BYPASS_OWN] = "with a malloc of their own: build them without for the run, or link "
                           "them so that others' malloc comes first (no -Bsymbolic)",
        [MLF_BYPASS_OTHER] = "bound to the malloc of another module (see --json): have them "
                             "bound to the one that all others call",
    };
    char names[512] = "", text[MA_HUMAN_SIZE];
    size_t n = 0, length = 0;
    for (size_t i = 0; i < trace->n_bypasses; i++) {
        const char *path = trace->bypasses[i].path, *slash = strrchr(path, '/');
        if (!is_of(&trace->bypasses[i], why) || n++ >= SHOWN)
            continue;
        path = !*path ? "(could not be looked at)" : slash && slash[1] ? slash + 1 : path;
        if (length < sizeof names) /* a long name ends the list, cut */
            length += (size_t)snprintf(names + length, sizeof names - length, "%s%s",
                                       n > 1 ? ", " : "", path);
    }
    if (n > SHOWN)
        ma_model_format(model, warnings, NULL, NULL, "  %s and %s more, %s.", names,
                        ma_human_count(text, n - SHOWN), reasons[why]);
    else if (n)
        ma_model_format(model, warnings, NULL, NULL, "  %s, %s.", names, reasons[why]);
}

int ma_report_bypass(const struct ma_analysis *analysis, struct ma_model *model,
                     struct ma_value *audit, struct ma_value *warnings)
{
    const struct ma_trace *trace = &analysis->trace;
    char text[MA_HUMAN_SIZE];
    struct ma_value *array = ma_model_array(model, audit, "bypassing", NULL, MA_TABLE);
    if (trace->n_bypasses)
        ma_model_format(model, warnings, NULL, NULL,
                        "%s module%s another malloc than the traced one: what %s not in this "
                        "trace, and what crosses over is freed without an allocation, or never:",
                        ma_human_count(text, trace->n_bypasses),
                        trace->n_bypasses == 1 ? " calls" : "s call",
                        trace->n_bypasses == 1 ? "it allocates is" : "they allocate is");
    for (size_t i = 0; i < trace->n_bypasses; i++) {
        const struct ma_bypass *bypass = &trace->bypasses[i];
        struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_text(model, one, "module", NULL, bypass->path[0] ? bypass->path : NULL);
        ma_model_text(model, one, "malloc_of", NULL, bypass->target[0] ? bypass->target : NULL);
        ma_model_text(model, one, "reason", NULL, name_why(bypass->why));
        ma_model_number(model, one, "processes", NULL, MA_COUNT, bypass->processes);
    }
    for (uint64_t why = MLF_BYPASS_DEEPBIND; why <= MLF_BYPASS_OTHER; why++)
        warn(trace, model, warnings, why);
    return 0;
}
