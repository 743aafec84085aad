/* SPDX-License-Identifier: MIT
 *
 * The table of dumpers and what they share.
 */
#include "ma_dump.h"

#include <string.h>

static const struct ma_dumper dumpers[] = {
    { "text", { .event = ma_dump_text_event, .end = ma_dump_text_end } },
    { "json", { .event = ma_dump_json_event, .no_replay = true } },
};

const char *const ma_function_names[MLF_FN_COUNT] = {
#define NAME(number, name, aligned) [number] = #name,
    MLF_FUNCTIONS(NAME)
#undef NAME
};

const struct ma_dumper *ma_dumper_find(const char *name)
{
    for (size_t i = 0; i < sizeof dumpers / sizeof *dumpers; i++) {
        if (strcmp(dumpers[i].name, name) == 0)
            return &dumpers[i];
    }
    return NULL;
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
