/* SPDX-License-Identifier: MIT
 *
 * Stack ids: the path hash of an unwound stack to the number of its innermost
 * node in the trace. A path not seen before is defined in the calling
 * context's definitions, outermost first, before its id is given to anyone.
 */
#ifndef LT_STACK_H
#define LT_STACK_H

#include <stdint.h>

#include "lt_trace.h"

/* The id of the stack just taken on the calling thread's own unwinder; 0 if
 * there is none. Called after every stack taken on it: it remembers, frame by
 * frame, the ids of the frames that the next stack may keep. */
uint32_t lt_stack_id_of_thread(struct lt_thread *self);
/* The same for a stack taken on another unwinder, which remembers nothing. */
uint32_t lt_stack_id(struct lt_context *context, const struct lt_unwinder *u);
uint32_t lt_stack_nodes(void); /* ids given so far in this process and before its fork */
bool lt_stack_setup(void);
/* No thread may be inside the library, nor record any more. */
void lt_stack_give_back(void);

#endif
