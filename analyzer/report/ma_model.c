/* SPDX-License-Identifier: MIT
 *
 * Building of the tree in ma_model.h, from blocks of memory freed at once.
 */
#include "ma_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)1 << 16)

struct ma_model_block {
    struct ma_model_block *next;
    size_t used, size;
    _Alignas(16) unsigned char memory[];
};

void ma_model_init(struct ma_model *model)
{
    memset(model, 0, sizeof *model);
    model->root.type = MA_OBJECT;
}

void ma_model_free(struct ma_model *model)
{
    while (model->blocks) {
        struct ma_model_block *next = model->blocks->next;
        free(model->blocks);
        model->blocks = next;
    }
}

static void *take_memory(struct ma_model *model, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct ma_model_block *block = model->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK ? size : BLOCK;
        block = malloc(sizeof *block + room);
        if (!block) {
            model->failed = true;
            return NULL;
        }
        *block = (struct ma_model_block){.next = model->blocks, .size = room};
        model->blocks = block;
    }
    void *memory = block->memory + block->used;
    block->used += size;
    return memory;
}

static struct ma_value *add_value(struct ma_model *model, struct ma_value *parent, const char *key,
                                  const char *title, enum ma_type type)
{
    struct ma_value *value = parent == &model->waste ? NULL : take_memory(model, sizeof *value);
    if (!value) {
        model->waste = (struct ma_value){.type = type};
        return &model->waste;
    }
    *value = (struct ma_value){.key = key, .title = title, .type = type};
    if (parent->last)
        parent->last->next = value;
    else
        parent->first = value;
    parent->last = value;
    parent->n++;
    return value;
}

struct ma_value *ma_model_object(struct ma_model *model, struct ma_value *parent, const char *key,
                                 const char *title, enum ma_layout layout)
{
    struct ma_value *value = add_value(model, parent, key, title, MA_OBJECT);
    value->layout = layout;
    return value;
}

struct ma_value *ma_model_array(struct ma_model *model, struct ma_value *parent, const char *key,
                                const char *title, enum ma_layout layout)
{
    struct ma_value *value = add_value(model, parent, key, title, MA_ARRAY);
    value->layout = layout;
    return value;
}

struct ma_value *ma_model_number(struct ma_model *model, struct ma_value *parent, const char *key,
                                 const char *title, enum ma_unit unit, uint64_t number)
{
    struct ma_value *value = add_value(model, parent, key, title, MA_NUMBER);
    value->unit = unit;
    value->number = number;
    return value;
}

struct ma_value *ma_model_real(struct ma_model *model, struct ma_value *parent, const char *key,
                               const char *title, enum ma_unit unit, double real)
{
    struct ma_value *value = add_value(model, parent, key, title, MA_REAL);
    value->unit = unit;
    value->real = real;
    return value;
}

struct ma_value *ma_model_boolean(struct ma_model *model, struct ma_value *parent, const char *key,
                                  const char *title, bool truth)
{
    struct ma_value *value = add_value(model, parent, key, title, MA_BOOLEAN);
    value->number = truth;
    return value;
}

static const char *copy_text(struct ma_model *model, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = take_memory(model, size);
    return copy ? memcpy(copy, text, size) : "";
}

struct ma_value *ma_model_text(struct ma_model *model, struct ma_value *parent, const char *key,
                               const char *title, const char *text)
{
    struct ma_value *value = add_value(model, parent, key, title, text ? MA_TEXT : MA_NULL);
    if (text)
        value->text = copy_text(model, text);
    return value;
}

struct ma_value *ma_model_format(struct ma_model *model, struct ma_value *parent, const char *key,
                                 const char *title, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text = NULL;
        model->failed = true;
    }
    struct ma_value *value = ma_model_text(model, parent, key, title, text ? text : "");
    free(text);
    return value;
}

void ma_model_note(struct ma_model *model, struct ma_value *value, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        model->failed = true;
        return;
    }
    value->note = copy_text(model, text);
    free(text);
}

struct ma_value *ma_model_null(struct ma_model *model, struct ma_value *parent, const char *key)
{
    return add_value(model, parent, key, NULL, MA_NULL);
}

struct ma_value *ma_model_stack(struct ma_model *model, struct ma_value *parent, const char *key,
                                uint32_t id)
{
    struct ma_value *value = add_value(model, parent, key, NULL, MA_STACK);
    value->number = id;
    return value;
}

struct ma_value *ma_model_stack_of(struct ma_model *model, struct ma_value *parent, const char *key,
                                   struct ma_stacks *stacks, uint32_t id)
{
    struct ma_value *value = ma_model_stack(model, parent, key, id);
    value->stacks = stacks;
    return value;
}

const struct ma_value *ma_model_find(const struct ma_value *object, const char *key)
{
    for (const struct ma_value *child = object->first; child; child = child->next) {
        if (child->key && strcmp(child->key, key) == 0)
            return child;
    }
    return NULL;
}
