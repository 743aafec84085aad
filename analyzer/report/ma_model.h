/* SPDX-License-Identifier: MIT
 *
 * The content of a report, free of its form: a tree of values. Each has a key
 * (its name in JSON) and, if people should see it, a title; numbers have a
 * unit, containers a layout. A value without key inside an object is for people
 * only. Renderers know these and no report. Stacks are named by id: the
 * renderer asks for their frames as it goes, so that the tree stays small.
 *
 * Adding never fails: without memory the model is marked and what is added is
 * thrown away. Keys and titles must outlive the model; texts are copied.
 */
#ifndef MA_MODEL_H
#define MA_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ma_type { MA_NULL, MA_BOOLEAN, MA_NUMBER, MA_REAL, MA_TEXT, MA_STACK, MA_ARRAY, MA_OBJECT };

enum ma_unit {
    MA_PLAIN, /* as it is: ids, addresses */
    MA_COUNT,
    MA_BYTES,
    MA_NANOSECONDS,
    MA_PERCENT,      /* of the whole, as a MA_REAL from 0 to 100 */
    MA_BAR,          /* the same, drawn in a table */
    MA_BYTES_CHANGE, /* signed: an int64_t in the number */
    MA_COUNT_CHANGE,
    MA_PERCENT_CHANGE, /* as MA_PERCENT, shown with its sign */
};

/* The layout of a container for people. */
enum ma_layout {
    MA_FIELDS,   /* one line for each titled child */
    MA_LINES,    /* texts, one a line */
    MA_ENTRIES,  /* objects with numbers, a label and a stack */
    MA_CHART,    /* objects: a moment and a number, drawn as bars */
    MA_TABLE,    /* objects: a row each, below their titles */
    MA_TREE,     /* objects: a line each, indented by their `number` */
    MA_SECTIONS, /* objects, one after the other */
};

struct ma_stacks;

struct ma_value {
    const char *key;   /* NULL: an element of an array, or for people only */
    const char *title; /* NULL: not shown to people */
    const char *note;  /* a sentence for people below the title, or NULL; of a function,
                        * as an entry's label or in a table: the place it lies at */
    bool extra;        /* people do not get it where frames are folded */
    bool whole;        /* of a stack: people get all its frames */
    bool again;        /* people get it once more behind what their screen does not hold */
    enum ma_type type;
    enum ma_unit unit;
    enum ma_layout layout;
    uint64_t number; /* NUMBER, BOOLEAN, STACK: its id */
    double real;
    const char *text;         /* TEXT: NUL-terminated, any other byte */
    struct ma_stacks *stacks; /* STACK: whose id it is, NULL: the renderer's */
    struct ma_value *first, *last, *next;
    size_t n; /* children */
};

struct ma_model {
    struct ma_value root; /* an object */
    struct ma_value waste;
    struct ma_model_block *blocks;
    bool failed;
};

void ma_model_init(struct ma_model *model);
void ma_model_free(struct ma_model *model);

/* All return the new value, never NULL. In an array pass a key of NULL. */
struct ma_value *ma_model_object(struct ma_model *model, struct ma_value *parent, const char *key,
                                 const char *title, enum ma_layout layout);
struct ma_value *ma_model_array(struct ma_model *model, struct ma_value *parent, const char *key,
                                const char *title, enum ma_layout layout);
struct ma_value *ma_model_number(struct ma_model *model, struct ma_value *parent, const char *key,
                                 const char *title, enum ma_unit unit, uint64_t number);
struct ma_value *ma_model_real(struct ma_model *model, struct ma_value *parent, const char *key,
                               const char *title, enum ma_unit unit, double real);
struct ma_value *ma_model_boolean(struct ma_model *model, struct ma_value *parent, const char *key,
                                  const char *title, bool truth);
/* text NULL: a null. */
struct ma_value *ma_model_text(struct ma_model *model, struct ma_value *parent, const char *key,
                               const char *title, const char *text);
struct ma_value *ma_model_format(struct ma_model *model, struct ma_value *parent, const char *key,
                                 const char *title, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
struct ma_value *ma_model_null(struct ma_model *model, struct ma_value *parent, const char *key);
struct ma_value *ma_model_stack(struct ma_model *model, struct ma_value *parent, const char *key,
                                uint32_t id);

/* The same of other stacks than those the renderer is given. */
struct ma_value *ma_model_stack_of(struct ma_model *model, struct ma_value *parent, const char *key,
                                   struct ma_stacks *stacks, uint32_t id);

/* Set the note of a value. */
void ma_model_note(struct ma_model *model, struct ma_value *value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The child with this key, or NULL. */
const struct ma_value *ma_model_find(const struct ma_value *object, const char *key);

#endif
