/* SPDX-License-Identifier: MIT
 *
 * The answers of one object, by address: a hash table whose calls lie in
 * blocks that never move, so that what was told stays valid until the end.
 * Strings are not copied; whoever adds an answer keeps them.
 */
#include <stdlib.h>
#include <string.h>

#include "ma_map.h"
#include "ma_symbols_impl.h"

struct ma_answer_block {
    struct ma_answer_block *next;
    struct ma_call calls[];
};

static bool grow_answers(struct ma_answers *answers)
{
    struct ma_answers larger = {.room = answers->room ? 2 * answers->room : 64,
                                .blocks = answers->blocks};
    larger.at = calloc(larger.room, sizeof(*larger.at));
    if (!larger.at)
        return false;
    for (size_t i = 0; i < answers->room; i++)
        if (answers->at[i].calls)
            *ma_answers_find(&larger, answers->at[i].address) = answers->at[i];
    larger.n = answers->n;
    free(answers->at);
    *answers = larger;
    return true;
}

struct ma_answer *ma_answers_find(const struct ma_answers *answers, uint64_t address)
{
    if (!answers->room)
        return NULL;
    size_t mask = answers->room - 1;
    size_t i = (size_t)ma_mix(address) & mask;
    while (answers->at[i].calls && answers->at[i].address != address)
        i = (i + 1) & mask;
    return &answers->at[i];
}

struct ma_answer *ma_answers_add(struct ma_answers *answers, uint64_t address,
                                 const struct ma_call *calls, size_t n)
{
    if (answers->n * 2 >= answers->room && !grow_answers(answers))
        return NULL;
    struct ma_answer *answer = ma_answers_find(answers, address);
    if (answer->calls)
        return answer;
    struct ma_answer_block *block = malloc(sizeof(*block) + n * sizeof(*calls));
    if (!block)
        return NULL;
    memcpy(block->calls, calls, n * sizeof(*calls));
    block->next = answers->blocks;
    answers->blocks = block;
    *answer = (struct ma_answer){.address = address, .calls = block->calls, .n = n};
    answers->n++;
    return answer;
}

void ma_answers_free(struct ma_answers *answers)
{
    for (struct ma_answer_block *block = answers->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    for (size_t i = 0; i < answers->room; i++)
        free(answers->at[i].told);
    free(answers->at);
    *answers = (struct ma_answers){0};
}
