/* SPDX-License-Identifier: MIT
 *
 * /proc/self/maps: where the mapping lies that holds an address, and which file
 * it is of. By system calls and without memory, so in any context.
 */
#ifndef LT_MAPS_H
#define LT_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The mapping that holds `inside`, from start to end; false if there is none, or it
 * cannot be found out. path, unless it is NULL, gets room bytes at most: the file's
 * name, or "". */
struct lt_mapping {
    uintptr_t start, end;
};
bool lt_maps_find(uintptr_t inside, struct lt_mapping *found, char *path, size_t room);

/* Call `visit` for every mapping, in the order of addresses, with the name of its file,
 * or "". False if they cannot be read. */
struct lt_maps_buffer {
    char text[4096];
    char path[400];
};
bool lt_maps_each(void (*visit)(const struct lt_mapping *, const char *path, void *data),
                  void *data, struct lt_maps_buffer *buffer);

#endif
