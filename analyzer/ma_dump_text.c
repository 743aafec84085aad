/* SPDX-License-Identifier: MIT
 *
 * --dump=text: the log grammar of malloc-stat. Entries begin with '+', name,
 * size and address, then the frames of the stack, and end with '-'. What a
 * single log cannot say is said in '#' lines: a "# PID" wherever the process
 * of the entries changes. A realloc that moves its block is two entries,
 * realloc-free for the old and realloc-realloc for the new.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_dump.h"
#include "ma_text.h"

/* Where the dump is: there is one at a time. */
static const struct ma_process *current;

static void header_line(FILE *out, const char *name, const char *text)
{
    fprintf(out, "# %s ", name);
    ma_write_text(out, text, SIZE_MAX);
    putc('\n', out);
}

static void begin_process(FILE *out, const struct ma_process *process)
{
    const struct ma_process *named = ma_process_program(process);
    header_line(out, "EXE", ma_process_text(named, MLF_TEXT_EXE));
    header_line(out, "CWD", ma_process_text(named, MLF_TEXT_CWD));
    fputs("# MAPS\n", out);
    const char *maps = ma_process_text(named, MLF_TEXT_MAPS);
    while (*maps) {
        size_t length = strcspn(maps, "\n");
        char *line = strndup(maps, length);
        ma_write_text(out, line ? line : "", SIZE_MAX);
        putc('\n', out);
        free(line);
        maps += length + (maps[length] == '\n');
    }
    fputs("+ INIT\n-\n", out);
}

static void end_process(FILE *out)
{
    if (current && current->ended)
        fputs("+ FINI\n-\n", out);
}

static void enter(FILE *out, const struct ma_process *process)
{
    if (process == current)
        return;
    end_process(out);
    fprintf(out, "# PID %" PRIu64 "\n", ma_process_pid(process));
    current = process;
}

static void frame(FILE *out, const struct ma_process *process, const struct ma_node *node,
                  size_t index)
{
    const struct ma_module *module = ma_process_module(process, node->module);
    (void)index;
    if (module)
        ma_write_text(out, module->path, SIZE_MAX);
    fprintf(out, "(+0x%" PRIx64 ")[0x%" PRIx64 "]\n", node->offset,
            ma_process_address(process, node));
}

/* The size of the block at an address, before it ends; 0 if it is not known. */
static uint64_t size_at(const struct ma_analysis *analysis, const struct ma_process *process,
                        uint64_t address)
{
    const struct ma_replay *replay = &analysis->replay;
    if (process->index >= replay->n_accounts || !replay->accounts[process->index])
        return 0;
    const struct ma_account *account = replay->accounts[process->index];
    struct ma_block block;
    return ma_heap_find(&account->heap, address, &block) ||
                   ma_inherit_find(account, address, &block)
               ? block.size
               : 0;
}

static uint64_t moving_size(const struct ma_analysis *analysis, const struct ma_merged *merged)
{
    const struct ma_replay *replay = &analysis->replay;
    if (merged->stream->index >= replay->n_workers)
        return 0;
    const struct ma_worker *worker = &replay->workers[merged->stream->index];
    return worker->is_moving ? worker->moving.size : 0;
}

static void entry(FILE *out, const char *name, uint64_t size, uint64_t address)
{
    fprintf(out, "+ %s %" PRIu64 " 0x%" PRIx64 "\n", name, size, address);
}

static int allocation(FILE *out, struct ma_analysis *analysis, const struct ma_merged *merged,
                      const char *name)
{
    const struct ma_event *event = merged->event;
    entry(out, name, event->size, event->address);
    int result = ma_dump_stack(analysis, merged->process, event->stack, frame, out);
    fputs("-\n", out);
    return result;
}

int ma_dump_text_event(void *context, struct ma_analysis *analysis,
                       const struct ma_merged *merged)
{
    const struct ma_event *event = merged->event;
    FILE *out = context;
    int result = 0;
    switch (event->type) {
    case MA_EVENT_FORK:
    case MA_EVENT_START:
        enter(out, merged->process);
        begin_process(out, merged->process);
        break;
    case MA_EVENT_ALLOC:
        enter(out, merged->process);
        result = allocation(out, analysis, merged,
                            event->function == MLF_FN_realloc
                                ? "realloc-alloc"
                                : ma_function_names[event->function]);
        break;
    case MA_EVENT_FREE:
        enter(out, merged->process);
        entry(out, event->function == MLF_FN_realloc ? "realloc-free" : "free",
              size_at(analysis, merged->process, event->address), event->address);
        fputs("-\n", out);
        break;
    case MA_EVENT_REALLOC:
        enter(out, merged->process);
        if (event->address != event->old_address) {
            entry(out, "realloc-free", moving_size(analysis, merged), event->old_address);
            fputs("-\n", out);
        }
        result = allocation(out, analysis, merged,
                            event->address == event->old_address ? "realloc-inplace"
                                                                 : "realloc-realloc");
        break;
    default:
        break;
    }
    return result < 0 ? result : ferror(out) ? -EIO : 0;
}

int ma_dump_text_end(void *context, struct ma_analysis *analysis)
{
    (void)analysis;
    end_process(context);
    current = NULL;
    return 0;
}
