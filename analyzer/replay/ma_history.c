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

/* The slots of a site, or NULL: all is in the site itself. */
static struct ma_slots *known_slots(const struct ma_history *history, size_t site)
{
    uint32_t index = site < history->n_slots_of ? history->slots_of[site] : 0;
    return index ? &history->slots[index - 1] : NULL;
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
        struct ma_slots *slots = known_slots(history, i);
        if (slots) {
            float *floors = slots->floors;
            const uint32_t half = site->slot / 2;
            if (site->slot & 1 && floors[site->slot - 1] < (float)site->floor)
                site->floor = (uint64_t)floors[site->slot - 1];
            for (uint32_t k = 0; k < half; k++) {
                floors[k] = lower(floors[2 * k], floors[2 * k + 1]);
                slots->made[k] = slots->made[2 * k + 1];
            }
            memset(floors + half, 0, (MA_SLOTS - half) * sizeof *floors);
            memset(slots->made + half, 0, (MA_SLOTS - half) * sizeof *slots->made);
        } else if (site->slot & 1) {
            site->floor = 0; /* began in this slot: it held nothing in the one before */
        }
        site->slot /= 2;
    }
    for (uint32_t k = 0; k < MA_SLOTS / 2; k++)
        history->work[k] = history->work[2 * k + 1];
    history->shift++;
}

void ma_history_next_slot(struct ma_account *account, uint64_t ticks, uint64_t made)
{
    struct ma_history *history = &account->history;
    if (!history->until) {
        const struct ma_process *process = account->process;
        const bool started = process->known && process->record.start <= ticks;
        history->origin = started ? process->record.start : ticks;
        history->shift = FIRST_SHIFT;
    }
    for (uint32_t k = history->slot; k < MA_SLOTS; k++)
        history->work[k] = made;
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
static struct ma_slots *slots_of(struct ma_account *account, size_t site)
{
    struct ma_history *history = &account->history;
    if (site >= history->n_slots_of) {
        uint32_t *of =
            ma_pages_more(history->slots_of, &history->n_slots_of, sizeof *of, account->n_sites);
        if (!of)
            return NULL;
        history->slots_of = of;
    }
    if (history->slots_of[site])
        return &history->slots[history->slots_of[site] - 1];
    if (history->n_slots == history->slot_capacity) {
        void *slots =
            ma_pages_more(history->slots, &history->slot_capacity, sizeof *history->slots, 0);
        if (!slots)
            return NULL;
        history->slots = slots;
    }
    history->slots_of[site] = (uint32_t)++history->n_slots;
    return &history->slots[history->n_slots - 1];
}

void ma_history_catch_up(struct ma_account *account, struct ma_alloc_site *site)
{
    struct ma_history *history = &account->history;
    struct ma_slots *slots =
        history->failed ? NULL : slots_of(account, (size_t)(site - account->sites));
    if (slots) {
        slots->floors[site->slot] = (float)site->floor;
        for (uint32_t k = site->slot + 1; k < history->slot; k++)
            slots->floors[k] = (float)site->live_bytes;
        for (uint32_t k = site->slot; k < history->slot; k++)
            slots->made[k] = (float)site->allocations;
    }
    history->failed |= !slots;
    site->slot = history->slot;
    site->floor = site->live_bytes;
}

void ma_history_free(struct ma_history *history)
{
    ma_pages_free(history->slots, history->slot_capacity * sizeof *history->slots);
    ma_pages_free(history->slots_of, history->n_slots_of * sizeof *history->slots_of);
}

unsigned ma_history_shift(const struct ma_account *account, uint64_t end)
{
    const struct ma_history *history = &account->history;
    uint64_t last = end > history->origin ? (end - history->origin) >> history->shift : 0;
    last = last < history->slot ? history->slot : last;
    unsigned fold = 0; /* the program went on without events: wider slots for all */
    while (last >> fold >= MA_SLOTS)
        fold++;
    return history->shift + fold;
}

void ma_history_read(const struct ma_account *account, const struct ma_alloc_site *site,
                     uint64_t end, struct ma_site_history *out)
{
    const struct ma_history *history = &account->history;
    const struct ma_slots *slots = known_slots(history, (size_t)(site - account->sites));
    const uint64_t slot = site->slot; /* folds may be more than its bits are */
    const unsigned shift = ma_history_shift(account, end), fold = shift - history->shift;
    *out = (struct ma_site_history){.width = (uint64_t)1 << shift};
    if (!history->until || history->failed)
        return;
    uint64_t last = end > history->origin ? (end - history->origin) >> shift : 0;
    const uint64_t current = (uint64_t)history->slot >> fold;
    last = last < current ? current : last;
    out->n = (unsigned)last + 1;
    for (unsigned i = 0; i < out->n; i++) {
        out->slots.floors[i] = i <= slot >> fold ? INFINITY : (float)site->live_bytes;
        out->slots.made[i] = i < slot >> fold ? 0 : (float)site->allocations;
    }
    for (uint64_t k = 0; k <= slot; k++) {
        float value = k == slot ? (float)site->floor : slots ? slots->floors[k] : 0;
        if (value < out->slots.floors[k >> fold])
            out->slots.floors[k >> fold] = value;
        if (k >> fold < slot >> fold)
            out->slots.made[k >> fold] = slots ? slots->made[k] : 0;
    }
}

double ma_history_work(const struct ma_account *account, uint64_t ticks)
{
    const struct ma_history *history = &account->history;
    const uint64_t slot = ticks > history->origin ? (ticks - history->origin) >> history->shift : 0;
    return (double)(slot < history->slot ? history->work[slot] : account->allocations);
}
