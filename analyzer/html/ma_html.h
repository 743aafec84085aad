/* SPDX-License-Identifier: MIT
 *
 * What the interactive report is made of: the spans of an analysis as one packed string of
 * bytes, and the words of its reports. REPORT.md has the form of both.
 */
#ifndef MA_HTML_H
#define MA_HTML_H

#include <stdio.h>

#include "ma_analysis.h"
#include "ma_spans.h"

#define MA_HTML_TEXT 4096 /* bytes of a name; longer ones are cut */

/* Bytes that grow. All zero is empty; failed: memory ran out, and some are missing. */
struct ma_html_bytes {
    unsigned char *at;
    size_t n, capacity;
    bool failed;
};

void ma_html_put(struct ma_html_bytes *bytes, const void *from, size_t n);
/* A number of 7 bits a byte, the lowest first; the last byte is below 128. */
void ma_html_put_number(struct ma_html_bytes *bytes, uint64_t number);
/* A difference of either sign: 0, -1, 1, -2 … as 0, 1, 2, 3 … */
void ma_html_put_change(struct ma_html_bytes *bytes, int64_t change);

/* Deflate (zlib's form). Returns 0 or -ENOMEM. */
int ma_html_deflate(const struct ma_html_bytes *from, struct ma_html_bytes *to);
void ma_html_write_base64(const struct ma_html_bytes *from, FILE *out);

/* Write what the page says in words: the object of --json with summary, verdict and audit,
 * and what people read of verdict and audit, as a JSON object. Requires the rows. Returns
 * 0 or -ENOMEM. */
int ma_html_write_words(struct ma_analysis *analysis, FILE *out);

/* The sentence of the verdict, as plain text for a page that does not run: to free; NULL if
 * memory is short. */
char *ma_html_sentence(struct ma_analysis *analysis);

/* The stacks of an analysis in the order in which a page has room for them. */
struct ma_html_stacks {
    uint32_t *row_of;  /* index among analysis->rows, those that matter most first */
    uint32_t *rank_of; /* by id in ma_stacks: rank in row_of, or MA_NONE */
    uint32_t *rank;    /* by row of the spans */
    size_t n, n_ids;
};
/* Returns 0 or -ENOMEM; free in either case. */
int ma_html_stacks_order(struct ma_analysis *analysis, const struct ma_spans *spans,
                         struct ma_html_stacks *stacks);
void ma_html_stacks_free(struct ma_html_stacks *stacks);

/* What a page has room for. */
struct ma_html_room {
    size_t stacks; /* the first so many are kept, and the others one */
    bool threads;  /* each thread by itself */
};

/* Pack all that there is room for. Requires that the spans are sorted. Returns 0 or
 * -ENOMEM. */
int ma_html_pack(struct ma_analysis *analysis, const struct ma_spans *spans,
                 const struct ma_html_stacks *stacks, const struct ma_html_room *room,
                 struct ma_html_bytes *bytes);

#endif
