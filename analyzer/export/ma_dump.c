/* SPDX-License-Identifier: MIT
 *
 * The table of dumpers and what they share.
 */
#include "ma_dump.h"

#include <errno.h>
#include <string.h>

#include "ma_clock.h"

static const struct ma_dumper *const dumpers[] = {
#define ROW(name) &ma_dumper_##name,
    MA_DUMPERS(ROW)
#undef ROW
};
#define N_DUMPERS (sizeof dumpers / sizeof *dumpers)

const char *const ma_function_names[MLF_FN_COUNT] = {
#define NAME(number, name, aligned) [number] = #name,
    MLF_FUNCTIONS(NAME)
#undef NAME
};

const struct ma_dumper *ma_dumper_find(const char *name)
{
    for (size_t i = 0; i < N_DUMPERS; i++) {
        if (strcmp(dumpers[i]->name, name) == 0)
            return dumpers[i];
    }
    return NULL;
}

const char *ma_dumper_names(void)
{
    static char names[128];
    char *at = names;
    for (size_t i = 0; i < N_DUMPERS && at == names + strlen(names); i++)
        at += snprintf(at, sizeof names - (size_t)(at - names), "%s%s",
                       !i                  ? ""
                       : i + 1 < N_DUMPERS ? ", "
                                           : " or ",
                       dumpers[i]->name);
    return names;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct ma_dump *dump = context;
    (void)seen;
    (void)block;
    dump->sight.begins = true;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct ma_dump *dump = context;
    (void)seen;
    if (block->unseen)
        return 0; /* it has no event */
    dump->sight.ends = true;
    dump->sight.ended_size = block->size;
    return 0;
}

static int on_failed(void *context, const struct ma_seen *seen,
                     const struct ma_seen_failure *failure)
{
    struct ma_dump *dump = context;
    (void)seen;
    (void)failure;
    dump->sight.failed = true;
    return 0;
}

static int on_event(void *context, struct ma_analysis *analysis, const struct ma_merged *merged)
{
    struct ma_dump *dump = context;
    (void)analysis;
    int result = dump->dumper->event(dump, merged);
    dump->sight = (struct ma_dump_sight){0};
    return result;
}

static int on_end(void *context, struct ma_analysis *analysis)
{
    struct ma_dump *dump = context;
    (void)analysis;
    return dump->dumper->end ? dump->dumper->end(dump) : 0;
}

int ma_dump_begin(struct ma_dump *dump, const struct ma_dumper *dumper,
                  struct ma_analysis *analysis, FILE *out)
{
    const bool replays = dumper->replays || analysis->filter;
    *dump = (struct ma_dump){
        .dumper = dumper,
        .analysis = analysis,
        .out = out,
        .pass = {.context = dump,
                 .event = on_event,
                 .end = on_end,
                 .no_replay = !replays,
                 .prompt = dumper->prompt},
        .observer = {.context = dump,
                     .allocated = on_allocated,
                     .freed = on_freed,
                     .failed = on_failed},
    };
    int result = replays ? ma_observers_add(&analysis->replay.observers, &dump->observer) : 0;
    return result < 0 ? result : dumper->begin(dump);
}

void ma_dump_free(struct ma_dump *dump)
{
    free(dump->has_header);
}

/* A realloc of which the filter accepts one of the two blocks is a free of the
 * old, which left at the first of its times, or an allocation of the new. */
static enum ma_dump_extent split(const struct ma_dump_sight *sight, const struct ma_event *event,
                                 struct ma_event *part)
{
    if (sight->begins == sight->ends)
        return sight->begins ? MA_DUMP_ALL : MA_DUMP_NOTHING;
    *part = *event;
    part->type = sight->begins ? MA_EVENT_ALLOC : MA_EVENT_FREE;
    if (sight->ends)
        part->address = event->old_address;
    return MA_DUMP_PART;
}

enum ma_dump_extent ma_dump_extent(const struct ma_dump *dump, const struct ma_merged *merged,
                                   struct ma_event *part)
{
    const struct ma_dump_sight *sight = &dump->sight;
    const struct ma_event *event = merged->event;
    const struct ma_analysis *analysis = dump->analysis;
    bool all = true;
    if (!analysis->filter)
        return MA_DUMP_ALL;
    switch ((enum ma_event_type)event->type) {
    case MA_EVENT_REALLOC: return split(sight, event, part);
    case MA_EVENT_ALLOC: all = sight->begins; break;
    case MA_EVENT_FREE: all = sight->ends; break;
    case MA_EVENT_FAILED: all = sight->failed; break;
    case MA_EVENT_REALLOC_BEGIN:
    case MA_EVENT_FORK:
    case MA_EVENT_START:
    case MA_EVENT_RECORD:
        all = ma_filter_has(analysis->filter, merged->process,
                            ma_clock_ns(&analysis->trace, merged->process, event->time));
        break;
    }
    return all ? MA_DUMP_ALL : MA_DUMP_NOTHING;
}

int ma_dump_stack(struct ma_analysis *analysis, const struct ma_process *process, uint32_t stack,
                  ma_dump_frame *visit, FILE *out)
{
    const struct ma_process *owner;
    for (size_t depth = 0; stack >= MLF_FIRST_NODE && depth < MLF_DEPTH_MAX; depth++) {
        const struct ma_node *node = ma_process_node(process, stack, &owner);
        if (!node) {
            int result = ma_merge_poll(&analysis->merge);
            if (result < 0)
                return result;
            node = ma_process_node(process, stack, &owner);
        }
        if (!node) {
            analysis->trace.audit.unknown_stacks++;
            break;
        }
        visit(out, process, node, depth);
        stack = node->parent;
    }
    return 0;
}
