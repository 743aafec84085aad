/* SPDX-License-Identifier: MIT
 *
 * Savepoints of the program, and its assertions that nothing grew since: which held,
 * which did not, and of each that did not the stacks that grew, at its worst moment.
 * Growth is of the process, in usable bytes, as mlog_stats counts them: what was
 * allocated since and still lives, less what was freed of before. Blocks are told
 * apart by their epoch, the number of savepoints set before they began.
 *
 * Memory: for each open savepoint the stacks that have changed since; 12 bytes for each
 * address that was given out since the first. At most OPEN are open: the oldest is
 * given up, and one that was asserted when its thread sets another of its name.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_account.h"
#include "ma_map.h"
#include "ma_report.h"
#include "ma_text.h"

enum { OPEN = 64, PLACES = 1000 };

struct change { /* of a stack since the savepoint */
    uint32_t site;
    int64_t usable, blocks;
    uint64_t born, born_bytes; /* still live */
};

struct point {
    const struct ma_account *account;
    uint64_t number, ns;
    uint32_t epoch, thread;
    bool asserted;
    char *name;
    int64_t usable;
    struct ma_map by_site;
    struct change *changes;
    size_t n, capacity;
};

struct grown {
    uint32_t stack; /* id in ma_stacks */
    struct change change;
};

struct place { /* of assertions: a name and where it stands */
    char *name, *place;
    uint64_t asserted, failed, unjudged;
    /* of the worst: */
    int64_t growth, told;
    bool is_told;
    uint64_t since_ns, ns, pid;
    struct grown *grown;
    size_t n, capacity;
};

struct savepoints {
    struct ma_observer observer;
    struct ma_analysis *analysis;
    struct point points[OPEN];
    size_t n;
    uint32_t epoch;
    struct ma_map born; /* address to epoch; of what has ended meanwhile, too */
    struct place *places;
    size_t n_places, capacity;
    uint64_t set, left_out;
};

static const char key;

static uint64_t key_of(const struct ma_seen *seen, const struct ma_seen_block *block)
{
    return block->address + seen->process->index * UINT64_C(0x9e3779b97f4a7c15);
}

static struct change *change_of(struct point *point, uint32_t site)
{
    uint32_t at = ma_map_get(&point->by_site, site);
    if (at != MA_NONE)
        return &point->changes[at];
    if (!MA_RESERVE(point->changes, point->n, point->capacity) ||
        ma_map_set(&point->by_site, site, (uint32_t)point->n) < 0)
        return NULL;
    point->changes[point->n] = (struct change){.site = site};
    return &point->changes[point->n++];
}

static int count(struct savepoints *savepoints, const struct ma_seen *seen,
                 const struct ma_seen_block *block, uint32_t epoch, int sign)
{
    const int64_t usable = sign * (int64_t)block->usable;
    for (size_t i = 0; i < savepoints->n; i++) {
        struct point *point = &savepoints->points[i];
        if (point->account != seen->account)
            continue;
        point->usable += usable;
        if (block->site == MA_NONE) /* of a stack of the parent's */
            continue;
        struct change *change = change_of(point, block->site);
        if (!change)
            return -ENOMEM;
        change->usable += usable;
        change->blocks += sign;
        if (epoch != MA_NONE && epoch >= point->epoch) {
            change->born += (uint64_t)sign;
            change->born_bytes += (uint64_t)sign * block->size;
        }
    }
    return 0;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct savepoints *savepoints = context;
    if (!savepoints->n)
        return 0;
    if (ma_map_set(&savepoints->born, key_of(seen, block), savepoints->epoch) < 0)
        return -ENOMEM;
    return count(savepoints, seen, block, savepoints->epoch, 1);
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct savepoints *savepoints = context;
    if (!savepoints->n)
        return 0;
    return count(savepoints, seen, block, ma_map_get(&savepoints->born, key_of(seen, block)), -1);
}

static void point_free(struct point *point)
{
    free(point->name);
    free(point->changes);
    ma_map_free(&point->by_site);
}

static void close_point(struct savepoints *savepoints, size_t at)
{
    point_free(&savepoints->points[at]);
    savepoints->n--;
    memmove(&savepoints->points[at], &savepoints->points[at + 1],
            (savepoints->n - at) * sizeof *savepoints->points);
}

static int set_point(struct savepoints *savepoints, const struct ma_seen *seen,
                     const struct ma_savepoint *said)
{
    for (size_t i = savepoints->n; i-- > 0;) {
        const struct point *old = &savepoints->points[i];
        if (old->account == seen->account && old->thread == seen->thread && old->asserted &&
            strcmp(old->name, said->name) == 0)
            close_point(savepoints, i);
    }
    if (savepoints->n == OPEN)
        close_point(savepoints, 0);
    struct point point = {
        .account = seen->account,
        .number = said->number,
        .ns = seen->ns,
        .epoch = savepoints->epoch + 1,
        .thread = seen->thread,
        .name = strdup(said->name),
    };
    if (!point.name)
        return -ENOMEM;
    savepoints->set++;
    savepoints->epoch = point.epoch < MA_NONE - 1 ? point.epoch : savepoints->epoch;
    savepoints->points[savepoints->n++] = point;
    return 0;
}

/* NULL and *result: no memory, or too many places. */
static struct place *place_of(struct savepoints *savepoints, const struct ma_savepoint *said,
                              int *result)
{
    *result = 0;
    for (size_t i = 0; i < savepoints->n_places; i++) {
        struct place *place = &savepoints->places[i];
        if (strcmp(place->name, said->name) == 0 && strcmp(place->place, said->place) == 0)
            return place;
    }
    if (savepoints->n_places == PLACES) {
        savepoints->left_out++;
        return NULL;
    }
    struct place place = {.name = strdup(said->name), .place = strdup(said->place)};
    if (!place.name || !place.place ||
        !MA_RESERVE(savepoints->places, savepoints->n_places, savepoints->capacity)) {
        free(place.name);
        free(place.place);
        *result = -ENOMEM;
        return NULL;
    }
    savepoints->places[savepoints->n_places] = place;
    return &savepoints->places[savepoints->n_places++];
}

/* The stacks get their ids now: the process may be over when the report is built. */
static int keep_worst(struct savepoints *savepoints, struct place *place,
                      const struct ma_seen *seen, const struct point *point,
                      const struct ma_savepoint *said)
{
    place->growth = point->usable;
    place->told = said->growth;
    place->is_told = said->counted;
    place->since_ns = point->ns;
    place->ns = seen->ns;
    place->pid = ma_process_pid(seen->process);
    place->n = 0;
    for (size_t i = 0; i < point->n; i++) {
        struct grown grown = {.change = point->changes[i]};
        if (grown.change.usable <= 0)
            continue;
        if (ma_stacks_id(&savepoints->analysis->stacks, seen->account->process,
                         seen->account->stacks[grown.change.site], &grown.stack) < 0 ||
            !MA_RESERVE(place->grown, place->n, place->capacity))
            return -ENOMEM;
        place->grown[place->n++] = grown;
    }
    return 0;
}

static int on_savepoint(void *context, const struct ma_seen *seen, const struct ma_savepoint *said)
{
    struct savepoints *savepoints = context;
    int result;
    if (!said->asserted)
        return set_point(savepoints, seen, said);
    struct place *place = place_of(savepoints, said, &result);
    if (!place)
        return result;
    place->asserted++;
    for (size_t i = savepoints->n; i-- > 0;) {
        struct point *point = &savepoints->points[i];
        if (point->account != seen->account || point->number != said->number)
            continue;
        point->asserted = true;
        if (point->usable <= 0)
            return 0;
        place->failed++;
        return point->usable > place->growth ? keep_worst(savepoints, place, seen, point, said) : 0;
    }
    place->unjudged++;
    return 0;
}

static void savepoints_free(void *data)
{
    struct savepoints *savepoints = data;
    for (size_t i = 0; i < savepoints->n; i++)
        point_free(&savepoints->points[i]);
    for (size_t i = 0; i < savepoints->n_places; i++) {
        free(savepoints->places[i].name);
        free(savepoints->places[i].place);
        free(savepoints->places[i].grown);
    }
    free(savepoints->places);
    ma_map_free(&savepoints->born);
    free(savepoints);
}

static int observe_savepoints(struct ma_analysis *analysis)
{
    struct savepoints *savepoints = calloc(1, sizeof *savepoints);
    if (savepoints) {
        savepoints->analysis = analysis;
        savepoints->observer = (struct ma_observer){
            .context = savepoints,
            .allocated = on_allocated,
            .freed = on_freed,
            .savepoint = on_savepoint,
        };
    }
    return ma_analysis_observe(analysis, savepoints ? &savepoints->observer : NULL, &key,
                               savepoints, savepoints_free);
}

bool ma_report_growth(const struct ma_analysis *analysis, uint64_t *bytes)
{
    const struct savepoints *savepoints = ma_analysis_observer_data(analysis, &key);
    uint64_t judged = 0;
    *bytes = 0;
    for (size_t i = 0; savepoints && i < savepoints->n_places; i++) {
        judged += savepoints->places[i].asserted - savepoints->places[i].unjudged;
        *bytes += (uint64_t)savepoints->places[i].growth;
    }
    return judged > 0;
}

static int by_growth(const void *a, const void *b)
{
    const struct place *x = *(struct place *const *)a, *y = *(struct place *const *)b;
    if (x->growth != y->growth)
        return x->growth > y->growth ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->place, y->place);
}

static int by_bytes(const void *a, const void *b)
{
    const struct grown *x = a, *y = b;
    if (x->change.usable != y->change.usable)
        return x->change.usable > y->change.usable ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static int add_stacks(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                      const struct place *place)
{
    struct ma_value *stacks = ma_model_array(model, parent, "stacks", "", MA_ENTRIES);
    if (place->n)
        qsort(place->grown, place->n, sizeof *place->grown, by_bytes);
    for (size_t i = 0; i < place->n && i < analysis->request->top; i++) {
        const struct grown *grown = &place->grown[i];
        struct ma_value *entry = ma_model_object(model, stacks, NULL, NULL, MA_FIELDS);
        ma_model_number(model, entry, "growth_bytes", "", MA_BYTES, (uint64_t)grown->change.usable);
        ma_model_number(model, entry, "growth_blocks", NULL, MA_COUNT_CHANGE,
                        (uint64_t)grown->change.blocks);
        ma_model_number(model, entry, "blocks", "blocks", MA_COUNT, grown->change.born);
        ma_model_number(model, entry, "bytes", NULL, MA_BYTES, grown->change.born_bytes);
        if (ma_report_label(analysis, model, entry, grown->stack) < 0)
            return -ENOMEM;
        ma_model_stack(model, entry, "stack", grown->stack);
    }
    return 0;
}

static int add_place(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct place *place)
{
    char times[MA_COUNTED_SIZE], bytes[MA_HUMAN_SIZE], since[MA_HUMAN_SIZE], at[MA_HUMAN_SIZE],
        unjudged[MA_COUNTED_SIZE + 80] = "";
    struct ma_value *object = ma_model_object(model, array, NULL, "", MA_FIELDS);
    ma_human_counted(times, place->asserted, "time");
    if (place->unjudged) {
        char n[MA_HUMAN_SIZE];
        snprintf(unjudged, sizeof unjudged, "; %s not judged: the savepoint is not in sight",
                 ma_human_count(n, place->unjudged));
    }
    if (place->failed) {
        char n[MA_HUMAN_SIZE];
        ma_model_note(
            model, object,
            "\"%s\" at %s, asserted %s, had grown %s%s. The most: %s from %s to %s:", place->name,
            place->place, times,
            place->failed == place->asserted ? "each time" : ma_human_count(n, place->failed),
            unjudged, ma_human_bytes(bytes, (uint64_t)place->growth),
            ma_human_time(since, place->since_ns), ma_human_time(at, place->ns));
    } else {
        ma_model_note(model, object, "\"%s\" at %s, asserted %s: %s%s.", place->name, place->place,
                      times, place->unjudged == place->asserted ? "nothing is known" : "no growth",
                      unjudged);
    }
    ma_model_text(model, object, "name", NULL, place->name);
    ma_model_text(model, object, "place", NULL, place->place);
    ma_model_number(model, object, "asserted", NULL, MA_COUNT, place->asserted);
    ma_model_number(model, object, "failed", NULL, MA_COUNT, place->failed);
    ma_model_number(model, object, "unjudged", NULL, MA_COUNT, place->unjudged);
    ma_model_number(model, object, "growth_bytes", NULL, MA_BYTES, (uint64_t)place->growth);
    if (place->failed && place->is_told)
        ma_model_number(model, object, "told_growth_bytes", NULL, MA_BYTES_CHANGE,
                        (uint64_t)place->told);
    else
        ma_model_null(model, object, "told_growth_bytes");
    ma_model_number(model, object, "pid", NULL, MA_PLAIN, place->pid);
    ma_model_number(model, object, "since_ns", NULL, MA_NANOSECONDS, place->since_ns);
    ma_model_number(model, object, "time_ns", NULL, MA_NANOSECONDS, place->ns);
    return add_stacks(analysis, model, object, place);
}

static int build_savepoints(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct savepoints *savepoints = ma_analysis_observer_data(analysis, &key);
    const size_t n = savepoints->n_places;
    const struct place **order = malloc((n + 1) * sizeof *order);
    char set[MA_COUNTED_SIZE], places[MA_COUNTED_SIZE];
    uint64_t failed = 0;
    int result = 0;
    if (!order)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        order[i] = &savepoints->places[i];
        failed += savepoints->places[i].failed > 0;
    }
    qsort(order, n, sizeof *order, by_growth);
    struct ma_value *object =
        ma_model_object(model, &model->root, "savepoints", "Savepoints", MA_FIELDS);
    if (!savepoints->set && !n)
        ma_model_note(model, object,
                      "The program sets none: MLOG_SAVEPOINT and MLOG_ASSERT_NO_GROWTH of mlog.h.");
    else
        ma_model_note(model, object, "%s set, asserted at %s: %s%s",
                      ma_human_counted(set, savepoints->set, "savepoint"),
                      ma_human_counted(places, n, "place"),
                      failed ? "grown"
                      : n    ? "no growth"
                             : "nothing to judge",
                      savepoints->left_out ? " (there are more places: the first ones are judged)"
                      : n                  ? ":"
                                           : ".");
    ma_model_number(model, object, "set", NULL, MA_COUNT, savepoints->set);
    ma_model_number(model, object, "failed_places", NULL, MA_COUNT, failed);
    ma_model_number(model, object, "left_out", NULL, MA_COUNT, savepoints->left_out);
    struct ma_value *array = ma_model_array(model, object, "assertions", "", MA_SECTIONS);
    for (size_t i = 0; i < n && result == 0; i++)
        result = add_place(analysis, model, array, order[i]);
    free(order);
    return result;
}

const struct ma_report ma_report_savepoints = {
    .name = "savepoints",
    .help = "the program's assertions that it has not grown",
    .build = build_savepoints,
    .observe = observe_savepoints,
};
