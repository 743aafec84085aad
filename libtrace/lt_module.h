/* SPDX-License-Identifier: MIT
 *
 * The modules (mapped ELF objects) of the process, by generation, and where in
 * them a program counter lies. Modules present at the start are recorded with
 * the header; later ones when a program counter falls in none.
 */
#ifndef LT_MODULE_H
#define LT_MODULE_H

#include <stdint.h>

#include "lt_trace.h"

struct lt_module_place {
    uint32_t module; /* 0: in none */
    uint64_t offset; /* pc less the module's load bias */
};

/* The module of pc and the offset in it; writes a MODULE record first if the
 * module is new. For a return address (exact false) the call before it decides. */
struct lt_module_place lt_module_place(struct lt_context *context, uintptr_t pc, bool exact);
/* Record all loaded modules. Calls the loader: not from an event. */
void lt_module_record_all(struct lt_context *context);
/* After a dlopen, where libc has no _dl_find_object: the same for what is new. Not
 * inside another hook: it takes the loader's lock. */
void lt_module_record_loaded(struct lt_context *context);
/* After a dlclose, outside any hook: note what is gone. */
void lt_module_check_unloaded(struct lt_context *context);
/* Before a dlclose and after what is noted of it, where another thread may load
 * something in between: true if the second is to be called. Neither inside a hook. */
bool lt_module_closing(void);
void lt_module_closed(void);
/* Another one whenever a module is found to be gone, and while a dlclose is under way. */
uint64_t lt_module_generation(void);
uint32_t lt_module_count(void); /* ids given so far, plus one */
void lt_module_after_fork(void);

#endif
