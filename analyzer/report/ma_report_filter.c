/* SPDX-License-Identifier: MIT
 *
 * The filter that the report was made with: one line for people, "filter" in
 * JSON.
 */
#include <errno.h>

#include "ma_report.h"

static void add_number(struct ma_model *model, struct ma_value *object, const char *key, bool given,
                       uint64_t number)
{
    if (given)
        ma_model_number(model, object, key, NULL, MA_PLAIN, number);
    else
        ma_model_null(model, object, key);
}

static void add_patterns(struct ma_model *model, struct ma_value *object, const char *key,
                         const struct ma_patterns *patterns)
{
    struct ma_value *array = ma_model_array(model, object, key, NULL, MA_LINES);
    for (size_t i = 0; i < patterns->n; i++)
        ma_model_text(model, array, NULL, NULL, patterns->all[i].text);
}

int ma_report_add_filter(const struct ma_analysis *analysis, struct ma_model *model,
                         struct ma_value *parent, const char *title)
{
    const struct ma_filter *filter = analysis->filter;
    if (!filter) {
        ma_model_null(model, parent, "filter");
        return 0;
    }
    const struct ma_filter_options *spec = filter->spec;
    char *text = ma_filter_text(filter);
    if (!text)
        return -ENOMEM;
    struct ma_value *object = ma_model_object(model, parent, "filter", title, MA_FIELDS);
    ma_model_text(model, object, "text", title, text);
    free(text);
    add_number(model, object, "from_ns", spec->from.kind != MA_MOMENT_NONE, filter->from);
    add_number(model, object, "to_ns", filter->to != UINT64_MAX, filter->to);
    struct ma_value *array = ma_model_array(model, object, "pids", NULL, MA_LINES);
    for (size_t i = 0; i < spec->n_pids; i++)
        ma_model_number(model, array, NULL, NULL, MA_PLAIN, spec->pids[i]);
    array = ma_model_array(model, object, "threads", NULL, MA_LINES);
    for (size_t i = 0; i < spec->n_threads; i++)
        ma_model_text(model, array, NULL, NULL, spec->threads[i]);
    add_number(model, object, "min_size", spec->min_size != 0, spec->min_size);
    add_number(model, object, "max_size", spec->has_max_size, spec->max_size);
    add_number(model, object, "min_age_ns", spec->min_age != 0, spec->min_age);
    add_patterns(model, object, "function", &spec->function);
    add_patterns(model, object, "module", &spec->module);
    add_patterns(model, object, "exclude", &spec->exclude);
    return 0;
}

static int build_filter(struct ma_analysis *analysis, struct ma_model *model)
{
    return ma_report_add_filter(analysis, model, &model->root, "");
}

const struct ma_report ma_report_filter = {
    .name = "filter",
    .always = true,
    .build = build_filter,
};
