/* SPDX-License-Identifier: MIT
 *
 * Tables and trees of the text renderer (ma_render_text.c).
 */
#ifndef MA_RENDER_TABLE_H
#define MA_RENDER_TABLE_H

#include <stdio.h>

#include "ma_model.h"
#include "ma_text.h"

/* A scalar as a person reads it, in buffer or as it stands. */
const char *ma_human(const struct ma_value *value, char buffer[MA_HUMAN_SIZE]);

/* The rows of an array, each an object with the same titled scalars (the first
 * 16 are shown), below a line of their titles. `width`: columns of the terminal.
 * dim and plain: what switches a fainter colour on and off. */
void ma_render_table(FILE *out, const struct ma_value *array, size_t width, const char *dim,
                     const char *plain);

/* An array of objects, a line each: their titled numbers, and the text "function"
 * indented by the object's `number`. Three and more without title in a row are only
 * counted. */
void ma_render_tree(FILE *out, const struct ma_value *array, size_t width, const char *dim,
                    const char *plain);

#endif
