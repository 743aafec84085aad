/* SPDX-License-Identifier: MIT
 *
 * Flame graphs: stacks with a value are merged into a tree of frames, which is
 * written as folded stacks (one line a stack) or as one self-contained SVG
 * that zooms and searches in a browser. It knows frames by name only: reports
 * decide what a frame is called and what the value measures.
 *
 * Not thread-safe.
 */
#ifndef MA_FLAME_H
#define MA_FLAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The unit of the values; the SVG words them accordingly. */
enum ma_flame_unit {
    MA_FLAME_BYTES,
    MA_FLAME_BLOCKS,
    MA_FLAME_CALLS,
};

struct ma_flame;

/* The look of the SVG. All zero, or NULL in its place, is a flame graph. */
struct ma_flame_look {
    const char *subtitle; /* a second line below the title, or NULL */
    bool icicle;          /* the root on top, growing down */
    const char *note;     /* what the graph does not show, for its foot, or NULL */
    bool differential;    /* colours tell growth against the old table, see below */
};

/* Copies the title, which may be NULL. NULL if memory is short. */
struct ma_flame *ma_flame_begin(const char *title, enum ma_flame_unit unit);

/*
 * Stacks come frame by frame, so that frames which they have in common are looked up
 * once: the number of a name, which is copied, may hold any bytes and may be NULL
 * (unknown); the frame with this name that `parent` calls, 0 being the root, which has
 * no name. Frames with the same path from the root are one. Return 0 or -ENOMEM;
 * frames without a value count for nothing. ma_flame_node returns 1 where there would
 * be more frames than ma_flame_bound allows: *node then stands for all that `parent`
 * has besides, and nothing is to be put above it.
 */
int ma_flame_name(struct ma_flame *flame, const char *raw, uint32_t *name);
int ma_flame_node(struct ma_flame *flame, uint32_t parent, uint32_t name, uint32_t *node);

void ma_flame_bound(struct ma_flame *flame, size_t most);

/* Tells whose the frame is, and where it is: the number of its file's name and a line,
 * 0 if unknown. Of several places the first is shown. */
#define MA_FLAME_NO_FILE UINT32_MAX
void ma_flame_tell(struct ma_flame *flame, uint32_t node, bool own, uint32_t file, unsigned line);

/* Adds `value` to the stack that ends at this frame. Sums stop at UINT64_MAX instead of
 * wrapping. */
void ma_flame_count(struct ma_flame *flame, uint32_t node, uint64_t value);

/*
 * The same for a second table, the old one, that this graph is compared with: count
 * all stacks of the new trace by ma_flame_count, those of the old one by this.
 * Frames are as wide as in the new table; with look->differential what grew is red,
 * what shrank blue, the more the stronger, and both values are told. Stacks that
 * only the old table has are counted in the picture, and in folded form have a line
 * of their own.
 */
void ma_flame_count_old(struct ma_flame *flame, uint32_t node, uint64_t value);

/* The sum of all values added, and of those of the old table. */
uint64_t ma_flame_total(struct ma_flame *flame);
uint64_t ma_flame_total_old(struct ma_flame *flame);

/*
 * One line a stack: names root first, joined by ';', a space, the value.
 * Equal stacks are one line; lines are sorted by the bytes of the names, frame
 * by frame, so the same stacks give the same file in whatever order they came.
 * In a name ';' becomes ':', control characters become spaces, invalid UTF-8
 * becomes U+FFFD. Returns 0 or a negative errno.
 */
int ma_flame_write_folded(struct ma_flame *flame, FILE *out);

/* The same with two values a line, of the old and of the new table, as
 * flamegraph.pl takes them: also lines of which one is 0. */
int ma_flame_write_folded_diff(struct ma_flame *flame, FILE *out);

/*
 * A whole SVG document, with style and script inside and nothing fetched.
 * Frames too thin to see are left out and counted in the picture. An empty
 * graph is a valid picture that says so. Returns 0 or a negative errno.
 */
int ma_flame_write_svg(struct ma_flame *flame, const struct ma_flame_look *look, FILE *out);

/* NULL is allowed. */
void ma_flame_free(struct ma_flame *flame);

#endif
