/* SPDX-License-Identifier: MIT
 *
 * Renderers: from a model to bytes. They know types, units and layouts, and no
 * report. They write to a FILE and leave its errors to ma_output.
 */
#ifndef MA_RENDER_H
#define MA_RENDER_H

#include <stdio.h>

#include "ma_model.h"
#include "ma_stacks.h"

struct ma_render_options {
    size_t frames; /* of a stack in text, SIZE_MAX: all */
    bool fold;     /* on a terminal, runs of library frames into a line */
    bool terminal; /* out is one: fit its width, use colours unless NO_COLOR is set */
};

/* Both return 0 or -ENOMEM. */
int ma_render_text(const struct ma_model *model, struct ma_stacks *stacks,
                   const struct ma_render_options *options, FILE *out);
int ma_render_json(const struct ma_model *model, struct ma_stacks *stacks,
                   const struct ma_render_options *options, FILE *out);

#endif
