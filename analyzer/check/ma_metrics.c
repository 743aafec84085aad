/* SPDX-License-Identifier: MIT
 *
 * The table of metrics, and where they are read from; see ma_metrics.h.
 */
#include "ma_metrics.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yajl/yajl_tree.h>

#include "ma_leaks.h"
#include "ma_report.h"

#define REPORT_MAX ((off_t)1 << 30)

const struct ma_metric ma_metric_table[MA_METRICS] = {
    {"leaked_bytes", NULL, MA_BYTES, NULL},
    {"leaked_blocks", NULL, MA_COUNT, NULL},
    {"peak_bytes", NULL, MA_BYTES, NULL},
    {"peak_blocks", NULL, MA_COUNT, NULL},
    {"allocated_bytes", NULL, MA_BYTES, NULL},
    {"allocations", NULL, MA_COUNT, NULL},
    {"temporary", NULL, MA_COUNT, NULL},
    {"frees", NULL, MA_COUNT, NULL},
    {"freed_bytes", NULL, MA_BYTES, NULL},
    {"reallocations", NULL, MA_COUNT, NULL},
    {"failed_calls", NULL, MA_COUNT, NULL},
    {"usable_bytes", NULL, MA_BYTES, NULL},
    {"duration_ns", "duration", MA_NANOSECONDS, NULL},
    {"threads", NULL, MA_COUNT, NULL},
    {"stacks", NULL, MA_COUNT, NULL},
    {"events", NULL, MA_COUNT, NULL},
    {"wrong_frees", NULL, MA_COUNT, NULL},
    {"growing_bytes", NULL, MA_BYTES, "growing"},
    {"unclear_bytes", NULL, MA_BYTES, "unclear"},
    {"growth", NULL, MA_BYTES, ""},
};

static bool is(const char *name, const char *text, size_t length)
{
    return name && strlen(name) == length && strncmp(name, text, length) == 0;
}

int ma_metric_find(const char *name, size_t length)
{
    for (int i = 0; i < MA_METRICS; i++) {
        if (is(ma_metric_table[i].name, name, length) || is(ma_metric_table[i].alias, name, length))
            return i;
    }
    return -1;
}

const char *ma_metric_names(void)
{
    static char names[384];
    size_t used = 0;
    for (size_t i = 0; i < MA_METRICS && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 ma_metric_table[i].name);
    return names;
}

int ma_metrics_of(struct ma_analysis *analysis, struct ma_metrics *metrics)
{
    struct ma_model model;
    ma_model_init(&model);
    int result = ma_report_summary.build(analysis, &model);
    if (result == 0 && model.failed)
        result = -ENOMEM;
    const struct ma_value *summary = result == 0 ? ma_model_find(&model.root, "summary") : NULL;
    for (size_t i = 0; summary && i < MA_METRICS; i++) {
        const struct ma_metric *metric = &ma_metric_table[i];
        const struct ma_value *value = metric->kind ? NULL : ma_model_find(summary, metric->name);
        metrics->known[i] = value && value->type == MA_NUMBER;
        metrics->value[i] = metrics->known[i] ? value->number : 0;
    }
    ma_model_free(&model);
    return result;
}

void ma_metrics_add_kinds(struct ma_metrics *metrics, const struct ma_analysis *analysis,
                          const struct ma_leaks *leaks)
{
    uint64_t bytes[MA_TRENDS] = {0};
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const struct ma_row *row = &analysis->rows[i];
        if (row->leaked_blocks && !leaks->of[i].suppressed)
            bytes[leaks->of[i].trend.kind] += row->leaked_bytes;
    }
    for (size_t i = 0; i < MA_METRICS; i++) {
        for (int kind = 0; ma_metric_table[i].kind && kind < MA_TRENDS; kind++) {
            if (strcmp(ma_trend_name((enum ma_trend_kind)kind), ma_metric_table[i].kind) != 0)
                continue;
            metrics->value[i] = bytes[kind];
            metrics->known[i] = true;
        }
    }
}

void ma_metrics_add_growth(struct ma_metrics *metrics, const struct ma_analysis *analysis)
{
    int growth = ma_metric_find("growth", 6);
    metrics->known[growth] = ma_report_growth(analysis, &metrics->value[growth]);
}

void ma_metrics_hide(struct ma_metrics *metrics, uint64_t bytes, uint64_t blocks)
{
    uint64_t *leaked_bytes = &metrics->value[ma_metric_find("leaked_bytes", 12)];
    uint64_t *leaked_blocks = &metrics->value[ma_metric_find("leaked_blocks", 13)];
    *leaked_bytes -= bytes < *leaked_bytes ? bytes : *leaked_bytes;
    *leaked_blocks -= blocks < *leaked_blocks ? blocks : *leaked_blocks;
}

/* A descriptor of a regular file, or a negative errno. Never waits. */
static int open_regular(const char *path, off_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    *size = status.st_size;
    return fd;
}

bool ma_metrics_in_report(const char *path)
{
    char head[64];
    off_t size;
    int fd = open_regular(path, &size);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    ssize_t at = 0;
    while (at < n && isspace((unsigned char)head[at]))
        at++;
    return at < n && head[at] == '{';
}

static char *read_whole(int fd, size_t size)
{
    char *text = malloc(size + 1);
    size_t used = 0;
    if (!text)
        return NULL;
    while (used < size) {
        ssize_t n = read(fd, text + used, size - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    text[used] = '\0';
    return text;
}

/* What a report left out of its leaks: bytes and blocks of a member of it. */
static void hide_member(yajl_val tree, const char *member, struct ma_metrics *metrics)
{
    yajl_val bytes = yajl_tree_get(tree, (const char *[]){member, "bytes", NULL}, yajl_t_number);
    yajl_val blocks = yajl_tree_get(tree, (const char *[]){member, "blocks", NULL}, yajl_t_number);
    ma_metrics_hide(metrics, bytes ? strtoull(YAJL_GET_NUMBER(bytes), NULL, 10) : 0,
                    blocks ? strtoull(YAJL_GET_NUMBER(blocks), NULL, 10) : 0);
}

static int take_metrics(yajl_val tree, const char *path, struct ma_metrics *metrics,
                        struct ma_error *error)
{
    yajl_val schema = yajl_tree_get(tree, (const char *[]){"schema", NULL}, yajl_t_string);
    yajl_val summary = yajl_tree_get(tree, (const char *[]){"summary", NULL}, yajl_t_object);
    const char *name = schema ? YAJL_GET_STRING(schema) : NULL;
    if (!name || strncmp(name, "mlog-report/1", 13) != 0 || !summary)
        return ma_fail(error, -EINVAL,
                       "%s: is JSON, but no report of mlog-analyze --json (\"schema\": "
                       "\"mlog-report/1\" and \"summary\" are expected)",
                       path);
    yajl_val complete =
        yajl_tree_get(tree, (const char *[]){"audit", "complete", NULL}, yajl_t_any);
    yajl_val lost =
        yajl_tree_get(tree, (const char *[]){"audit", "lost_events", NULL}, yajl_t_number);
    yajl_val bad =
        yajl_tree_get(tree, (const char *[]){"audit", "bad_chunks", NULL}, yajl_t_number);
    yajl_val changed =
        yajl_tree_get(tree, (const char *[]){"audit", "changed_chunks", NULL}, yajl_t_number);
    yajl_val cut =
        yajl_tree_get(tree, (const char *[]){"audit", "truncated_at", NULL}, yajl_t_number);
    if (complete && !YAJL_IS_TRUE(complete) &&
        ((lost && YAJL_GET_INTEGER(lost) != 0) || (bad && YAJL_GET_INTEGER(bad) != 0) ||
         (changed && YAJL_GET_INTEGER(changed) != 0) || cut))
        return ma_fail(error, -EILSEQ,
                       "%s: is the report of a trace that is damaged or has losses: make a "
                       "baseline of a whole one",
                       path);
    metrics->filtered = yajl_tree_get(tree, (const char *[]){"filter", NULL}, yajl_t_object);
    for (size_t i = 0; i < MA_METRICS; i++) {
        const struct ma_metric *metric = &ma_metric_table[i];
        yajl_val value =
            metric->kind
                ? yajl_tree_get(tree, (const char *[]){"verdict", "bytes", metric->kind, NULL},
                                yajl_t_number)
                : yajl_tree_get(summary, (const char *[]){metric->name, NULL}, yajl_t_number);
        const char *digits = value ? YAJL_GET_NUMBER(value) : NULL;
        char *end = NULL;
        errno = 0;
        metrics->value[i] = digits ? strtoull(digits, &end, 10) : 0;
        metrics->known[i] = digits && digits[0] != '-' && end && !*end && !errno;
    }
    hide_member(tree, "suppressions", metrics);
    hide_member(tree, "runtime", metrics);
    return 0;
}

int ma_metrics_read(const char *path, struct ma_metrics *metrics, struct ma_error *error)
{
    off_t size = 0;
    char why[256] = "";
    int fd = open_regular(path, &size);
    if (fd < 0)
        return ma_fail(error, fd, "%s: cannot read: %s", path, strerror(-fd));
    char *text = size <= REPORT_MAX ? read_whole(fd, (size_t)size) : NULL;
    close(fd);
    if (!text)
        return size > REPORT_MAX ? ma_fail(error, -EFBIG, "%s: is larger than 1 GiB", path)
                                 : ma_fail_memory(error);
    yajl_val tree = yajl_tree_parse(text, why, sizeof why);
    free(text);
    if (!tree) {
        for (char *c = why; *c; c++)
            *c = (unsigned char)*c < ' ' || (unsigned char)*c > '~' ? ' ' : *c;
        return ma_fail(error, -EINVAL, "%s: is no whole JSON report: %.160s", path, why);
    }
    int result = take_metrics(tree, path, metrics, error);
    yajl_tree_free(tree);
    return result;
}
