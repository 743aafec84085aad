/* SPDX-License-Identifier: MIT
 *
 * A number for a stack that is the same in every run and every build of a program: made of
 * the functions and modules on its path, as far as main, and of nothing that a build or a
 * run changes. Stacks that differ in lines alone have one number. Reports show it, and
 * --stack takes it.
 */
#ifndef MA_STACK_KEY_H
#define MA_STACK_KEY_H

#include "ma_stacks.h"

#define MA_KEY_DIGITS 12
#define MA_KEY_SIZE (MA_KEY_DIGITS + 1)

/* The number of a stack: the executable counts as such, whatever its name, other modules by
 * their name without folder and version, functions without suffixes of compilers' clones;
 * frames without a name by their offset in the module, so these hold for one build only.
 * Returns 0 or -ENOMEM. */
int ma_stack_key(struct ma_stacks *stacks, uint32_t stack, uint64_t *key);

/* It as text: hexadecimal digits. Returns buffer. */
const char *ma_stack_key_text(uint64_t key, char buffer[MA_KEY_SIZE]);

/* Whether the text, of four digits or more, can be one's beginning. */
bool ma_stack_key_is_valid(const char *text);

/* The length of a function's name as its source has it, without the suffixes of compilers'
 * clones. */
size_t ma_key_source_length(const char *function);

/* The length of a module's name without its version. */
size_t ma_key_module_length(const char *name);

/* The number of a stack's frames that are not the same in every program: those up to main. */
size_t ma_key_depth(const struct ma_frame *frames, size_t n);

#endif
