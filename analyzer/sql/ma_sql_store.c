/* SPDX-License-Identifier: MIT
 *
 * Writing a database; see ma_sql_store.h.
 */
#include "ma_sql_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Pages of the disk's size, of which few are kept: rows are appended. */
#define FRESH                                                                                      \
    "PRAGMA page_size = 4096; PRAGMA cache_size = -16000; PRAGMA journal_mode = OFF;"              \
    "PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"

static int errno_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM: return -ENOMEM;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_TOOBIG: return -EOVERFLOW;
    case SQLITE_CANTOPEN: return -EACCES;
    default: return -EIO;
    }
}

void ma_sql_fail(struct ma_sql_store *store, int code)
{
    if (store->failed)
        return;
    store->failed = errno_of(code);
    const int system = store->db ? sqlite3_system_errno(store->db) : 0;
    snprintf(store->problem, sizeof store->problem, "%s%s%s",
             store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code), system ? ": " : "",
             system ? strerror(system) : "");
}

void ma_sql_store_open(struct ma_sql_store *store, const char *path)
{
    *store = (struct ma_sql_store){0};
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* no lock for each allocation of SQLite's */
    const int code = sqlite3_open_v2(
        path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        ma_sql_fail(store, code);
    ma_sql_do(store, FRESH);
}

void ma_sql_store_close(struct ma_sql_store *store)
{
    const int code = store->db ? sqlite3_close(store->db) : SQLITE_OK;
    store->db = NULL;
    if (code != SQLITE_OK)
        ma_sql_fail(store, code);
}

void ma_sql_do(struct ma_sql_store *store, const char *statements)
{
    if (store->failed)
        return;
    const int code = sqlite3_exec(store->db, statements, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        ma_sql_fail(store, code);
}

void ma_sql_prepare(struct ma_sql_store *store, struct ma_sql_insert *insert, const char *sql)
{
    *insert = (struct ma_sql_insert){.store = store};
    if (store->failed)
        return;
    const int code =
        sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &insert->statement, NULL);
    if (code != SQLITE_OK)
        ma_sql_fail(store, code);
}

void ma_sql_finish(struct ma_sql_insert *insert)
{
    sqlite3_finalize(insert->statement);
    *insert = (struct ma_sql_insert){0};
}

void ma_sql_real(struct ma_sql_insert *insert, double value)
{
    sqlite3_bind_double(insert->statement, ++insert->at, value);
}

void ma_sql_bytes(struct ma_sql_insert *insert, const char *text, size_t size)
{
    const int code = sqlite3_bind_text64(insert->statement, ++insert->at, text, size, SQLITE_STATIC,
                                         SQLITE_UTF8);
    if (code != SQLITE_OK && insert->statement)
        ma_sql_fail(insert->store, code);
}

void ma_sql_text(struct ma_sql_insert *insert, const char *text)
{
    ma_sql_bytes(insert, text, text ? strlen(text) : 0);
}

void ma_sql_store_row(struct ma_sql_insert *insert)
{
    insert->at = 0;
    if (insert->store->failed)
        return;
    const int code = sqlite3_step(insert->statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        ma_sql_fail(insert->store, code);
    sqlite3_reset(insert->statement);
}

int64_t ma_sql_ask(struct ma_sql_insert *insert)
{
    int64_t answer = -1;
    insert->at = 0;
    if (insert->store->failed)
        return answer;
    const int code = sqlite3_step(insert->statement);
    if (code == SQLITE_ROW)
        answer = sqlite3_column_int64(insert->statement, 0);
    else if (code != SQLITE_DONE)
        ma_sql_fail(insert->store, code);
    sqlite3_reset(insert->statement);
    return answer;
}
