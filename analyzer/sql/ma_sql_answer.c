/* SPDX-License-Identifier: MIT
 *
 * Answers; see ma_sql_answer.h. A table's columns are as wide as its first rows want them;
 * those are all that is kept of an answer.
 */
#include "ma_sql_answer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ma_sql.h"
#include "ma_text.h"

#define ROWS_KEPT 500
#define NARROWEST 8 /* columns of a text that others leave */

struct cell {
    char *text; /* NULL: NULL */
    bool number;
};

struct column {
    size_t width;
    bool text; /* some value is one */
};

struct table {
    const struct ma_sql_asking *asking;
    sqlite3_stmt *statement;
    int n;
    struct column *columns;
    struct cell *cells; /* of the rows kept, one after the other */
    size_t n_rows;
};

static bool is_number(int type)
{
    return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

/* The value as text, a copy without NULs: to free. NULL: memory ran out. */
static char *copy_value(sqlite3_stmt *statement, int i)
{
    const int type = sqlite3_column_type(statement, i);
    if (type == SQLITE_BLOB) {
        const unsigned char *bytes = sqlite3_column_blob(statement, i);
        const int n = sqlite3_column_bytes(statement, i);
        char *text = malloc(2 * (size_t)n + 4), *at = text;
        if (!text)
            return NULL;
        at += sprintf(at, "x'");
        for (int k = 0; k < n; k++)
            at += sprintf(at, "%02x", bytes[k]);
        sprintf(at, "'");
        return text;
    }
    const char *value = (const char *)sqlite3_column_text(statement, i);
    const size_t size = (size_t)sqlite3_column_bytes(statement, i);
    char *text = value || !size ? malloc(3 * size + 1) : NULL;
    size_t n = 0;
    for (size_t k = 0; text && k < size; k++) {
        if (value[k])
            text[n++] = value[k];
        else
            n += (size_t)sprintf(text + n, "\xef\xbf\xbd");
    }
    if (text)
        text[n] = '\0';
    return text;
}

static void print_cell(const struct table *table, int i, const struct cell *cell)
{
    FILE *out = table->asking->out;
    const struct column *column = &table->columns[i];
    const char *text = cell->text ? cell->text : "-";
    const size_t wanted = ma_text_columns(text);
    const size_t most = table->asking->columns == SIZE_MAX ? SIZE_MAX : column->width;
    const size_t pad = wanted < column->width ? column->width - wanted : 0;
    const bool last = i + 1 == table->n;
    if (!column->text)
        fprintf(out, "%*s", (int)pad, "");
    ma_write_text(out, text, most);
    if (column->text && !last)
        fprintf(out, "%*s", (int)pad, "");
    fputs(last ? "\n" : "  ", out);
}

/* Make the widest texts narrower until the table fits. */
static void fit(struct table *table)
{
    size_t all = 2 * (size_t)(table->n - 1);
    for (int i = 0; i < table->n; i++)
        all += table->columns[i].width;
    while (all > table->asking->columns) {
        struct column *widest = NULL;
        size_t next = NARROWEST;
        for (int i = 0; i < table->n; i++) {
            struct column *column = &table->columns[i];
            if (!column->text || column->width <= NARROWEST)
                continue;
            if (!widest || column->width > widest->width) {
                next = widest && widest->width > next ? widest->width : next;
                widest = column;
            } else if (column->width > next) {
                next = column->width;
            }
        }
        if (!widest)
            return;
        const size_t over = all - table->asking->columns;
        size_t less = widest->width > next ? widest->width - next : 1;
        less = less < over ? less : over;
        widest->width -= less;
        all -= less;
    }
}

static void print_kept(struct table *table)
{
    FILE *out = table->asking->out;
    for (int i = 0; i < table->n; i++) {
        struct column *column = &table->columns[i];
        const size_t name = ma_text_columns(sqlite3_column_name(table->statement, i));
        column->width = name > column->width ? name : column->width;
    }
    fit(table);
    for (int i = 0; i < table->n; i++)
        print_cell(table, i,
                   &(struct cell){.text = (char *)sqlite3_column_name(table->statement, i)});
    for (int i = 0; i < table->n; i++) {
        for (size_t k = 0; k < table->columns[i].width; k++)
            putc('-', out);
        fputs(i + 1 == table->n ? "\n" : "  ", out);
    }
    for (size_t row = 0; row < table->n_rows; row++)
        for (int i = 0; i < table->n; i++)
            print_cell(table, i, &table->cells[row * (size_t)table->n + (size_t)i]);
}

static int take_row(struct table *table)
{
    struct cell *row =
        &table->cells[(table->n_rows < ROWS_KEPT ? table->n_rows : ROWS_KEPT) * (size_t)table->n];
    for (int i = 0; i < table->n; i++) {
        const int type = sqlite3_column_type(table->statement, i);
        row[i] = (struct cell){.number = is_number(type)};
        if (type == SQLITE_NULL)
            continue;
        if (!(row[i].text = copy_value(table->statement, i)))
            return -ENOMEM;
    }
    return 0;
}

static void drop_row(const struct table *table, size_t row)
{
    for (int i = 0; i < table->n; i++) {
        struct cell *cell = &table->cells[row * (size_t)table->n + (size_t)i];
        free(cell->text);
        cell->text = NULL;
    }
}

static void measure_row(struct table *table)
{
    const struct cell *row = &table->cells[table->n_rows * (size_t)table->n];
    for (int i = 0; i < table->n; i++) {
        struct column *column = &table->columns[i];
        const size_t width = row[i].text ? ma_text_columns(row[i].text) : 1;
        column->width = width > column->width ? width : column->width;
        column->text |= row[i].text && !row[i].number;
    }
}

/* Returns a code of SQLite's. */
static int print_table(const struct ma_sql_asking *asking, sqlite3_stmt *statement)
{
    const int n = sqlite3_column_count(statement);
    struct table table = {.asking = asking, .statement = statement, .n = n};
    int code = SQLITE_NOMEM;
    table.columns = calloc((size_t)n, sizeof *table.columns);
    table.cells = calloc((ROWS_KEPT + 1) * (size_t)n, sizeof *table.cells);
    if (!table.columns || !table.cells)
        goto out;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (take_row(&table) < 0) {
            code = SQLITE_NOMEM;
            goto out;
        }
        if (table.n_rows < ROWS_KEPT) {
            measure_row(&table);
            table.n_rows++;
            continue;
        }
        if (table.n_rows == ROWS_KEPT)
            print_kept(&table);
        table.n_rows = ROWS_KEPT + 1;
        for (int i = 0; i < n; i++)
            print_cell(&table, i, &table.cells[ROWS_KEPT * (size_t)n + (size_t)i]);
        drop_row(&table, ROWS_KEPT);
    }
    if (code == SQLITE_DONE && table.n_rows <= ROWS_KEPT)
        print_kept(&table);
out:
    for (size_t row = 0; table.cells && row <= ROWS_KEPT; row++)
        drop_row(&table, row);
    free(table.cells);
    free(table.columns);
    return code;
}

/* As the CSV of --export is: quoted, and nothing that a spreadsheet takes for a formula. */
static void print_csv_text(FILE *out, const char *text)
{
    const char *first = text + strspn(text, " ");
    putc('"', out);
    if (*first && strchr("=+-@|%", *first))
        putc('\'', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"')
            putc('"', out);
        putc(*c, out);
    }
    putc('"', out);
}

static int print_csv(const struct ma_sql_asking *asking, sqlite3_stmt *statement)
{
    const int n = sqlite3_column_count(statement);
    int code;
    for (int i = 0; i < n; i++) {
        print_csv_text(asking->out, sqlite3_column_name(statement, i));
        fputs(i + 1 == n ? "\r\n" : ",", asking->out);
    }
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < n; i++) {
            const int type = sqlite3_column_type(statement, i);
            char *text = type == SQLITE_NULL ? NULL : copy_value(statement, i);
            if (!text && type != SQLITE_NULL)
                return SQLITE_NOMEM;
            if (text && is_number(type))
                fputs(text, asking->out);
            else if (text)
                print_csv_text(asking->out, text);
            fputs(i + 1 == n ? "\r\n" : ",", asking->out);
            free(text);
        }
    }
    return code;
}

static int print_json_value(FILE *out, sqlite3_stmt *statement, int i)
{
    const int type = sqlite3_column_type(statement, i);
    if (type == SQLITE_INTEGER) {
        fprintf(out, "%" PRId64, (int64_t)sqlite3_column_int64(statement, i));
    } else if (type == SQLITE_FLOAT && isfinite(sqlite3_column_double(statement, i))) {
        fprintf(out, "%.17g", sqlite3_column_double(statement, i));
    } else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
        char *text = copy_value(statement, i);
        if (!text)
            return SQLITE_NOMEM;
        ma_write_json_string(out, text);
        free(text);
    } else {
        fputs("null", out);
    }
    return SQLITE_OK;
}

static int print_json(const struct ma_sql_asking *asking, sqlite3_stmt *statement)
{
    FILE *out = asking->out;
    const int n = sqlite3_column_count(statement);
    bool first = true;
    int code;
    putc('[', out);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        fputs(first ? "\n{" : ",\n{", out);
        first = false;
        for (int i = 0; i < n; i++) {
            ma_write_json_string(out, sqlite3_column_name(statement, i));
            fputs(": ", out);
            if (print_json_value(out, statement, i) != SQLITE_OK)
                return SQLITE_NOMEM;
            fputs(i + 1 < n ? ", " : "}", out);
        }
    }
    fputs("\n]\n", out);
    return code;
}

/* Pragmas that only tell something, if they are given no value. */
static bool tells(const char *pragma, const char *value)
{
    static const char *const plain[] = {"user_version", "application_id", "database_list",
                                        "table_list",   "page_count",     "page_size",
                                        "quick_check",  "integrity_check"};
    static const char *const of_one[] = {"table_info", "table_xinfo", "index_list", "index_info"};
    for (size_t i = 0; !value && i < sizeof plain / sizeof *plain; i++)
        if (sqlite3_stricmp(pragma, plain[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof of_one / sizeof *of_one; i++)
        if (sqlite3_stricmp(pragma, of_one[i]) == 0)
            return true;
    return false;
}

static int authorize(void *context, int action, const char *one, const char *two,
                     const char *database, const char *within)
{
    const struct ma_sql_asking *asking = context;
    (void)database;
    (void)within;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE: return SQLITE_OK;
    case SQLITE_FUNCTION:
        return two && sqlite3_stricmp(two, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_ATTACH:
    case SQLITE_DETACH: return asking->file ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA: return one && tells(one, two) ? SQLITE_OK : SQLITE_DENY;
    default: return SQLITE_DENY;
    }
}

static int refuse(const struct ma_sql_asking *asking, const char *question, struct ma_error *error)
{
    const int code = sqlite3_errcode(asking->db), at = sqlite3_error_offset(asking->db);
    if ((code & 0xff) == SQLITE_NOMEM)
        return ma_fail_memory(error);
    if ((code & 0xff) == SQLITE_AUTH || strcmp(sqlite3_errmsg(asking->db), "not authorized") == 0)
        return ma_fail(error, -ENOMSG,
                       "only questions are answered, nothing is changed: SELECT, EXPLAIN, %sand "
                       "pragmas that tell something",
                       asking->file ? "ATTACH " : "");
    char near[64] = "";
    if (at >= 0 && (size_t)at < strlen(question))
        snprintf(near, sizeof near, ", at \"%.40s\"", question + at);
    return ma_fail(error, -ENOMSG, "%s%s; mlog sql --schema lists what there is",
                   sqlite3_errmsg(asking->db), near);
}

int ma_sql_answer(const struct ma_sql_asking *asking, const char *questions, struct ma_error *error)
{
    int result = 0, n = 0, all = 0;
    sqlite3_set_authorizer(asking->db, authorize, (void *)(uintptr_t)asking);
    while (result == 0 && *questions && !(asking->out && ferror(asking->out))) {
        sqlite3_stmt *statement = NULL;
        const char *rest;
        if (sqlite3_prepare_v2(asking->db, questions, -1, &statement, &rest) != SQLITE_OK) {
            result = refuse(asking, questions, error);
            break;
        }
        questions = rest;
        if (!statement)
            continue; /* blanks or a comment */
        all++;
        if (!asking->out) {
            sqlite3_finalize(statement);
            continue;
        }
        if (sqlite3_column_count(statement) && n++ && asking->form != MA_SQL_JSON)
            fputs(asking->form == MA_SQL_CSV ? "\r\n" : "\n", asking->out);
        const int code = !sqlite3_column_count(statement) ? sqlite3_step(statement)
                         : asking->form == MA_SQL_CSV     ? print_csv(asking, statement)
                         : asking->form == MA_SQL_JSON    ? print_json(asking, statement)
                                                          : print_table(asking, statement);
        if (code == SQLITE_NOMEM)
            result = ma_fail_memory(error);
        else if (code != SQLITE_DONE)
            result = ma_fail(error, -EIO, "%s", sqlite3_errmsg(asking->db));
        sqlite3_finalize(statement);
    }
    sqlite3_set_authorizer(asking->db, NULL, NULL);
    if (result == 0 && !all)
        result = ma_fail(error, -ENOMSG, "expected a question, as in: SELECT * FROM leaks");
    return result;
}

static int user_version(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

sqlite3 *ma_sql_open(const char *file, struct ma_error *error)
{
    sqlite3 *db = NULL;
    bool ours;
    ma_sql_is_database(file, &ours);
    if (!ours) {
        ma_fail(error, -EINVAL, "%s: is a database of another program's; sqlite3 opens it", file);
        return NULL;
    }
    int version = -1;
    if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        version = user_version(db);
    if (version < 0)
        ma_fail(error, -EIO, "%s: %s", file, db ? sqlite3_errmsg(db) : "memory ran out");
    else if (version > MA_SQL_VERSION)
        ma_fail(error, -EINVAL,
                "%s: has schema %d, of a later mlog; this one knows schema %d: use sqlite3, or a "
                "later mlog",
                file, version, MA_SQL_VERSION);
    if (version >= 0 && version <= MA_SQL_VERSION) {
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        return db;
    }
    sqlite3_close(db);
    return NULL;
}
