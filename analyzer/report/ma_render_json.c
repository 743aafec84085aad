/* SPDX-License-Identifier: MIT
 *
 * The JSON renderer: every value with a key, through yajl. Texts are made
 * well-formed UTF-8 first; yajl escapes control characters.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_gen.h>

#include "ma_render.h"
#include "ma_text.h"

struct writer {
    yajl_gen gen;
    struct ma_stacks *stacks;
    bool failed;
};

static void print(void *context, const char *text, size_t size)
{
    ma_write_json_bytes(context, text, size);
}

static void check(struct writer *writer, yajl_gen_status status)
{
    writer->failed |= status != yajl_gen_status_ok;
}

static void write_text(struct writer *writer, const char *text)
{
    if (!text) {
        check(writer, yajl_gen_null(writer->gen));
        return;
    }
    char *clean = ma_clean_utf8(text);
    if (!clean) {
        writer->failed = true;
        return;
    }
    check(writer, yajl_gen_string(writer->gen, (const unsigned char *)clean, strlen(clean)));
    free(clean);
}

static void write_number(struct writer *writer, uint64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, number);
    check(writer, yajl_gen_number(writer->gen, digits, (size_t)n));
}

static void write_address(struct writer *writer, uint64_t address)
{
    char digits[24];
    snprintf(digits, sizeof digits, "0x%" PRIx64, address);
    write_text(writer, digits);
}

static void write_frame(struct writer *writer, const struct ma_frame *frame)
{
    yajl_gen_map_open(writer->gen);
    write_text(writer, "address");
    write_address(writer, frame->address);
    write_text(writer, "module");
    write_text(writer, frame->module);
    write_text(writer, "build_id");
    write_text(writer, frame->build_id);
    write_text(writer, "offset");
    write_address(writer, frame->offset);
    write_text(writer, "function");
    write_text(writer, frame->function);
    write_text(writer, "file");
    write_text(writer, frame->file);
    write_text(writer, "line");
    if (frame->line)
        write_number(writer, frame->line);
    else
        write_text(writer, NULL);
    write_text(writer, "inlined");
    check(writer, yajl_gen_bool(writer->gen, frame->inlined));
    yajl_gen_map_close(writer->gen);
}

static void write_stack(struct writer *writer, struct ma_stacks *stacks, uint32_t id)
{
    const struct ma_frame *frames;
    long n = ma_stacks_frames(stacks, id, &frames);
    writer->failed |= n < 0;
    yajl_gen_array_open(writer->gen);
    for (long i = 0; i < n; i++)
        write_frame(writer, &frames[i]);
    yajl_gen_array_close(writer->gen);
}

static void write_value(struct writer *writer, const struct ma_value *value)
{
    switch (value->type) {
    case MA_NULL: check(writer, yajl_gen_null(writer->gen)); break;
    case MA_BOOLEAN: check(writer, yajl_gen_bool(writer->gen, value->number != 0)); break;
    case MA_NUMBER:
        if (value->unit == MA_BYTES_CHANGE || value->unit == MA_COUNT_CHANGE)
            check(writer, yajl_gen_integer(writer->gen, (long long)value->number));
        else
            write_number(writer, value->number);
        break;
    case MA_REAL: check(writer, yajl_gen_double(writer->gen, value->real)); break;
    case MA_TEXT: write_text(writer, value->text); break;
    case MA_STACK:
        write_stack(writer, value->stacks ? value->stacks : writer->stacks,
                    (uint32_t)value->number);
        break;
    case MA_ARRAY:
        yajl_gen_array_open(writer->gen);
        for (const struct ma_value *child = value->first; child; child = child->next)
            write_value(writer, child);
        yajl_gen_array_close(writer->gen);
        break;
    case MA_OBJECT:
        yajl_gen_map_open(writer->gen);
        for (const struct ma_value *child = value->first; child; child = child->next) {
            if (!child->key)
                continue;
            write_text(writer, child->key);
            write_value(writer, child);
        }
        yajl_gen_map_close(writer->gen);
        break;
    }
}

/* yajl does not look whether it was given memory: if not, leave it. */
static void *given(void *no_memory, void *memory)
{
    if (!memory)
        longjmp(*(jmp_buf *)no_memory, 1);
    return memory;
}

static void *give(void *no_memory, size_t size)
{
    return given(no_memory, malloc(size));
}

static void *give_more(void *no_memory, void *memory, size_t size)
{
    return given(no_memory, realloc(memory, size));
}

static void take_back(void *no_memory, void *memory)
{
    (void)no_memory;
    free(memory);
}

int ma_render_json(const struct ma_model *model, struct ma_stacks *stacks,
                   const struct ma_render_options *options, FILE *out)
{
    (void)options;
    jmp_buf no_memory;
    if (setjmp(no_memory))
        return -ENOMEM;
    const yajl_alloc_funcs memory = {give, give_more, take_back, &no_memory};
    struct writer writer = {.gen = yajl_gen_alloc(&memory), .stacks = stacks};
    yajl_gen_config(writer.gen, yajl_gen_beautify, 1);
    yajl_gen_config(writer.gen, yajl_gen_indent_string, " ");
    yajl_gen_config(writer.gen, yajl_gen_print_callback, print, out);
    write_value(&writer, &model->root);
    yajl_gen_free(writer.gen);
    return writer.failed ? -ENOMEM : 0;
}
