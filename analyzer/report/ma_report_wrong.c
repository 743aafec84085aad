/* SPDX-License-Identifier: MIT
 *
 * Wrong frees, by name: of which block, by whom it was allocated, by whom it was freed
 * first, by whom again. People get it unasked where there are any.
 */
#include <errno.h>
#include <stdio.h>

#include "ma_identity.h"
#include "ma_past.h"
#include "ma_report.h"
#include "ma_text.h"

#define COUNT(number) ma_human_count((char[MA_HUMAN_SIZE]){0}, number)
#define COUNTED(n, noun) ma_human_counted((char[MA_COUNTED_SIZE]){0}, n, noun)

static const char *const kinds[] = {
    [MA_WRONG_SECOND] = "second",
    [MA_WRONG_INSIDE] = "inside",
    [MA_WRONG_NEVER] = "never given out",
    [MA_WRONG_UNMATCHED] = "unmatched",
};

static bool is_asked(const struct ma_request *request)
{
    for (size_t i = 0; i < request->n_reports; i++) {
        if (ma_reports[request->order[i]] == &ma_report_wrong_frees)
            return true;
    }
    return false;
}

static int observe_wrong(struct ma_analysis *analysis)
{
    return is_asked(analysis->request) ? ma_past_observe(analysis) : 0;
}

/* One of the calls that a block went through; `untold`: what to say where its stack is not. */
static int add_call(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                    const char *what, const struct ma_past_call *call, bool aborted,
                    const char *untold)
{
    const struct ma_trace *trace = &analysis->trace;
    if (!call->process)
        return 0;
    const struct ma_stream *thread =
        call->thread < trace->n_streams ? trace->streams[call->thread] : NULL;
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    char when[MA_HUMAN_SIZE], name[MA_PROCESS_NAME];
    ma_model_text(model, entry, "what", NULL, what);
    ma_model_number(model, entry, "time_ns", NULL, MA_NANOSECONDS, call->ns);
    ma_model_number(model, entry, "pid", NULL, MA_PLAIN, ma_process_pid(call->process));
    ma_model_number(model, entry, "tid", NULL, MA_PLAIN, thread ? thread->tid : 0);
    ma_model_text(model, entry, "thread", NULL, thread ? thread->name : NULL);
    ma_model_format(model, entry, NULL, what, "after %s by thread %llu%s%s%s, process %s%s",
                    ma_human_time(when, call->ns), (unsigned long long)(thread ? thread->tid : 0),
                    thread && thread->name && *thread->name ? " (" : "",
                    thread && thread->name ? thread->name : "",
                    thread && thread->name && *thread->name ? ")" : "",
                    ma_process_name(trace, call->process, name),
                    aborted ? ", which aborted there" : "");
    if (!call->stack) {
        ma_model_text(model, entry, "label", NULL, "(no stack)");
        ma_model_null(model, entry, "stack");
        ma_model_text(model, entry, NULL, "", untold);
        return 0;
    }
    int result = ma_report_label(analysis, model, entry, call->stack);
    ma_model_stack(model, entry, "stack", call->stack);
    return result;
}

static int add_case(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                    size_t number, const struct ma_wrong_case *one)
{
    const struct ma_wrong_free *free = one->free;
    const bool asked = *ma_process_setting(free->process, "FREE_STACKS");
    const char *untold = asked ? "its stack is not in the trace"
                               : "frees have no stack unless MLOG_FREE_STACKS=1 asks for it";
    struct ma_value *section = ma_model_object(model, array, NULL, "", MA_FIELDS);
    const bool of_block = one->kind == MA_WRONG_SECOND || one->kind == MA_WRONG_INSIDE;
    char text[MA_PAST_TEXT];
    ma_past_say(one, text, sizeof text);
    if (one->frees > 1)
        ma_model_note(model, section, "%zu. %s; %s like it:", number, text, COUNT(one->frees - 1));
    else
        ma_model_note(model, section, "%zu. %s:", number, text);
    ma_model_text(model, section, "kind", NULL, kinds[one->kind]);
    ma_model_number(model, section, "frees", NULL, MA_COUNT, one->frees);
    ma_model_text(model, section, "function", NULL, ma_past_function(free));
    ma_model_format(model, section, "address", NULL, "0x%llx", (unsigned long long)free->address);
    if (of_block) {
        ma_model_format(model, section, "block", NULL, "0x%llx", (unsigned long long)one->address);
        ma_model_number(model, section, "size", NULL, MA_BYTES, one->size);
    } else {
        ma_model_null(model, section, "block");
        ma_model_null(model, section, "size");
    }
    ma_model_boolean(model, section, "aborted", NULL, free->aborted);
    struct ma_value *calls = ma_model_array(model, section, "calls", "", MA_ENTRIES);
    int result = add_call(analysis, model, calls, "allocated", &one->made, false,
                          "by the process that forked this one, before the trace");
    if (result == 0)
        result = add_call(analysis, model, calls, "freed first", &one->ended, false, untold);
    if (result == 0)
        result = add_call(analysis, model, calls,
                          one->kind == MA_WRONG_SECOND ? "freed again" : "freed wrongly",
                          &one->again, free->aborted, untold);
    return result;
}

static void say_sum(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *object,
                    size_t n)
{
    const uint64_t frees = analysis->trace.audit.unmatched_frees;
    const char *doubt = ma_past_doubt(analysis);
    if (!frees)
        ma_model_note(model, object, "None: every free is of a live block.");
    else if (doubt)
        ma_model_note(
            model, object,
            "%s of what was no live block, perhaps: %s, so what led to %s may be missing.",
            COUNTED(frees, "free"), doubt, frees == 1 ? "it" : "them");
    else
        ma_model_note(model, object, "%s of what was no live block, in %s:", COUNTED(frees, "free"),
                      COUNTED(n, "place"));
}

static int build_wrong(struct ma_analysis *analysis, struct ma_model *model)
{
    const uint64_t frees = analysis->trace.audit.unmatched_frees;
    struct ma_wrong_case *cases = NULL;
    const long n = frees ? ma_past_cases(analysis, &cases) : 0;
    const bool shown = frees || is_asked(analysis->request);
    const char *doubt = frees ? ma_past_doubt(analysis) : NULL;
    int result = 0;
    if (n < 0)
        return (int)n;
    struct ma_value *object = ma_model_object(model, &model->root, "wrong_frees",
                                              shown ? "Wrong frees" : NULL, MA_FIELDS);
    say_sum(analysis, model, object, (size_t)n);
    ma_model_number(model, object, "frees", NULL, MA_COUNT, frees);
    ma_model_number(model, object, "places", NULL, MA_COUNT, (uint64_t)n);
    ma_model_boolean(model, object, "certain", NULL, !doubt);
    ma_model_text(model, object, "doubt", NULL, doubt);
    struct ma_value *array = ma_model_array(model, object, "list", shown ? "" : NULL, MA_SECTIONS);
    for (long i = 0; i < n && (size_t)i < analysis->request->top && result == 0; i++)
        result = add_case(analysis, model, array, (size_t)i + 1, &cases[i]);
    free(cases);
    return result;
}

const struct ma_report ma_report_wrong_frees = {
    .name = "wrong-frees",
    .help = "frees of what was no live block, by name",
    .usual = true,
    .always = true,
    .build = build_wrong,
    .observe = observe_wrong,
};
