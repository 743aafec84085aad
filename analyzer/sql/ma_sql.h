/* SPDX-License-Identifier: MIT
 *
 * An analysis as a database of SQLite's, of the tables and views in schema.sql. Blocks
 * are stored as they end, during the pass; all else behind it. Memory: live blocks are the
 * replay's own; here some bytes for each stack, frame and function, nothing for a block
 * that has ended.
 */
#ifndef MA_SQL_H
#define MA_SQL_H

#include "ma_analysis.h"
#include "ma_sql_store.h"

#define MA_SQL_APPLICATION 1835822951 /* of schema.sql, as is the next */
#define MA_SQL_VERSION 1

/* The schema, as text. Static. */
const char *ma_sql_schema(void);

/* Of blocks that ended, those beyond so many are sampled (MA_BLOCKS_BOUNDED): */
#define MA_SQL_BOUND 20000000u
/* One in so many is stored then, with this as its weight. */
#define MA_SQL_SAMPLE 64u

struct ma_sql;

/* Open the database at path ("": see ma_sql_store_open), make its tables and register with
 * the replay: the analysis is open, its pass not begun. Returns NULL without memory; other
 * errors are told by ma_sql_problem and end the writing. Owned by the caller. */
struct ma_sql *ma_sql_begin(struct ma_analysis *analysis, const char *path);

/* Write all else, and the indexes. The rows are made. Returns 0 or a negative errno. */
int ma_sql_write(struct ma_sql *sql);

/* The database, open until ma_sql_free. */
sqlite3 *ma_sql_database(const struct ma_sql *sql);

/* What went wrong first, the end of a sentence; or NULL. */
const char *ma_sql_problem(const struct ma_sql *sql);

/* What is in the database, and what is left out: "1,234 blocks, 56 stacks" and, in `left`,
 * a sentence about blocks that are not there or "". */
#define MA_SQL_SENTENCE 256
void ma_sql_tell(const struct ma_sql *sql, char content[MA_SQL_SENTENCE],
                 char left[MA_SQL_SENTENCE]);

/* Close the database. Returns 0 or a negative errno, if what was left to write failed:
 * ma_sql_problem tells. */
int ma_sql_close(struct ma_sql *sql);
void ma_sql_free(struct ma_sql *sql);

/* Whether a file may be replaced by a database: it does not exist, is empty, or is one
 * of ours. Returns 0 or a negative errno with a message. */
int ma_sql_may_replace(const char *file, struct ma_error *error);

/* Whether a file is a database of SQLite's; *ours: and one of ours. */
bool ma_sql_is_database(const char *file, bool *ours);

#endif
