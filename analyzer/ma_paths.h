/* SPDX-License-Identifier: MIT
 *
 * The rows of an analysis as paths of function names, for reports that look
 * from function to function: callers, callees, trees. Inlined functions are
 * on them; a frame without name goes by "module+0xoffset".
 *
 * Memory: 4 bytes for each frame of each distinct stack, and the names.
 */
#ifndef MA_PATHS_H
#define MA_PATHS_H

#include "ma_analysis.h"

enum { MA_COST_LEAKED, MA_COST_PEAK, MA_COST_ALLOCATED, MA_COST_CALLS, MA_COSTS };

struct ma_paths {
    struct ma_analysis *analysis;
    const char **names; /* by number of the name */
    size_t n_names, name_capacity;
    void *tree;         /* of names, by tsearch(3) */
    uint32_t *frames;   /* numbers of names, of all paths, each innermost first */
    size_t n_frames, frame_capacity;
    size_t *starts;     /* of row n in frames; n_rows + 1 of them */
};

/* Read the rows. Release in either case. Returns 0 or -ENOMEM. */
int ma_paths_read(struct ma_paths *paths, struct ma_analysis *analysis);
void ma_paths_release(struct ma_paths *paths);

/* What a row cost. */
static inline uint64_t ma_paths_cost(const struct ma_row *row, unsigned cost)
{
    return cost == MA_COST_LEAKED ? row->leaked_bytes
           : cost == MA_COST_PEAK ? row->peak_bytes
           : cost == MA_COST_CALLS ? row->calls
                                   : row->bytes;
}

#endif
