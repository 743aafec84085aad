/* SPDX-License-Identifier: MIT
 *
 * Matching of stacks; see ma_diff.h. The key of a stack is a text: for each frame
 * from the innermost to main its function and module, without what differs between
 * two builds of the same source: addresses, folders, versions behind ".so", whether
 * a call was inlined, suffixes of compilers' clones. Frames without a name stand
 * under their offset where the other trace has the same build of the module, else
 * under the module alone, however many follow each other.
 */
#include "ma_diff.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_stack_key.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* The executable that all processes of a trace ran, or NULL. */
static const char *only_program(const struct ma_trace *trace)
{
    const char *program = NULL;
    for (size_t i = 0; i < trace->n_processes; i++) {
        const char *path = ma_process_text(trace->processes[i], MLF_TEXT_EXE);
        if (!path[0] || (program && strcmp(program, path) != 0))
            return NULL;
        program = path;
    }
    return program;
}

static bool has_build(const struct ma_stacks *stacks, const char *build_id)
{
    for (size_t i = 0; i < stacks->n_objects; i++) {
        if (stacks->objects[i].build_id_size &&
            strcmp(stacks->objects[i].build_id_text, build_id) == 0)
            return true;
    }
    return false;
}

static void put_module(const struct ma_diff *diff, int side, const char *module, FILE *out)
{
    if (!module) {
        putc('?', out);
    } else if (diff->program[0] && diff->program[1] && diff->program[side] &&
               strcmp(module, diff->program[side]) == 0) {
        putc('*', out); /* the program, whatever its file is called */
    } else {
        const char *name = base_name(module);
        fwrite(name, 1, ma_key_module_length(name), out);
    }
}

static int write_key(struct ma_diff *diff, int side, uint32_t stack, FILE *out)
{
    struct ma_analysis *analysis = diff->sides[side];
    const struct ma_stacks *other = &diff->sides[!side]->stacks;
    const struct ma_frame *frames;
    const char *last = NULL; /* module of the frame before, if only it is known */
    bool nameless = false, after = false;
    long n = ma_stacks_frames(&analysis->stacks, stack, &frames);
    if (n < 0)
        return -ENOMEM;
    size_t count = ma_key_depth(frames, (size_t)n);
    for (size_t i = 0; i < count; i++) {
        const struct ma_frame *frame = &frames[i];
        bool alone = !frame->function && !(frame->build_id && has_build(other, frame->build_id));
        const char *module = frame->module ? frame->module : "";
        if (alone && after && strcmp(module, last) == 0)
            continue;
        nameless |= alone;
        after = alone;
        last = module;
        if (frame->function)
            fwrite(frame->function, 1, ma_key_source_length(frame->function), out);
        else if (!alone)
            fprintf(out, "+%llx", (unsigned long long)frame->offset);
        putc('\1', out);
        put_module(diff, side, frame->module, out);
        putc('\2', out);
    }
    diff->nameless[side] += nameless;
    return 0;
}

static void add_measure(struct ma_measure *sum, uint64_t bytes, uint64_t blocks)
{
    sum->bytes += bytes;
    sum->blocks += blocks;
}

static int add_row(struct ma_diff *diff, int side, const struct ma_row *row)
{
    char *key = NULL;
    size_t size;
    FILE *text = open_memstream(&key, &size);
    if (!text)
        return -ENOMEM;
    int result = write_key(diff, side, row->stack, text);
    if (fclose(text) != 0 || !key)
        result = -ENOMEM;
    uint32_t number = result == 0 ? ma_strings_add(&diff->keys, key) : MA_NONE;
    free(key);
    if (number == MA_NONE)
        return -ENOMEM;
    if (number == diff->n_rows) {
        if (!MA_RESERVE(diff->rows, diff->n_rows, diff->row_capacity))
            return -ENOMEM;
        diff->rows[diff->n_rows++] = (struct ma_diff_row){.stack = {MA_NONE, MA_NONE}};
    }
    struct ma_diff_row *of = &diff->rows[number];
    if (of->stack[side] == MA_NONE)
        of->stack[side] = row->stack;
    add_measure(&of->cost[side][MA_DIFF_LEAKS], row->leaked_bytes, row->leaked_blocks);
    add_measure(&of->cost[side][MA_DIFF_PEAK], row->peak_bytes, row->peak_blocks);
    add_measure(&of->cost[side][MA_DIFF_ALLOCATIONS], row->bytes, row->calls);
    return 0;
}

int ma_diff_build(struct ma_diff *diff, struct ma_analysis *old, struct ma_analysis *new)
{
    int result = 0;
    *diff = (struct ma_diff){
        .sides = {old, new},
        .program = {only_program(&old->trace), only_program(&new->trace)},
    };
    for (int side = MA_OLD; side < MA_SIDES; side++) {
        const struct ma_analysis *analysis = diff->sides[side];
        for (size_t i = 0; i < analysis->n_rows && result == 0; i++)
            result = add_row(diff, side, &analysis->rows[i]);
    }
    return result;
}

void ma_diff_free(struct ma_diff *diff)
{
    ma_strings_free(&diff->keys);
    free(diff->rows);
}
