/* SPDX-License-Identifier: MIT
 *
 * Modules whose malloc is not the traced one: opened with RTLD_DEEPBIND or by
 * dlmopen, or with a malloc of their own. A BYPASS record names each. Found by the
 * words that the loader fills with the addresses of malloc and its family, in all
 * that /proc/self/maps has, so without the loader and whatever its namespaces.
 */
#ifndef LT_BYPASS_H
#define LT_BYPASS_H

#include "lt_trace.h"

enum lt_opened { LT_OPENED, LT_OPENED_DEEPBIND, LT_OPENED_NAMESPACE };

/* Something is opened, or is going to be: look at what is new before long. From any
 * context. */
void lt_bypass_note_opened(enum lt_opened how);

/* At the start, once for each object, which is mapped and will stay: look at it.
 * `start` is where its header lies. */
void lt_bypass_look_at(struct lt_context *context, uintptr_t start, const char *path);

/* Look at what was opened since; whether the words that were still empty are filled.
 * Inside an event or not. */
enum lt_bypass_when {
    LT_BYPASS_TICK,  /* what is due */
    LT_BYPASS_FORK,  /* what was opened */
    LT_BYPASS_CLOSE, /* what was opened in a way that asks for it */
    LT_BYPASS_END    /* all */
};
void lt_bypass_check(struct lt_context *context, enum lt_bypass_when when);

/* After a dlclose: others may come where modules were. */
void lt_bypass_note_closed(void);
void lt_bypass_after_fork(void);

#endif
