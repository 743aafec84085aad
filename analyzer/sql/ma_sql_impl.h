/* SPDX-License-Identifier: MIT
 *
 * The parts of ma_sql.h among themselves: the blocks (ma_sql_blocks.c), the stacks
 * (ma_sql_stacks.c), and the rest (ma_sql.c).
 */
#ifndef MA_SQL_IMPL_H
#define MA_SQL_IMPL_H

#include "ma_sql.h"

/* A stack of one process. */
struct ma_sql_site {
    uint32_t stack; /* id in ma_stacks, 1 + : 0: not asked for yet */
    uint8_t call;   /* 1 + the function that was called first */
    bool mixed;     /* others were called, too: see odd_calls */
};

struct ma_sql_process {
    struct ma_sql_site *sites; /* by number of the site */
    size_t n_sites;
    uint64_t resident; /* as last stored */
};

struct ma_sql {
    struct ma_analysis *analysis;
    struct ma_sql_store store;
    struct ma_observer observer;
    struct ma_sql_insert block, mark, sample;
    struct ma_sql_process *processes; /* by process index */
    size_t n_processes;
    /* Address and site of blocks of sites where several functions were called, to the
     * function; values of ended ones stay. */
    struct ma_map odd_calls;
    uint64_t n_ended, n_stored, n_left; /* ended blocks; stored ones; those left out */
    uint64_t n_live;                    /* stored */
    uint64_t n_stacks;
    uint64_t called; /* bit n: enum mlf_function n is named by a block */
};

/* Register with the replay. Returns 0 or -ENOMEM. */
int ma_sql_blocks_begin(struct ma_sql *sql);
/* Store the blocks that are live at the end. Returns 0 or -ENOMEM. */
int ma_sql_blocks_live(struct ma_sql *sql);

/* Store modules, functions, frames, stacks. Returns 0 or -ENOMEM. */
int ma_sql_stacks(struct ma_sql *sql);

/* The number of a module, stored if it is new. */
int64_t ma_sql_module(struct ma_sql_insert *add, struct ma_sql_insert *find, const char *path,
                      const char *build_id);
#define MA_SQL_MODULE_ADD "INSERT OR IGNORE INTO modules(path, build_id) VALUES(?, ?)"
#define MA_SQL_MODULE_FIND "SELECT id FROM modules WHERE path = ? AND build_id = ?"

#endif
