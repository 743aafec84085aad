/* SPDX-License-Identifier: MIT
 *
 * The words of the interactive report: those of the terminal's verdict and audit, and the
 * JSON object of the summary, made from the reports' own models.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_html.h"
#include "ma_render.h"
#include "ma_render_table.h"
#include "ma_report.h"
#include "ma_text.h"

/* Build the model of --json --summary. The analysis is as before afterwards. */
static int build_model(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_request *request = analysis->request;
    struct ma_request asked = *request;
    struct ma_error error;
    asked.json = true;
    asked.reports = 0;
    asked.n_reports = 0;
    for (size_t i = 0; i < ma_report_count; i++) {
        if (ma_reports[i] != &ma_report_summary)
            continue;
        asked.reports = 1u << i;
        asked.order[asked.n_reports++] = (unsigned char)i;
    }
    ma_model_init(model);
    analysis->request = &asked;
    const int result = ma_report_build(analysis, model, &error);
    analysis->request = request;
    return result < 0 ? -ENOMEM : 0;
}

/* What people read of a container: an array of lines, each [title, text], of a line
 * without title [text]. */
static void write_lines(const struct ma_value *container, FILE *out, bool *first)
{
    char buffer[MA_HUMAN_SIZE];
    if (container->note) {
        fputs(*first ? "[" : ",[", out);
        *first = false;
        ma_write_json_string(out, container->note);
        fputc(']', out);
    }
    for (const struct ma_value *value = container->first; value; value = value->next) {
        const bool is_line = container->layout == MA_LINES;
        if (!value->title && !is_line)
            continue;
        if (value->type == MA_OBJECT || value->type == MA_ARRAY) {
            write_lines(value, out, first);
            continue;
        }
        if (value->type == MA_STACK || value->type == MA_NULL)
            continue;
        fputs(*first ? "[" : ",[", out);
        *first = false;
        if (!is_line && value->title[0]) {
            ma_write_json_string(out, value->title);
            fputc(',', out);
        }
        ma_write_json_string(out, value->type == MA_TEXT ? value->text : ma_human(value, buffer));
        fputc(']', out);
    }
}

static void write_section(const struct ma_model *model, const char *key, FILE *out)
{
    const struct ma_value *section = ma_model_find(&model->root, key);
    bool first = true;
    fprintf(out, ",\"%s\":[", key);
    if (section)
        write_lines(section, out, &first);
    fputc(']', out);
}

int ma_html_write_words(struct ma_analysis *analysis, FILE *out)
{
    static const struct ma_render_options look = {.frames = SIZE_MAX};
    struct ma_model model;
    int result = build_model(analysis, &model);
    if (result == 0) {
        fputs("{\"report\":", out);
        result = ma_render_json(&model, &analysis->stacks, &look, out);
        write_section(&model, "verdict", out);
        write_section(&model, "audit", out);
        fputc('}', out);
    }
    ma_model_free(&model);
    return result;
}

char *ma_html_sentence(struct ma_analysis *analysis)
{
    struct ma_model model;
    char *text = NULL;
    if (build_model(analysis, &model) == 0) {
        const struct ma_value *verdict = ma_model_find(&model.root, "verdict");
        const struct ma_value *sentence = verdict ? ma_model_find(verdict, "sentence") : NULL;
        text = ma_clean_utf8(sentence ? sentence->text : "");
    }
    ma_model_free(&model);
    return text;
}
