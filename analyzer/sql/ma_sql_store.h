/* SPDX-License-Identifier: MIT
 *
 * A database that is being written: a fresh file, without journal and in one
 * transaction, since whoever writes it throws it away unless it is whole. The first
 * error stays, in words; what is asked for after it does nothing. Every value is bound,
 * none is ever part of a statement.
 */
#ifndef MA_SQL_STORE_H
#define MA_SQL_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ma_sql_store {
    sqlite3 *db;
    int failed;        /* a negative errno, or 0 */
    char problem[320]; /* the end of a sentence, if it failed */
};

/* A statement whose parameters are bound one after the other. */
struct ma_sql_insert {
    struct ma_sql_store *store;
    sqlite3_stmt *statement;
    int at;
};

/* Open; "": a database of its own that lies in memory and temporary files, and goes when it
 * is closed. Close in either case. */
void ma_sql_store_open(struct ma_sql_store *store, const char *path);
/* Close; the first error of what was still to write is kept, too. */
void ma_sql_store_close(struct ma_sql_store *store);

/* Note an error of SQLite's, a result code. */
void ma_sql_fail(struct ma_sql_store *store, int code);

/* Do statements without parameters. */
void ma_sql_do(struct ma_sql_store *store, const char *statements);

/* Prepare a statement for many rows. Finish it in either case. */
void ma_sql_prepare(struct ma_sql_store *store, struct ma_sql_insert *insert, const char *sql);
void ma_sql_finish(struct ma_sql_insert *insert);

static inline void ma_sql_integer(struct ma_sql_insert *insert, int64_t value)
{
    sqlite3_bind_int64(insert->statement, ++insert->at, value);
}

/* A count or a size: what does not fit is the largest that does. */
static inline void ma_sql_count(struct ma_sql_insert *insert, uint64_t value)
{
    ma_sql_integer(insert, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static inline void ma_sql_null(struct ma_sql_insert *insert)
{
    sqlite3_bind_null(insert->statement, ++insert->at);
}

/* `value` or NULL. */
static inline void ma_sql_count_if(struct ma_sql_insert *insert, bool known, uint64_t value)
{
    if (known)
        ma_sql_count(insert, value);
    else
        ma_sql_null(insert);
}

void ma_sql_real(struct ma_sql_insert *insert, double value);

/* A text, whatever its bytes; NULL is NULL. It must live until the row is stored. */
void ma_sql_text(struct ma_sql_insert *insert, const char *text);
void ma_sql_bytes(struct ma_sql_insert *insert, const char *text, size_t size);

/* Store the row that was bound. */
void ma_sql_store_row(struct ma_sql_insert *insert);

/* Ask for one number with what was bound; -1 if there is none. */
int64_t ma_sql_ask(struct ma_sql_insert *insert);

#endif
