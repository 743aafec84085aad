/* SPDX-License-Identifier: MIT
 *
 * The loader's list of objects, from libc itself: programs have a dl_iterate_phdr of
 * their own, which goes through a list that they took once (Seastar, Chromium), and
 * theirs comes before libc's.
 */
#ifndef LT_OBJECTS_H
#define LT_OBJECTS_H

#include <link.h>

/* As dl_iterate_phdr. Takes the loader's lock: not from an event. */
int lt_objects_each(int (*visit)(struct dl_phdr_info *, size_t, void *), void *data);

#endif
