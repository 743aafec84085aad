/* SPDX-License-Identifier: MIT
 *
 * A database of SQLite's (ma_sql.h) as an export: written to the temporary file of the
 * output, by the name that the kernel has for it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "ma_export.h"
#include "ma_sql.h"

static int begin_sqlite(struct ma_analysis *analysis, FILE *out, void **state)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fileno(out));
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    *state = ma_sql_begin(analysis, n > 0 ? path : link);
    return *state ? 0 : -ENOMEM;
}

static int write_sqlite(struct ma_analysis *analysis, void *state, FILE *out)
{
    char content[MA_SQL_SENTENCE], left[MA_SQL_SENTENCE];
    (void)analysis;
    (void)out;
    int result = ma_sql_write(state);
    if (result == 0)
        result = ma_sql_close(state);
    ma_sql_tell(state, content, left);
    if (result == 0 && left[0])
        fprintf(stderr, "%s: %s\n", ma_command, left);
    return result;
}

static const char *sqlite_problem(const void *state)
{
    return ma_sql_problem(state);
}

static void end_sqlite(void *state)
{
    ma_sql_free(state);
}

const struct ma_exporter ma_exporter_sqlite = {
    .name = "sqlite",
    .help = "sqlite3, mlog sql: tables and views",
    .binary = true,
    .write = write_sqlite,
    .begin = begin_sqlite,
    .end = end_sqlite,
    .may_replace = ma_sql_may_replace,
    .problem = sqlite_problem,
};
