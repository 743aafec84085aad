/* SPDX-License-Identifier: MIT
 *
 * Floors; see ma_history.h. A site is behind while its slot is not the account's:
 * since then it has held what it holds now.
 */
#include "ma_history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ma_account.h"
#include "ma_pages.h"

#define FIRST_SHIFT 10 /* ticks of a few nanoseconds at most */

/* The floors of a site, or NULL: all is in the site itself. */
static float *known_floors(const struct ma_history *history, size_t site)
{
    uint32_t index = site < history->n_floors_of ? history->floors_of[site] : 0;
    return index ? history->floors[index - 1] : NULL;
}

static float lower(float a, float b)
{
    return a < b ? a : b;
}

/* Slots become twice as wide. */
static void widen_slots(struct ma_account *account)
{
    struct ma_history *history = &account->history;
    for (size_t i = 0; i < account->n_sites; i++) {
        struct ma_alloc_site *site = &account->sites[i];
        float *floors = known_floors(history, i);
        if (floors) {
            if (site->slot & 1 && floors[site->slot - 1] < (float)site->floor)
                site->floor = (uint64_t)floors[site->slot - 1];
            for (uint32_t k = 0; k < site->slot / 2; k++)
                floors[k] = lower(floors[2 * k], floors[2 * k + 1]);
            memset(floors + site->slot / 2, 0, (MA_SLOTS - site->slot / 2) * sizeof *floors);
        } else if (site->slot & 1) {
            site->floor = 0; /* began in this slot: it held nothing in the one before */
        }
        site->slot /= 2;
    }
    history->shift++;
}

void ma_history_next_slot(struct ma_account *account, uint64_t ticks)
{
    struct ma_history *history = &account->history;
    if (!history->until) {
        const struct ma_process *process = account->process;
        const bool started = process->known && process->record.start <= ticks;
        history->origin = started ? process->record.start : ticks;
        history->shift = FIRST_SHIFT;
    }
    while ((ticks - history->origin) >> history->shift >= MA_SLOTS) {
        widen_slots(account);
        history->slot /= 2;
    }
    history->slot = (uint32_t)((ticks - history->origin) >> history->shift);
    unsigned __int128 until = (unsigned __int128)(history->slot + 1) << history->shift;
    until += history->origin;
    history->until = until > UINT64_MAX ? UINT64_MAX : (uint64_t)until;
}

/* As above, made if there are none; NULL if memory is short. */
static float *floors_of(struct ma_account *account, size_t site)
{
    struct ma_history *history = &account->history;
    if (site >= history->n_floors_of) {
        uint32_t *of =
            ma_pages_more(history->floors_of, &history->n_floors_of, sizeof *of, account->n_sites);
        if (!of)
            return NULL;
        history->floors_of = of;
    }
    if (history->floors_of[site])
        return history->floors[history->floors_of[site] - 1];
    if (history->n_floors == history->floor_capacity) {
        void *floors =
            ma_pages_more(history->floors, &history->floor_capacity, sizeof *history->floors, 0);
        if (!floors)
            return NULL;
        history->floors = floors;
    }
    history->floors_of[site] = (uint32_t)++history->n_floors;
    return history->floors[history->n_floors - 1];
}

void ma_history_catch_up(struct ma_account *account, struct ma_alloc_site *site)
{
    struct ma_history *history = &account->history;
    float *floors = history->failed ? NULL : floors_of(account, (size_t)(site - account->sites));
    if (floors) {
        floors[site->slot] = (float)site->floor;
        for (uint32_t k = site->slot + 1; k < history->slot; k++)
            floors[k] = (float)site->live_bytes;
    }
    history->failed |= !floors;
    site->slot = history->slot;
    site->floor = site->live_bytes;
}

void ma_history_free(struct ma_history *history)
{
    ma_pages_free(history->floors, history->floor_capacity * sizeof *history->floors);
    ma_pages_free(history->floors_of, history->n_floors_of * sizeof *history->floors_of);
}

unsigned ma_history_read(const struct ma_account *account, const struct ma_alloc_site *site,
                         uint64_t end, double out[MA_SLOTS], uint64_t *width)
{
    const struct ma_history *history = &account->history;
    size_t index = (size_t)(site - account->sites);
    const float *floors = known_floors(history, index);
    const uint64_t slot = site->slot; /* folds may be more than its bits are */
    if (!history->until || history->failed)
        return 0;
    if (end < history->origin)
        end = history->origin;
    uint64_t last = (end - history->origin) >> history->shift;
    last = last < history->slot ? history->slot : last;
    unsigned fold = 0; /* the program went on without events: wider slots for all */
    while (last >> fold >= MA_SLOTS)
        fold++;
    unsigned n = (unsigned)(last >> fold) + 1;
    for (unsigned i = 0; i < n; i++)
        out[i] = i <= slot >> fold ? INFINITY : (double)site->live_bytes;
    for (uint64_t k = 0; k <= slot; k++) {
        double value = k == slot ? (double)site->floor : floors ? (double)floors[k] : 0;
        if (value < out[k >> fold])
            out[k >> fold] = value;
    }
    *width = (uint64_t)1 << (history->shift + fold);
    return n;
}
