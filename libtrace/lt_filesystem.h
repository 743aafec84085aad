/* SPDX-License-Identifier: MIT
 *
 * File systems, and which of them keep the promise that a mapping rests on: a
 * page whose space was reserved can be stored to. Asked once a program image.
 */
#ifndef LT_FILESYSTEM_H
#define LT_FILESYSTEM_H

#include <stdbool.h>

/* True if the file system of fd is known to be safe to map; false for all others,
 * and where it cannot be found out. */
bool lt_filesystem_may_map(int fd);

#endif
