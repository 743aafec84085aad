/* SPDX-License-Identifier: MIT
 *
 * Where the file of a module lay that the loader knew by a relative name, or by
 * one that means another file to whoever reads it later (/proc/self/fd/3).
 */
#ifndef MA_PLACE_H
#define MA_PLACE_H

#include <stdbool.h>

struct ma_process;
struct ma_module;

/* True if a name tells no place on a disk: it lies below /proc or /dev, shared memory apart,
 * or leads there by "..". Nothing of that name is to be opened. */
bool ma_place_is_special(const char *path);

/*
 * The absolute path of the module's file, to free: of the mapping at its address in the
 * recorded /proc/self/maps, else its name below the recorded working directory. NULL if its
 * path serves as it is, the trace does not tell, or memory is short. `process` is the one
 * that defines the module; its texts were read before.
 */
char *ma_place_find(struct ma_process *process, const struct ma_module *module);

#endif
