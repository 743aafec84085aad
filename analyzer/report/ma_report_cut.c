/* SPDX-License-Identifier: MIT
 *
 * Cut stacks and choices; see ma_report_cut.h. Stacks of several programs are one row, so
 * a choice of one counts for all: programs of one trace inherit the environment.
 */
#include "ma_report_cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_text.h"

#define COUNT(number) ma_human_count((char[MA_HUMAN_SIZE]){0}, number)
#define SAY(...) ma_model_format(model, warnings, NULL, NULL, __VA_ARGS__)

/* The setting of the first program that has it, "" if none. */
static const char *find_setting(const struct ma_trace *trace, const char *name)
{
    const char *value = "";
    for (size_t i = 0; i < trace->n_processes && !*value; i++)
        value = ma_process_setting(trace->processes[i], name);
    return value;
}

void ma_cut_count(struct ma_analysis *analysis, struct ma_cut *cut)
{
    *cut = (struct ma_cut){
        .depth = strtoull(find_setting(&analysis->trace, "DEPTH"), NULL, 10),
        .fp = !strcmp(find_setting(&analysis->trace, "UNWIND"), "fp"),
    };
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const struct ma_row *row = &analysis->rows[i];
        cut->all_allocated += row->bytes;
        cut->all_peak += row->peak_bytes;
        cut->all_leaked += row->leaked_bytes;
        if (row->stack ==
            MA_ROOT_UNKNOWN) /* of one that is not defined the audit tells elsewhere */
            continue;
        cut->stacks++;
        const uint32_t root = ma_stacks_root(&analysis->stacks, row->stack);
        cut->by_root[root]++;
        if (!root)
            continue;
        cut->allocated += row->bytes;
        cut->peak += row->peak_bytes;
        cut->leaked += row->leaked_bytes;
    }
}

static uint64_t count_all(const struct ma_cut *cut)
{
    uint64_t sum = 0;
    for (size_t i = 1; i < MLF_FIRST_NODE; i++)
        sum += cut->by_root[i];
    return sum;
}

/* Those that end where the user's choice lets them. */
static uint64_t count_capped(const struct ma_cut *cut)
{
    return cut->depth ? cut->by_root[MLF_ROOT_DEPTH_LIMIT] : 0;
}

static uint64_t count_followed(const struct ma_cut *cut)
{
    return cut->fp ? cut->by_root[MLF_ROOT_NO_RULE] + cut->by_root[MLF_ROOT_BAD_MEMORY] : 0;
}

static uint64_t count_unchosen(const struct ma_cut *cut)
{
    return count_all(cut) - count_capped(cut) - count_followed(cut);
}

void ma_cut_add(struct ma_model *model, struct ma_value *audit, const struct ma_cut *cut)
{
    static const char *const reasons[] = {
        NULL, "no_rule", "depth_limit", "bad_memory", "table_full",
    };
    struct ma_value *stacks = ma_model_object(model, audit, "truncated_stacks", NULL, MA_FIELDS);
    uint64_t other = 0;
    for (size_t i = 1; i < MLF_FIRST_NODE; i++) {
        if (i < sizeof reasons / sizeof *reasons)
            ma_model_number(model, stacks, reasons[i], NULL, MA_COUNT, cut->by_root[i]);
        else
            other += cut->by_root[i];
    }
    ma_model_number(model, stacks, "undefined", NULL, MA_COUNT, other);
    struct ma_value *object =
        ma_model_object(model, audit, "truncated_stack_bytes", NULL, MA_FIELDS);
    ma_model_number(model, object, "allocated", NULL, MA_BYTES, cut->allocated);
    ma_model_number(model, object, "peak", NULL, MA_BYTES, cut->peak);
    ma_model_number(model, object, "leaked", NULL, MA_BYTES, cut->leaked);
    if (cut->depth)
        ma_model_number(model, audit, "chosen_depth", NULL, MA_PLAIN, cut->depth);
    else
        ma_model_null(model, audit, "chosen_depth");
    ma_model_boolean(model, audit, "chosen_frame_pointers", NULL, cut->fp);
}

static double percent(uint64_t part, uint64_t all)
{
    return all ? 100.0 * (double)part / (double)all : 0;
}

static void say_unchosen(struct ma_model *model, struct ma_value *warnings,
                         const struct ma_cut *cut)
{
    const uint64_t *by_root = cut->by_root;
    const uint64_t no_rule = cut->fp ? 0 : by_root[MLF_ROOT_NO_RULE];
    const uint64_t other = count_unchosen(cut) - no_rule;
    if (no_rule)
        SAY("%s stack%s cut where code has no unwind information, or wrong (generated code, "
            "assembly).",
            COUNT(no_rule), no_rule == 1 ? " is" : "s are");
    if (other)
        SAY("%s stack%s cut (%s at the depth limit, %s at unreadable memory, %s for want "
            "of room).",
            COUNT(other), other == 1 ? " is" : "s are",
            COUNT(cut->depth ? 0 : by_root[MLF_ROOT_DEPTH_LIMIT]),
            COUNT(cut->fp ? 0 : by_root[MLF_ROOT_BAD_MEMORY]), COUNT(by_root[MLF_ROOT_TABLE_FULL]));
}

void ma_cut_say(struct ma_model *model, struct ma_value *warnings, const struct ma_cut *cut)
{
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE], c[MA_HUMAN_SIZE];
    if (cut->depth)
        SAY("Stacks have %s frame%s at most, as MLOG_DEPTH asked: %s of %s end%s there.",
            COUNT(cut->depth), cut->depth == 1 ? "" : "s", COUNT(count_capped(cut)),
            COUNT(cut->stacks), count_capped(cut) == 1 ? "s" : "");
    if (cut->fp)
        SAY("Stacks follow frame pointers alone, as MLOG_UNWIND=fp asked: %s of %s end%s at the "
            "first function built without them.",
            COUNT(count_followed(cut)), COUNT(cut->stacks), count_followed(cut) == 1 ? "s" : "");
    say_unchosen(model, warnings, cut);
    if (count_unchosen(cut))
        SAY("  Under cut stacks lie %.1f %% of the bytes allocated (%s), %.1f %% of the peak's "
            "(%s) and %.1f %% of those never freed (%s).",
            percent(cut->allocated, cut->all_allocated), ma_human_bytes(a, cut->allocated),
            percent(cut->peak, cut->all_peak), ma_human_bytes(b, cut->peak),
            percent(cut->leaked, cut->all_leaked), ma_human_bytes(c, cut->leaked));
}

const char *ma_cut_close(const struct ma_cut *cut, char buffer[MA_CUT_CLOSE])
{
    if (count_unchosen(cut))
        snprintf(buffer, MA_CUT_CLOSE, "; %s of %s stacks are cut", COUNT(count_all(cut)),
                 COUNT(cut->stacks));
    else if (count_all(cut))
        snprintf(buffer, MA_CUT_CLOSE, ", every stack is as long as %s%s%s lets it be",
                 cut->depth ? "MLOG_DEPTH" : "", cut->depth && cut->fp ? " and " : "",
                 cut->fp ? "MLOG_UNWIND=fp" : "");
    else
        snprintf(buffer, MA_CUT_CLOSE, ", every stack is whole");
    return buffer;
}

void ma_report_say_streams(const struct ma_analysis *analysis, struct ma_model *model,
                           struct ma_value *warnings)
{
    static const struct {
        const char *reason, *why, *what;
    } words[] = {
        {"denied",
         "the program may not open it again (it is another user's, or a sandbox forbids it)",
         "MLOG_OUT=FILE, in a folder that the program may write to,"},
        {"filesystem", "a mapped file may fail on its file system (network, overlay, FUSE)",
         "A file on a local disk, or in /dev/shm,"},
        {"refused", "the kernel would not map it", "A file on a local disk, or in /dev/shm,"},
    };
    const struct ma_trace *trace = &analysis->trace;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        uint64_t n = 0;
        for (size_t j = 0; j < trace->n_processes; j++)
            n += !strcmp(ma_process_setting(trace->processes[j], "STREAM"), words[i].reason);
        if (n)
            SAY("The file was written like a pipe and not mapped by %s process%s, since %s: had "
                "one been killed, its last events were lost. %s keeps them.",
                COUNT(n), n == 1 ? "" : "es", words[i].why, words[i].what);
    }
}
