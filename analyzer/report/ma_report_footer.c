/* SPDX-License-Identifier: MIT
 *
 * The footer: how many stacks, what was traced, what the allocator says of itself, and
 * the kernel's numbers, at the end and at the peak. The kernel's are those of samples, so
 * of up to a hundredth of a second after the peak.
 */
#include "ma_report.h"
#include "ma_text.h"

#define HUMAN(bytes) ma_human_bytes((char[MA_HUMAN_SIZE]){0}, bytes)

/* What the allocators of all processes that told it have, summed up. */
struct own {
    uint64_t processes, mapped, in_use, free;
};

static struct own sum_up(const struct ma_trace *trace)
{
    struct own own = {0};
    for (size_t i = 0; i < trace->n_processes; i++) {
        const uint64_t *counters = trace->processes[i]->counters;
        own.processes += counters[MLF_COUNT_MAPPED] != 0;
        own.mapped += counters[MLF_COUNT_MAPPED];
        own.in_use += counters[MLF_COUNT_IN_USE];
        own.free += counters[MLF_COUNT_FREE];
    }
    return own;
}

static void add_own(struct ma_model *model, struct ma_value *footer, const struct own *own)
{
    if (!own->processes) {
        ma_model_null(model, footer, "allocator");
        return;
    }
    struct ma_value *object = ma_model_object(model, footer, "allocator", NULL, MA_FIELDS);
    ma_model_number(model, object, "processes", NULL, MA_COUNT, own->processes);
    ma_model_number(model, object, "mapped_bytes", NULL, MA_BYTES, own->mapped);
    ma_model_number(model, object, "in_use_bytes", NULL, MA_BYTES, own->in_use);
    ma_model_number(model, object, "free_bytes", NULL, MA_BYTES, own->free);
    ma_model_format(model, footer, NULL, "allocator", "%s mapped, %s in use, %s free at exit",
                    HUMAN(own->mapped), HUMAN(own->in_use), HUMAN(own->free));
}

static void add_memory(struct ma_model *model, struct ma_value *footer, const char *key,
                       const struct ma_replay *replay, const struct ma_memory *memory)
{
    if (!replay->has_resident) {
        ma_model_null(model, footer, key);
        return;
    }
    struct ma_value *object = ma_model_object(model, footer, key, NULL, MA_FIELDS);
    ma_model_number(model, object, "virtual_bytes", NULL, MA_BYTES, memory->virtual_bytes);
    ma_model_number(model, object, "resident_bytes", NULL, MA_BYTES, memory->resident);
    ma_model_number(model, object, "shared_bytes", NULL, MA_BYTES, memory->shared);
}

static void say_memory(struct ma_model *model, struct ma_value *footer, const char *title,
                       uint64_t end, uint64_t peak)
{
    ma_model_format(model, footer, NULL, title, "%s at the end, %s at the peak", HUMAN(end),
                    HUMAN(peak));
}

static int build_footer(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_replay *replay = &analysis->replay, *books = ma_analysis_books(analysis);
    const struct ma_memory *end = &replay->at_end, *peak = &replay->at_peak;
    const struct own own = sum_up(&analysis->trace);
    struct ma_value *footer = ma_model_object(model, &model->root, "footer", "Memory", MA_FIELDS);
    ma_model_number(model, footer, "stacks", "stacks", MA_COUNT, analysis->n_rows);
    struct ma_value *traced = ma_model_object(model, footer, "traced", NULL, MA_FIELDS);
    ma_model_number(model, traced, "end_bytes", NULL, MA_BYTES, analysis->leaked_bytes);
    ma_model_number(model, traced, "peak_bytes", NULL, MA_BYTES, books->peak_bytes);
    say_memory(model, footer, "traced", analysis->leaked_bytes, books->peak_bytes);
    add_own(model, footer, &own);
    add_memory(model, footer, "end", replay, end);
    add_memory(model, footer, "peak", replay, peak);
    if (!replay->has_resident)
        return 0;
    say_memory(model, footer, "virtual", end->virtual_bytes, peak->virtual_bytes);
    say_memory(model, footer, "resident", end->resident, peak->resident);
    say_memory(model, footer, "shared", end->shared, peak->shared);
    return 0;
}

const struct ma_report ma_report_footer = {
    .name = "footer",
    .help = "stacks, the allocator's own totals, memory of the process",
    .usual = true,
    .always = true,
    .build = build_footer,
};
