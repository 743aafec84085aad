/* SPDX-License-Identifier: MIT
 *
 * Threads: what each allocated, what it freed, what is left of its blocks and
 * the most they were; which blocks were freed by another thread than their
 * allocator, and from which thread to which they went.
 *
 * Memory: a struct for each thread; 40 bytes for each pair of threads that
 * handed blocks over, of which the first 65,536 are counted one by one and the
 * others together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_identity.h"
#include "ma_report.h"
#include "ma_text.h"

#define PAIRS_MOST 65536

struct thread_sum {
    uint64_t allocations, bytes;                  /* it made */
    uint64_t frees, freed_bytes;                  /* it made, of anybody's blocks */
    uint64_t live_blocks, live_bytes, peak_bytes; /* of its blocks */
    uint64_t foreign, foreign_bytes;              /* frees it made of other threads' blocks */
    uint64_t given, given_bytes;                  /* its blocks that others freed */
};

struct pair_sum {
    uint32_t from, to;
    uint64_t blocks, bytes;
};

struct threads {
    struct ma_observer observer;
    struct thread_sum *sums; /* by index of the stream that stands for the thread */
    size_t n_sums;
    struct pair_sum *pairs;
    size_t n_pairs, capacity;
    struct ma_map pair_of; /* from << 32 | to, to index */
    struct pair_sum other_pairs;
};

static const char key;

static struct thread_sum *sum_of(struct threads *threads, uint32_t thread)
{
    return MA_HOLDS(threads->sums, thread, threads->n_sums) ? &threads->sums[thread] : NULL;
}

static struct pair_sum *pair_of(struct threads *threads, uint32_t from, uint32_t to)
{
    const uint64_t name = (uint64_t)from << 32 | to;
    uint32_t at = ma_map_get(&threads->pair_of, name);
    if (at != MA_NONE)
        return &threads->pairs[at];
    if (threads->n_pairs == PAIRS_MOST)
        return &threads->other_pairs;
    if (!MA_RESERVE(threads->pairs, threads->n_pairs, threads->capacity) ||
        ma_map_set(&threads->pair_of, name, (uint32_t)threads->n_pairs) < 0)
        return NULL;
    threads->pairs[threads->n_pairs] = (struct pair_sum){.from = from, .to = to};
    return &threads->pairs[threads->n_pairs++];
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct thread_sum *sum = sum_of(context, block->thread);
    (void)seen;
    if (!sum)
        return -ENOMEM;
    sum->allocations++;
    sum->bytes += block->size;
    sum->live_blocks++;
    sum->live_bytes += block->size;
    if (sum->live_bytes > sum->peak_bytes)
        sum->peak_bytes = sum->live_bytes;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct threads *threads = context;
    const uint32_t by = seen->thread;
    struct thread_sum *sum;
    if (by != MA_NONE && !block->unseen) {
        if (!(sum = sum_of(threads, by)))
            return -ENOMEM;
        sum->frees++;
        sum->freed_bytes += block->size;
    }
    if (block->site == MA_NONE)
        return 0; /* a copy that a fork made: no thread of this process gave it */
    if (!(sum = sum_of(threads, block->thread)))
        return -ENOMEM;
    sum->live_blocks--;
    sum->live_bytes -= block->size;
    if (by == MA_NONE || by == block->thread || block->unseen)
        return 0;
    sum->given++;
    sum->given_bytes += block->size;
    threads->sums[by].foreign++;
    threads->sums[by].foreign_bytes += block->size;
    struct pair_sum *pair = pair_of(threads, block->thread, by);
    if (!pair)
        return -ENOMEM;
    pair->blocks++;
    pair->bytes += block->size;
    return 0;
}

static void threads_free(void *data)
{
    struct threads *threads = data;
    free(threads->sums);
    free(threads->pairs);
    ma_map_free(&threads->pair_of);
    free(threads);
}

static int observe_threads(struct ma_analysis *analysis)
{
    struct threads *threads = calloc(1, sizeof *threads);
    if (threads)
        threads->observer = (struct ma_observer){
            .context = threads,
            .allocated = on_allocated,
            .freed = on_freed,
        };
    return ma_analysis_observe(analysis, threads ? &threads->observer : NULL, &key, threads,
                               threads_free);
}

#define PATTERN_SIZE 64

struct listed {
    const struct thread_sum *sum;
    const struct ma_stream *stream;
    size_t of;                  /* threads that the row stands for; */
    struct thread_sum together; /* of more than one: their sums, of peaks the largest */
    char pattern[PATTERN_SIZE]; /* what their names have in common, as --tid takes it */
};

/* A name with its runs of digits as "*"; empty if it has none, is long, or would be
 * taken for another pattern. */
static void find_pattern(const char *name, char pattern[PATTERN_SIZE])
{
    size_t used = 0;
    bool digits = false;
    pattern[0] = '\0';
    if (!name || strlen(name) >= PATTERN_SIZE || strpbrk(name, "*?[\\"))
        return;
    for (const char *c = name; *c; c++) {
        const bool digit = *c >= '0' && *c <= '9';
        if (!digit)
            pattern[used++] = *c;
        else if (!used || pattern[used - 1] != '*')
            pattern[used++] = '*';
        digits |= digit;
    }
    pattern[digits && used > 1 ? used : 0] = '\0';
}

static int by_pattern(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    const int order = strcmp(x->pattern, y->pattern);
    return order ? order : x->stream->index < y->stream->index ? -1 : 1;
}

/* Make threads one whose names differ in a number alone. Returns how many rows there are. */
static size_t unite(struct listed *listed, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        find_pattern(listed[i].stream->name, listed[i].pattern);
    if (n)
        qsort(listed, n, sizeof *listed, by_pattern);
    for (size_t i = 0; i < n; i++) {
        struct listed *one = kept ? &listed[kept - 1] : NULL;
        if (!one || !one->pattern[0] || strcmp(one->pattern, listed[i].pattern) != 0) {
            listed[kept++] = listed[i];
            continue;
        }
        const struct thread_sum *sum = listed[i].sum;
        if (one->of == 1)
            one->together = *one->sum;
        struct thread_sum *all = &one->together;
        one->of++;
        all->allocations += sum->allocations;
        all->bytes += sum->bytes;
        all->frees += sum->frees;
        all->freed_bytes += sum->freed_bytes;
        all->live_blocks += sum->live_blocks;
        all->live_bytes += sum->live_bytes;
        all->peak_bytes = sum->peak_bytes > all->peak_bytes ? sum->peak_bytes : all->peak_bytes;
        all->given += sum->given;
        all->given_bytes += sum->given_bytes;
    }
    return kept;
}

static const struct thread_sum *sums_of(const struct listed *listed)
{
    return listed->of > 1 ? &listed->together : listed->sum;
}

static int compare_threads(const void *a, const void *b, void *context)
{
    const struct listed *x = a, *y = b;
    const struct ma_request *request = context;
    for (size_t i = 0; i <= request->n_sort; i++) {
        bool bytes = i == request->n_sort || request->sort[i] == MA_SORT_BYTES;
        uint64_t p = bytes ? sums_of(x)->bytes : sums_of(x)->allocations;
        uint64_t q = bytes ? sums_of(y)->bytes : sums_of(y)->allocations;
        if (p != q)
            return p > q ? -1 : 1;
    }
    return x->stream->index < y->stream->index ? -1 : x->stream->index > y->stream->index;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair_sum *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    if (x->blocks != y->blocks)
        return x->blocks > y->blocks ? -1 : 1;
    return x->from != y->from ? (x->from < y->from ? -1 : 1) : (x->to < y->to ? -1 : x->to > y->to);
}

static void add_thread(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                       const struct listed *one)
{
    const struct ma_stream *stream = one->stream;
    const struct thread_sum *sum = sums_of(one);
    const bool many = analysis->trace.n_processes > 1;
    struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    const bool named = stream->name && stream->name[0];
    ma_model_number(model, row, "pid", NULL, MA_PLAIN, ma_process_pid(stream->process));
    ma_model_number(model, row, "process", NULL, MA_PLAIN, stream->process->index);
    ma_model_number(model, row, "tid", NULL, MA_PLAIN, stream->tid);
    ma_model_number(model, row, "allocations", "calls", MA_COUNT, sum->allocations);
    ma_model_number(model, row, "allocated_bytes", "bytes", MA_BYTES, sum->bytes);
    ma_model_number(model, row, "frees", "frees", MA_COUNT, sum->frees);
    ma_model_number(model, row, "freed_bytes", NULL, MA_BYTES, sum->freed_bytes);
    ma_model_number(model, row, "peak_bytes", "peak", MA_BYTES, sum->peak_bytes);
    ma_model_number(model, row, "live_blocks", NULL, MA_COUNT, sum->live_blocks);
    ma_model_number(model, row, "live_bytes", "live", MA_BYTES, sum->live_bytes);
    ma_model_number(model, row, "freed_by_others", "given", MA_COUNT, sum->given);
    ma_model_number(model, row, "freed_by_others_bytes", NULL, MA_BYTES, sum->given_bytes);
    ma_model_number(model, row, "freed_of_others", NULL, MA_COUNT, sum->foreign);
    ma_model_number(model, row, "freed_of_others_bytes", NULL, MA_BYTES, sum->foreign_bytes);
    ma_model_text(model, row, "name", NULL, stream->name ? stream->name : "");
    if (one->of > 1)
        ma_model_format(model, row, NULL, "thread", "%s, %zu threads", one->pattern, one->of);
    else if (many && (analysis->trace.places || stream->tid != ma_process_pid(stream->process)))
        ma_model_format(
            model, row, NULL, "thread", named ? "%llu, %s of %s" : "%llu%s of %s",
            (unsigned long long)stream->tid, named ? stream->name : "",
            ma_process_name(&analysis->trace, stream->process, (char[MA_PROCESS_NAME]){0}));
    else
        ma_model_format(model, row, NULL, "thread", named ? "%llu, %s" : "%llu%s",
                        (unsigned long long)stream->tid, named ? stream->name : "");
}

static void add_end(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *row,
                    uint32_t thread, const char *key_of, const char *title)
{
    const struct ma_stream *stream = analysis->trace.streams[thread];
    ma_model_number(model, row, key_of, NULL, MA_PLAIN, stream->tid);
    ma_model_format(model, row, NULL, title, stream->name && stream->name[0] ? "%llu %s" : "%llu",
                    (unsigned long long)stream->tid, stream->name);
}

static int add_pairs(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *object,
                     const struct threads *threads)
{
    const struct ma_request *request = analysis->request;
    struct ma_value *array = ma_model_array(
        model, object, "handed_over", "Freed by another thread than their allocator", MA_TABLE);
    struct pair_sum *sorted = malloc((threads->n_pairs + 1) * sizeof *sorted);
    if (!sorted)
        return -ENOMEM;
    if (threads->n_pairs) {
        memcpy(sorted, threads->pairs, threads->n_pairs * sizeof *sorted);
        qsort(sorted, threads->n_pairs, sizeof *sorted, compare_pairs);
    } else {
        ma_model_note(model, array, "None.");
    }
    for (size_t i = 0; i < threads->n_pairs && i < request->top; i++) {
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, row, "blocks", "blocks", MA_COUNT, sorted[i].blocks);
        ma_model_number(model, row, "bytes", "bytes", MA_BYTES, sorted[i].bytes);
        add_end(analysis, model, row, sorted[i].from, "allocated_by", "allocated by");
        add_end(analysis, model, row, sorted[i].to, "freed_by", "freed by");
        ma_model_number(model, row, "pid", NULL, MA_PLAIN,
                        ma_process_pid(analysis->trace.streams[sorted[i].from]->process));
    }
    free(sorted);
    if (threads->other_pairs.blocks)
        ma_model_note(model, array, "More pairs than %d; those that came first are counted.",
                      PAIRS_MOST);
    ma_model_number(model, object, "blocks_of_uncounted_pairs", NULL, MA_COUNT,
                    threads->other_pairs.blocks);
    return 0;
}

static int build_threads(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct threads *threads = ma_analysis_observer_data(analysis, &key);
    const struct ma_request *request = analysis->request;
    struct listed *listed = malloc((threads->n_sums + 1) * sizeof *listed);
    char a[MA_COUNTED_SIZE], b[MA_COUNTED_SIZE], c[MA_HUMAN_SIZE];
    uint64_t given = 0, bytes = 0;
    size_t n = 0;
    if (!listed)
        return -ENOMEM;
    for (size_t i = 0; i < threads->n_sums && i < analysis->trace.n_streams; i++) {
        const struct thread_sum *sum = &threads->sums[i];
        if (sum->allocations || sum->frees)
            listed[n++] =
                (struct listed){.sum = sum, .stream = analysis->trace.streams[i], .of = 1};
        given += sum->given;
        bytes += sum->given_bytes;
    }
    /* Who asks for threads by name or number sees them one by one. */
    const size_t threads_seen = n;
    const bool opens = request->json || request->filter.n_threads;
    if (!opens)
        n = unite(listed, n);
    if (n)
        qsort_r(listed, n, sizeof *listed, compare_threads, (void *)(uintptr_t)request);
    const struct listed *group = NULL;
    for (size_t i = 0; i < n && !group; i++)
        group = listed[i].of > 1 ? &listed[i] : NULL;
    struct ma_value *object = ma_model_object(model, &model->root, "threads", "Threads", MA_FIELDS);
    ma_model_note(
        model, object, "%s; %s with %s %s freed by another than %s allocator (given).%s%s%s",
        ma_human_counted(a, threads_seen, "thread"), ma_human_counted(b, given, "block"),
        ma_human_bytes(c, bytes), given == 1 ? "was" : "were", given == 1 ? "its" : "their",
        group ? " Threads whose names differ in a number are one row, with the "
                "largest peak of them: --tid '"
              : "",
        group ? group->pattern : "", group ? "' shows each." : "");
    struct ma_value *array = ma_model_array(model, object, "threads", "", MA_TABLE);
    for (size_t i = 0; i < n && i < request->top; i++)
        add_thread(analysis, model, array, &listed[i]);
    free(listed);
    return add_pairs(analysis, model, object, threads);
}

const struct ma_report ma_report_threads = {
    .name = "threads",
    .help = "what each thread does, and who frees whose blocks",
    .build = build_threads,
    .observe = observe_threads,
};
