/* SPDX-License-Identifier: MIT
 *
 * SARIF 2.1.0, for code scanning: a result for each stack that leaks, at the first
 * frame in the program's own sources, with its stack; failed conditions and damage
 * are notifications of the invocation, because they have no place in a source.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "ma_ci.h"
#include "ma_label.h"
#include "ma_past.h"
#include "ma_text.h"
#include "mlog_version.h"

#define HELP "Blocks that this stack allocated were live when their process ended."
#define MEND                                                                                       \
    "Free them where the last pointer to them goes, or, if they are meant to live as long as the " \
    "program, name their function in a file for `mlog-analyze --suppressions`. "                   \
    "`mlog-analyze --leaks` tells whether they were still growing."

#define WRONG_HELP                                                                                 \
    "What was freed was no live block: it had been freed before, or was never given out."
#define WRONG_MEND                                                                                 \
    "Let one owner free each block, with the pointer that the allocation returned. "               \
    "`MLOG_FREE_STACKS=1` records the stack of every free, and `mlog-analyze --wrong-frees` "      \
    "tells who allocated the block and who freed it first."

struct sarif {
    struct ma_analysis *analysis;
    FILE *out;
    char *cwd; /* with a slash at the end, or NULL */
};

/* A path as a URI reference: relative to the working directory if it is below it. */
static void put_uri(struct sarif *sarif, const char *path)
{
    FILE *out = sarif->out;
    size_t length = sarif->cwd ? strlen(sarif->cwd) : 0;
    bool below = length && strncmp(path, sarif->cwd, length) == 0 && path[length];
    if (below)
        path += length;
    fputs("\"artifactLocation\": {\"uri\": \"", out);
    if (!below && path[0] == '/')
        fputs("file://", out);
    else if (!below && path[0] != '.')
        fputs("./", out); /* a colon in the first part is no scheme */
    else if (below && strchr(path, ':'))
        fputs("./", out);
    for (const unsigned char *c = (const unsigned char *)path; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || strchr("-._~/:@+,", *c);
        fprintf(out, plain ? "%c" : "%%%02X", *c);
    }
    fprintf(out, "\"%s}", below ? ", \"uriBaseId\": \"SRCROOT\"" : "");
}

static void put_location(struct sarif *sarif, const struct ma_frame *frame)
{
    FILE *out = sarif->out;
    char buffer[256];
    const char *path = frame->file ? frame->file : frame->module;
    fputs("{\"physicalLocation\": {", out);
    put_uri(sarif, path && path[0] ? path : sarif->analysis->request->trace);
    if (frame->file && frame->line)
        fprintf(out, ", \"region\": {\"startLine\": %u}", frame->line);
    if (!frame->file && frame->module && frame->module[0]) {
        const struct ma_frame bare = {.module = frame->module, .offset = frame->offset};
        fprintf(out, ", \"address\": {\"kind\": \"instruction\", \"relativeAddress\": %llu, ",
                (unsigned long long)frame->offset);
        fputs("\"fullyQualifiedName\": ", out);
        ma_write_json_string(out, ma_frame_name(&bare, buffer, sizeof buffer));
        putc('}', out);
    }
    fputs("}, \"logicalLocations\": [{\"kind\": \"function\", \"fullyQualifiedName\": ", out);
    ma_write_json_string(out, ma_frame_name(frame, buffer, sizeof buffer));
    fputs("}]", out);
    if (!frame->file && frame->build_id)
        fprintf(out, ", \"properties\": {\"buildId\": \"%s\"}", frame->build_id);
    putc('}', out);
}

/* How many frames from the innermost on tell leaks apart, named or not: up to the
 * outermost of the program itself. Those that call it are the system's. */
static size_t telling(const struct ma_frame *frames, size_t n)
{
    while (n && !ma_label_is_own(&frames[n - 1]))
        n--;
    return n;
}

/* FNV-1a over functions and names of modules: the same for the same leak of
 * another build, at another line. A frame without a name counts by its offset, which
 * is the same wherever its module is loaded, and in a build of the same code. */
static uint64_t fingerprint(const struct ma_frame *frames, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const size_t own = telling(frames, n);
    for (size_t i = 0; i < n; i++) {
        char offset[32] = "?";
        if (i < own)
            snprintf(offset, sizeof offset, "+0x%" PRIx64, frames[i].offset);
        const char *module = frames[i].module ? frames[i].module : "";
        const char *slash = strrchr(module, '/');
        const char *parts[] = {frames[i].function ? frames[i].function : offset,
                               slash ? slash + 1 : module};
        for (size_t k = 0; k < 2; k++) {
            for (const char *c = parts[k]; *c; c++)
                hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
            hash = (hash ^ 0xff) * 0x100000001b3u;
        }
    }
    return hash;
}

static int put_result(struct sarif *sarif, const struct ma_row *row)
{
    const struct ma_frame *frames;
    const struct ma_frame none = {.function = "(no stack)"};
    struct ma_analysis *analysis = sarif->analysis;
    FILE *out = sarif->out;
    char bytes[MA_HUMAN_SIZE], blocks[MA_HUMAN_SIZE], buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    if (n == 0) {
        frames = &none;
        n = 1;
    }
    const struct ma_frame *own = &frames[ma_label_own_frame(frames, (size_t)n)];
    char *text = NULL;
    if (asprintf(&text, "%s in %s block%s never freed, allocated by %s",
                 ma_human_bytes(bytes, row->leaked_bytes),
                 ma_human_count(blocks, row->leaked_blocks), row->leaked_blocks == 1 ? "" : "s",
                 ma_frame_name(&frames[ma_label_frame(frames, (size_t)n)], buffer, sizeof buffer)) <
        0)
        return -ENOMEM;
    fputs("        {\"ruleId\": \"heap-leak\", \"ruleIndex\": 0, \"level\": \"warning\",\n"
          "         \"message\": {\"text\": ",
          out);
    ma_write_json_string(out, text);
    free(text);
    fputs("},\n         \"locations\": [", out);
    put_location(sarif, own);
    fputs("],\n         \"stacks\": [{\"message\": {\"text\": \"allocated here\"}, \"frames\": [",
          out);
    for (long i = 0; i < n; i++) {
        fputs(i ? ",\n           {\"location\": " : "\n           {\"location\": ", out);
        put_location(sarif, &frames[i]);
        if (frames[i].module) {
            fputs(", \"module\": ", out);
            ma_write_json_string(out, frames[i].module);
        }
        putc('}', out);
    }
    fprintf(out,
            "]}],\n         \"partialFingerprints\": {\"mlogStack/v1\": \"%016" PRIx64 "\"},\n"
            "         \"properties\": {\"bytes\": %" PRIu64 ", \"blocks\": %" PRIu64 "}}",
            fingerprint(frames, (size_t)n), row->leaked_bytes, row->leaked_blocks);
    return 0;
}

static int put_call(struct sarif *sarif, const char *what, const struct ma_past_call *call,
                    const char **separator)
{
    const struct ma_frame *frames;
    FILE *out = sarif->out;
    if (!call->process || !call->stack)
        return 0;
    long n = ma_stacks_frames(&sarif->analysis->stacks, call->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    fprintf(out, "%s{\"message\": {\"text\": \"%s\"}, \"frames\": [", *separator, what);
    *separator = ",\n           ";
    for (long i = 0; i < n; i++) {
        fputs(i ? ",\n           {\"location\": " : "{\"location\": ", out);
        put_location(sarif, &frames[i]);
        putc('}', out);
    }
    fputs("]}", out);
    return 0;
}

/* A wrong free, at the call that is known of it: the wrong one at best. */
static int put_wrong_free(struct sarif *sarif, const struct ma_wrong_case *one)
{
    const struct ma_frame *frames, none = {.function = "(no stack)"};
    const struct ma_past_call *calls[] = {&one->again, &one->ended, &one->made};
    char text[MA_PAST_TEXT];
    const char *separator = "";
    FILE *out = sarif->out;
    size_t known = 0;
    while (known < 2 && !(calls[known]->process && calls[known]->stack))
        known++;
    long n = calls[known]->process && calls[known]->stack
                 ? ma_stacks_frames(&sarif->analysis->stacks, calls[known]->stack, &frames)
                 : 0;
    if (n < 0)
        return -ENOMEM;
    if (n == 0)
        frames = &none;
    ma_past_say(one, text, sizeof text);
    fputs("        {\"ruleId\": \"wrong-free\", \"ruleIndex\": 1, \"level\": \"error\",\n"
          "         \"message\": {\"text\": ",
          out);
    ma_write_json_string(out, text);
    fputs("},\n         \"locations\": [", out);
    put_location(sarif, n ? &frames[ma_label_own_frame(frames, (size_t)n)] : frames);
    const uint64_t print = fingerprint(frames, n ? (size_t)n : 1);
    fputs("],\n         \"stacks\": [", out);
    int result = put_call(sarif, "allocated here", &one->made, &separator);
    if (result == 0)
        result = put_call(sarif, "freed first here", &one->ended, &separator);
    if (result == 0)
        result = put_call(sarif, "freed wrongly here", &one->again, &separator);
    fprintf(out,
            "],\n         \"partialFingerprints\": {\"mlogStack/v1\": \"%016" PRIx64 "\"},\n"
            "         \"properties\": {\"frees\": %" PRIu64 "}}",
            print, one->frees);
    return result;
}

/* Those that are surely wrong, behind `n` other results. */
static int put_wrong_frees(struct sarif *sarif, size_t n)
{
    struct ma_wrong_case *cases;
    const long count = ma_past_cases(sarif->analysis, &cases);
    int result = count < 0 ? -ENOMEM : 0;
    for (long i = 0; i < count && result == 0; i++) {
        fputs(i || n ? ",\n" : "\n", sarif->out);
        result = put_wrong_free(sarif, &cases[i]);
    }
    free(count < 0 ? NULL : cases);
    return result;
}

static void put_notification(FILE *out, bool *any, const char *id, const char *text)
{
    fprintf(out,
            "%s\n          {\"level\": \"error\", \"descriptor\": {\"id\": \"%s\"}, "
            "\"message\": {\"text\": ",
            *any ? "," : "", id);
    ma_write_json_string(out, text);
    fputs("}}", out);
    *any = true;
}

static void put_invocation(struct sarif *sarif, const struct ma_gate *gate)
{
    FILE *out = sarif->out;
    bool any = false;
    fprintf(out,
            "      \"invocations\": [{\"executionSuccessful\": %s, "
            "\"toolExecutionNotifications\": [",
            gate->doubt[0] ? "false" : "true");
    if (gate->doubt[0])
        put_notification(out, &any, "trace-damaged", gate->doubt);
    for (size_t i = 0; i < gate->n; i++) {
        if (gate->judged[i].failed)
            put_notification(out, &any, "heap-limit", gate->judged[i].sentence);
    }
    fputs("]}],\n", out);
}

static int put_filter(const struct ma_filter *filter, FILE *out)
{
    char *text = ma_filter_text(filter);
    if (!text)
        return -ENOMEM;
    fputs("      \"properties\": {\"filter\": ", out);
    ma_write_json_string(out, text);
    fputs("},\n", out);
    free(text);
    return 0;
}

int ma_ci_write_sarif(struct ma_analysis *analysis, const struct ma_gate *gate, FILE *out)
{
    struct sarif sarif = {.analysis = analysis, .out = out};
    size_t n;
    const struct ma_row **rows = ma_ci_leaks(analysis, &n);
    const bool wrong = ma_past_wrong(analysis);
    char *cwd = getcwd(NULL, 0);
    int result = rows ? 0 : -ENOMEM;
    if (cwd && cwd[0] == '/' && cwd[1] && asprintf(&sarif.cwd, "%s/", cwd) < 0)
        sarif.cwd = NULL;
    fputs(
        "{\n  \"$schema\": \"https://json.schemastore.org/sarif-2.1.0.json\",\n"
        "  \"version\": \"2.1.0\",\n  \"runs\": [{\n"
        "      \"tool\": {\"driver\": {\"name\": \"mlog-analyze\", \"version\": \"" MLOG_VERSION
        "\", \"rules\": [\n"
        "        {\"id\": \"heap-leak\", \"name\": \"HeapLeak\", \"shortDescription\": {\"text\": "
        "\"Memory that was never freed\"},\n"
        "         \"fullDescription\": {\"text\": \"" HELP "\"},\n"
        "         \"help\": {\"text\": \"" HELP " " MEND "\", \"markdown\": \"" HELP "\\n\\n" MEND
        "\"},\n         \"defaultConfiguration\": {\"level\": \"warning\"}}",
        out);
    if (wrong)
        fputs(",\n        {\"id\": \"wrong-free\", \"name\": \"WrongFree\", "
              "\"shortDescription\": {\"text\": \"A free of what was no live block\"},\n"
              "         \"fullDescription\": {\"text\": \"" WRONG_HELP "\"},\n"
              "         \"help\": {\"text\": \"" WRONG_HELP " " WRONG_MEND
              "\", \"markdown\": \"" WRONG_HELP "\\n\\n" WRONG_MEND
              "\"},\n         \"defaultConfiguration\": {\"level\": \"error\"}}",
              out);
    fputs(
        "],\n        \"notifications\": [{\"id\": \"heap-limit\", \"shortDescription\": {\"text\": "
        "\"A condition of --fail-on\"}}, {\"id\": \"trace-damaged\", \"shortDescription\": "
        "{\"text\": \"The trace is not whole\"}}]}},\n",
        out);
    put_invocation(&sarif, gate);
    if (result == 0) {
        fputs("      \"automationDetails\": {\"id\": ", out);
        char *id = NULL;
        if (asprintf(&id, "mlog/%s/", ma_ci_trace_name(analysis)) < 0)
            result = -ENOMEM;
        else
            ma_write_json_string(out, id);
        free(result == 0 ? id : NULL);
        fputs("},\n", out);
    }
    if (analysis->filter && result == 0)
        result = put_filter(analysis->filter, out);
    fputs("      \"results\": [", out);
    size_t shown = n;
    if (analysis->request->top_given && analysis->request->top < n)
        shown = analysis->request->top;
    for (size_t i = 0; i < shown && result == 0; i++) {
        fputs(i ? ",\n" : "\n", out);
        result = put_result(&sarif, rows[i]);
    }
    if (result == 0 && wrong)
        result = put_wrong_frees(&sarif, shown);
    fputs("]\n  }]\n}\n", out);
    free(rows);
    free(sarif.cwd);
    free(cwd);
    return result;
}
