/* SPDX-License-Identifier: MIT
 *
 * JUnit's XML, as CI servers read it: a test case for each condition and one for
 * the soundness of the trace; the stacks that leak stand in system-out.
 */
#include <errno.h>
#include <string.h>

#include "ma_ci.h"
#include "ma_flame_tree.h"
#include "ma_label.h"
#include "ma_past.h"
#include "ma_text.h"

/* A text of any bytes, in an attribute or between tags: well-formed UTF-8 without
 * what XML cannot hold. */
static int put_xml(FILE *out, const char *text)
{
    char *clean = ma_flame_clean(text);
    if (!clean)
        return -ENOMEM;
    for (const char *c = clean; *c; c++) {
        switch (*c) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: putc(*c, out); break;
        }
    }
    free(clean);
    return 0;
}

static int put_frame(FILE *out, const struct ma_frame *frame)
{
    char buffer[256];
    fputs("  ", out);
    int result = put_xml(out, ma_frame_name(frame, buffer, sizeof buffer));
    const char *place = frame->file ? frame->file : frame->module;
    if (place && result == 0) {
        fputs("  ", out);
        result = put_xml(out, place);
    }
    if (frame->file && frame->line)
        fprintf(out, ":%u", frame->line);
    else if (!frame->file && place && place[0])
        fprintf(out, "+0x%llx", (unsigned long long)frame->offset);
    putc('\n', out);
    return result;
}

static int put_leak(struct ma_analysis *analysis, const struct ma_row *row, FILE *out)
{
    const struct ma_frame *frames;
    char bytes[MA_HUMAN_SIZE], blocks[MA_HUMAN_SIZE], buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    fprintf(out,
            "%s (%llu bytes) in %s block%s never freed: ", ma_human_bytes(bytes, row->leaked_bytes),
            (unsigned long long)row->leaked_bytes, ma_human_count(blocks, row->leaked_blocks),
            row->leaked_blocks == 1 ? "" : "s");
    int result = put_xml(
        out, n ? ma_frame_name(&frames[ma_label_frame(frames, (size_t)n)], buffer, sizeof buffer)
               : "(no stack)");
    putc('\n', out);
    size_t shown = (size_t)n < analysis->request->frames ? (size_t)n : analysis->request->frames;
    for (size_t i = 0; i < shown && result == 0; i++)
        result = put_frame(out, &frames[i]);
    if (shown < (size_t)n)
        fprintf(out, "  … and %zu outer frames\n", (size_t)n - shown);
    return result;
}

static int put_call(struct ma_analysis *analysis, const char *what, const struct ma_past_call *call,
                    FILE *out)
{
    const struct ma_frame *frames;
    if (!call->process || !call->stack)
        return 0;
    long n = ma_stacks_frames(&analysis->stacks, call->stack, &frames);
    int result = n < 0 ? -ENOMEM : 0;
    fprintf(out, "  %s:\n", what);
    for (long i = 0; i < n && (size_t)i < analysis->request->frames && result == 0; i++)
        result = put_frame(out, &frames[i]);
    return result;
}

static int put_wrong_frees(struct ma_analysis *analysis, FILE *out)
{
    struct ma_wrong_case *cases;
    char text[MA_PAST_TEXT];
    const char *doubt = ma_past_doubt(analysis);
    const long n = ma_past_cases(analysis, &cases);
    int result = n < 0 ? -ENOMEM : 0;
    for (long i = 0; i < n && (size_t)i < analysis->request->top && result == 0; i++) {
        ma_past_say(&cases[i], text, sizeof text);
        fprintf(out, "%s%s\n", doubt ? "Perhaps: " : "", text);
        result = put_call(analysis, "allocated by", &cases[i].made, out);
        if (result == 0)
            result = put_call(analysis, "freed first by", &cases[i].ended, out);
        if (result == 0)
            result = put_call(analysis, "freed wrongly by", &cases[i].again, out);
    }
    free(n < 0 ? NULL : cases);
    return result;
}

static int put_leaks(struct ma_analysis *analysis, FILE *out)
{
    size_t n;
    const struct ma_row **rows = ma_ci_leaks(analysis, &n);
    int result = rows ? 0 : -ENOMEM;
    size_t shown = n < analysis->request->top ? n : analysis->request->top;
    fputs("    <system-out>", out);
    if (result == 0 && analysis->trace.audit.unmatched_frees)
        result = put_wrong_frees(analysis, out);
    for (size_t i = 0; i < shown && result == 0; i++)
        result = put_leak(analysis, rows[i], out);
    if (shown < n)
        fprintf(out, "… and %zu more stacks that leak (--top 0 tells all)\n", n - shown);
    fputs("</system-out>\n", out);
    free(rows);
    return result;
}

static int put_case(FILE *out, const char *class, const char *name, const char *element,
                    const char *type, const char *message)
{
    fputs("    <testcase classname=\"mlog.", out);
    int result = put_xml(out, class);
    fputs("\" name=\"", out);
    if (result == 0)
        result = put_xml(out, name);
    fputs("\" time=\"0\"", out);
    if (!element) {
        fputs("/>\n", out);
        return result;
    }
    fprintf(out, ">\n      <%s type=\"%s\" message=\"", element, type);
    if (result == 0)
        result = put_xml(out, message);
    fputs("\">", out);
    if (result == 0)
        result = put_xml(out, message);
    fprintf(out, "</%s>\n    </testcase>\n", element);
    return result;
}

static int put_filter(const struct ma_filter *filter, FILE *out)
{
    char *text = ma_filter_text(filter);
    if (!text)
        return -ENOMEM;
    fputs("      <property name=\"filter\" value=\"", out);
    int result = put_xml(out, text);
    fputs("\"/>\n", out);
    free(text);
    return result;
}

int ma_ci_write_junit(struct ma_analysis *analysis, const struct ma_gate *gate, FILE *out)
{
    const char *path = analysis->request->trace, *class = ma_ci_trace_name(analysis);
    char counts[128];
    snprintf(counts, sizeof counts, "tests=\"%zu\" failures=\"%zu\" errors=\"%d\"", gate->n + 1,
             gate->n_failed, gate->doubt[0] != 0);
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mlog\" %s time=\"0\">\n"
            "  <testsuite name=\"mlog\" %s skipped=\"0\" time=\"0\">\n    <properties>\n"
            "      <property name=\"trace\" value=\"",
            counts, counts);
    int result = put_xml(out, path);
    fputs("\"/>\n", out);
    if (result == 0 && analysis->filter)
        result = put_filter(analysis->filter, out);
    fputs("    </properties>\n", out);
    if (result == 0)
        result = put_case(out, class, "the trace is whole", gate->doubt[0] ? "error" : NULL,
                          "damaged", gate->doubt);
    for (size_t i = 0; i < gate->n && result == 0; i++) {
        const struct ma_condition *condition = &gate->conditions[i];
        const struct ma_judgement *judged = &gate->judged[i];
        result = put_case(out, class, condition->text, judged->failed ? "failure" : NULL,
                          ma_metric_table[condition->metric].name, judged->sentence);
    }
    if (result == 0)
        result = put_leaks(analysis, out);
    fputs("  </testsuite>\n</testsuites>\n", out);
    return result;
}
