/* SPDX-License-Identifier: MIT
 *
 * Questions to a database, and their answers as a table, as CSV or as JSON. A question can
 * change nothing: whatever is not one is refused.
 */
#ifndef MA_SQL_ANSWER_H
#define MA_SQL_ANSWER_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "ma_error.h"

enum ma_sql_form { MA_SQL_TABLE, MA_SQL_CSV, MA_SQL_JSON };

struct ma_sql_asking {
    sqlite3 *db;
    bool file; /* it is one, opened for reading: others may be attached */
    enum ma_sql_form form;
    size_t columns; /* of a terminal, which a table is to fit; SIZE_MAX: none */
    FILE *out;      /* NULL: questions are only looked at */
};

/* Open a database for questions. NULL, with a message, if it is not one of ours that this
 * version knows. Owned by the caller: sqlite3_close. */
sqlite3 *ma_sql_open(const char *file, struct ma_error *error);

/* Answer the questions, which have semicolons between. Returns 0 or a negative errno with a
 * message: -ENOMSG if it is the question that is wrong. Errors of `out` are the caller's. */
int ma_sql_answer(const struct ma_sql_asking *asking, const char *questions,
                  struct ma_error *error);

#endif
