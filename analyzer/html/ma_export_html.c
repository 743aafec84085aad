/* SPDX-License-Identifier: MIT
 *
 * The interactive report: one page for the browser that asks for nothing, with its data
 * (ma_html.h) inside. The page is made at build time (page.py): its policy lets its own
 * script and style run by their hash, and nothing else. What a trace holds gets in as
 * base64 alone, but for one sentence, which is escaped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_export.h"
#include "ma_html.h"
#include "ma_html_page.h"

/* Of a page without data: what is made at build time, and room for the sentence. */
#define OWN_BYTES (sizeof ma_html_head + sizeof ma_html_middle + sizeof ma_html_tail + 8192)

static const char key;

static int begin_html(struct ma_analysis *analysis, FILE *out, void **state)
{
    (void)out;
    (void)state;
    struct ma_spans *spans = ma_analysis_observer_data(analysis, &key);
    if (spans)
        return 0; /* of another page */
    spans = ma_spans_new();
    return ma_analysis_observe(analysis, spans ? &spans->observer : NULL, &key, spans,
                               (void (*)(void *))ma_spans_free);
}

_Static_assert(OWN_BYTES < 224 << 10, "a page of the least size has room for data");

static void write_escaped(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (strchr("<>&\"'", *text) || (unsigned char)*text < ' ')
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
}

/* Pack what fits into a page. Returns 0 or -ENOMEM. */
static int pack(struct ma_analysis *analysis, const struct ma_spans *spans,
                struct ma_html_bytes *packed)
{
    struct ma_html_stacks stacks;
    struct ma_html_room room = {.stacks = SIZE_MAX, .threads = true};
    struct ma_html_bytes bytes = {0};
    const size_t room_of_data = (analysis->request->page_limit - OWN_BYTES) / 4 * 3;
    int result = ma_html_stacks_order(analysis, spans, &stacks);
    while (result == 0) {
        result = ma_html_pack(analysis, spans, &stacks, &room, &bytes);
        if (result == 0)
            result = ma_html_deflate(&bytes, packed);
        if (result < 0 || packed->n <= room_of_data || (!room.stacks && !room.threads))
            break;
        const size_t had = room.stacks < stacks.n ? room.stacks : stacks.n;
        const double part = 0.93 * (double)room_of_data / (double)packed->n;
        room.stacks = (size_t)((double)had * part);
        if (room.stacks < 100 && room.threads) {
            room.threads = false;
            room.stacks = stacks.n;
        }
    }
    ma_html_stacks_free(&stacks);
    free(bytes.at);
    return result;
}

static int write_html(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    struct ma_spans *spans = ma_analysis_observer_data(analysis, &key);
    struct ma_html_bytes packed = {0};
    char *sentence = ma_html_sentence(analysis);
    int result = sentence ? ma_spans_settle(spans, &analysis->trace) : -ENOMEM;
    ma_spans_sort_cells(spans->cells, spans->n_cells);
    if (result == 0)
        result = pack(analysis, spans, &packed);
    if (result == 0) {
        fwrite(ma_html_head, 1, sizeof ma_html_head, out);
        write_escaped(sentence, out);
        fwrite(ma_html_middle, 1, sizeof ma_html_middle, out);
        ma_html_write_base64(&packed, out);
        fwrite(ma_html_tail, 1, sizeof ma_html_tail, out);
    }
    free(sentence);
    free(packed.at);
    return result;
}

const struct ma_exporter ma_exporter_html = {
    .name = "html",
    .help = "an interactive page for the browser, as --html",
    .write = write_html,
    .timeline = true,
    .begin = begin_html,
};
