/* SPDX-License-Identifier: MIT
 *
 * The two halves of the export for the Firefox Profiler: ma_export_firefox.c gathers during
 * the pass, ma_firefox_json.c writes.
 */
#ifndef MA_EXPORT_FIREFOX_H
#define MA_EXPORT_FIREFOX_H

#include <stdio.h>

#include "ma_analysis.h"

#define MA_FIREFOX_EVENTS ((size_t)200000) /* at most: a browser reads them all */

struct ma_firefox_event { /* an end of a block */
    uint64_t ns, address, size, chance;
    uint32_t process, thread, stack; /* stack: id in ma_stacks */
    bool freed;
};

struct ma_firefox_mark {
    char *name;
    uint64_t ns, kind;
    uint32_t process;
};

struct ma_firefox_point {
    uint64_t ns;
    int64_t bytes;
    uint64_t calls;
};

struct ma_firefox_process {
    struct ma_firefox_point *points; /* NULL: nothing was told of it */
    size_t n;
    uint64_t width, calls;
    int64_t bytes;
};

struct ma_firefox {
    struct ma_observer observer;
    struct ma_analysis *analysis;
    struct ma_firefox_event *events;
    size_t n, capacity;
    uint64_t seen, step; /* step: bytes that a smaller block stands for; 0: none does */
    struct ma_firefox_mark *marks;
    size_t n_marks, mark_capacity;
    struct ma_firefox_process *processes; /* by process index */
    size_t n_processes;
    struct ma_map stack_of; /* process and site to a stack */
};

/* Write the profile as JSON. Returns 0 or -ENOMEM. */
int ma_firefox_write(struct ma_firefox *to, FILE *out);

#endif
