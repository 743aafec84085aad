/* SPDX-License-Identifier: MIT
 *
 * The analyser from events to numbers: live set, replay, peak, timeline,
 * process trees, clocks, labels, text. Events are handed to the replay as the
 * merge would, so that each test says only what it is about. Reader, decoder
 * and merge are tested by the vectors in format/vectors.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ma_analysis.h"
#include "ma_clock.h"
#include "ma_label.h"
#include "ma_output.h"
#include "ma_retire.h"
#include "ma_text.h"
#include "tap.h"
#include "world.h"

static void finish_process(struct world *world, uint64_t key, uint64_t time)
{
    unsigned char payload[32], *p = mlf_put_vu(payload, time);
    p = mlf_put_vu(p, MLF_END_EXIT);
    p = mlf_put_vu(p, 0);
    feed(world, key, 0,
         (struct ma_event){
             .type = MA_EVENT_RECORD,
             .function = MLF_REC_PROCESS_END,
             .time = time,
             .record = payload,
             .size = (uint64_t)(p - payload),
         });
}

static struct ma_alloc_site *site(struct world *world, uint32_t process, uint32_t stack)
{
    return ma_account_site(world->replay.accounts[process], stack);
}

static void test_live_set_against_a_plain_one(void)
{
    enum { N = 4096 };
    static uint64_t sizes[N]; /* 0: not live */
    struct ma_heap heap = {0};
    struct ma_block block, former;
    size_t live = 0, wrong = 0;
    srandom(1);
    for (int i = 0; i < 400000; i++) {
        size_t k = (size_t)random() % N;
        uint64_t address = k * 16; /* 0 among them */
        if (random() % 5 < 3) {
            block = (struct ma_block){.address = address, .size = (uint64_t)i + 1};
            int taken = ma_heap_put(&heap, &block, &former);
            wrong += taken != (sizes[k] != 0) || (taken && former.size != sizes[k]);
            live += !taken;
            sizes[k] = (uint64_t)i + 1;
        } else {
            bool found = ma_heap_take(&heap, address, &block);
            wrong += found != (sizes[k] != 0) || (found && block.size != sizes[k]);
            live -= found;
            sizes[k] = 0;
        }
        wrong += heap.count != live;
    }
    CHECK(wrong == 0, "400,000 puts and takes do as a plain table does");
    CHECK(sizeof(struct ma_heap_entry) == 24 && sizeof(struct ma_heap_bucket) == 64,
          "24 bytes an entry, a cache line a bucket");
    ma_heap_free(&heap);
}

static void test_peak_and_reallocs(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    make(&world, 1, 1, 10, 0x1000, 123 * 8, 16);
    make(&world, 1, 1, 20, 0x2000, 100, 17);
    move(&world, 1, 1, 30, 0x1000, 0x3000, 123 * 16, 16);
    drop(&world, 1, 1, 40, 0x2000);
    move(&world, 1, 1, 50, 0x3000, 0x3000, 8, 18);
    const struct ma_totals *totals = &world.replay.totals;
    CHECK(world.replay.peak_bytes == 123 * 16 + 100 && world.replay.peak_blocks == 2,
          "the peak counts a moving block once, at its new size");
    CHECK(totals->allocations == 4 && totals->frees == 3 && totals->reallocations == 2,
          "a realloc makes a block and ends one");
    CHECK(totals->allocated_bytes - totals->freed_bytes == world.replay.live_bytes,
          "what was allocated and not freed is live");
    uint64_t bytes, blocks, sum = 0;
    for (uint32_t stack = 16; stack <= 18; stack++) {
        ma_replay_at_peak(&world.replay, world.replay.accounts[0], site(&world, 0, stack), &bytes,
                          &blocks);
        sum += bytes;
    }
    CHECK(sum == world.replay.peak_bytes, "the stacks at the peak add up to it");
    end(&world);
}

static void test_temporary(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    make(&world, 1, 1, 1, 0x1000, 8, 16);
    drop(&world, 1, 1, 2, 0x1000); /* temporary */
    make(&world, 1, 1, 3, 0x1000, 8, 16);
    make(&world, 1, 1, 4, 0x2000, 8, 16);
    drop(&world, 1, 1, 5, 0x1000); /* not: another came in between */
    make(&world, 1, 2, 6, 0x3000, 8, 16);
    drop(&world, 1, 2, 7, 0x2000); /* temporary, though freed by another thread */
    CHECK(world.replay.totals.temporary == 2, "temporary: freed before its thread's next one");
    end(&world);
}

static void test_what_does_not_fit(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    make(&world, 1, 1, 1000, 0x1000, 8, 16);
    make(&world, 1, 2, 2000, 0x1000, 50, 17); /* thread 1's free is stamped late */
    drop(&world, 1, 1, 2100, 0x1000);
    CHECK(world.trace.audit.order_repairs == 1 && world.trace.audit.unmatched_frees == 0,
          "a free just behind the reuse of its address is a repair");
    CHECK(world.replay.live_bytes == 50 && world.replay.totals.frees == 1,
          "and it ends the old block, not the new one");
    drop(&world, 1, 2, 3000, 0x1000);
    drop(&world, 1, 1, 4000, 0x9000);
    CHECK(world.replay.live_bytes == 0 && world.trace.audit.unmatched_frees == 1,
          "a free of an unknown block is unmatched");
    end(&world);
}

static void test_fork(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    make(&world, 1, 1, 10, 0x1000, 1000, 16);
    make(&world, 1, 1, 11, 0x2000, 100, 17);
    start_fork(&world, 2, 101, 1, 20);
    drop(&world, 2, 1, 30, 0x1000);         /* its copy */
    make(&world, 2, 1, 31, 0x1000, 70, 16); /* the child's own */
    move(&world, 2, 1, 32, 0x2000, 0x2000, 30, 17);
    drop(&world, 1, 1, 40, 0x2000);
    CHECK(world.trace.audit.unmatched_frees == 0 && world.trace.audit.order_repairs == 0,
          "a child may free and move what it inherited");
    CHECK(world.replay.live_bytes == 1000 + 70 + 30, "the parent still holds its blocks");
    CHECK(world.replay.totals.inherited_frees == 2 &&
              world.replay.totals.inherited_freed_bytes == 1100,
          "frees of inherited blocks are told apart");
    CHECK(world.replay.accounts[1]->live_bytes == 100, "the child leaks only its own blocks");
    finish_process(&world, 2, 50);
    make(&world, 1, 1, 60, 0x5000, 1, 18);
    CHECK(world.replay.live_bytes == 1001, "a process that ended has left the joint heap");
    CHECK(world.replay.accounts[1]->live_bytes == 100, "its leaks stay known");
    drop(&world, 2, 1, 61, 0x1000);
    drop(&world, 2, 1, 62, 0x2000);
    make(&world, 2, 1, 63, 0x7000, 5, 16);
    drop(&world, 2, 1, 64, 0x7000);
    finish_process(&world, 2, 65);
    make(&world, 1, 1, 66, 0x6000, 1, 18);
    drop(&world, 1, 1, 67, 0x6000);
    CHECK(!world.replay.accounts[1]->heap.nursery, "a process that left nothing keeps no table");
    make(&world, 2, 1, 68, 0x7000, 5, 16);
    drop(&world, 2, 1, 69, 0x7000);
    CHECK(!world.trace.audit.unmatched_frees, "and may come back");
    uint64_t bytes, blocks;
    ma_replay_at_peak(&world.replay, world.replay.accounts[1], site(&world, 1, 16), &bytes,
                      &blocks);
    CHECK(bytes == 70 && world.replay.peak_bytes == 1200,
          "the joint peak, %llu, holds what the child had",
          (unsigned long long)world.replay.peak_bytes);
    end(&world);
}

static void test_fork_amid_a_realloc(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    make(&world, 1, 2, 10, 0x1000, 1000, 16);
    feed(&world, 1, 2,
         (struct ma_event){.type = MA_EVENT_REALLOC_BEGIN, .time = 15, .old_address = 0x1000});
    start_fork(&world, 2, 101, 1, 20);
    feed(&world, 1, 2,
         (struct ma_event){
             .type = MA_EVENT_REALLOC,
             .time = 25,
             .begin = 15,
             .old_address = 0x1000,
             .address = 0x2000,
             .size = 2000,
             .usable = 2000,
             .stack = 17,
             .function = MLF_FN_realloc,
         });
    make(&world, 2, 1, 30, 0x1000, 70, 16);
    CHECK(world.trace.audit.order_repairs == 0,
          "what another thread moved during the fork may be free in the child");
    drop(&world, 2, 1, 31, 0x1000);
    CHECK(world.trace.audit.unmatched_frees == 0 && world.replay.live_bytes == 2000,
          "and its address is the child's own");
    make(&world, 1, 2, 40, 0x3000, 10, 16);
    start_fork(&world, 3, 102, 1, 50);
    make(&world, 3, 1, 60, 0x3000, 70, 16);
    CHECK(world.trace.audit.order_repairs == 1, "a block that nobody moved is the child's copy");
    end(&world);
}

/* A tree of processes told twice: to the replay, and as plain copies of what each
 * process has. */
struct nursery {
    struct world world;
    struct {
        bool alive, has[32];
    } of[12];
    uint64_t keys[12], n_keys, time;
};

static void fork_one(struct nursery *nursery, unsigned parent, unsigned child)
{
    nursery->of[child] = nursery->of[parent];
    nursery->keys[child] = ++nursery->n_keys;
    start_fork(&nursery->world, nursery->keys[child], 100 + nursery->n_keys, nursery->keys[parent],
               nursery->time);
    nursery->time++; /* it starts one later */
}

static void change_one(struct nursery *nursery, unsigned process, unsigned block)
{
    bool *has = &nursery->of[process].has[block];
    uint64_t address = 0x1000 * (block + 1);
    if (!*has)
        make(&nursery->world, nursery->keys[process], 1, nursery->time, address, 100, 16);
    else if (block % 4 == 0)
        move(&nursery->world, nursery->keys[process], 1, nursery->time, address, address, 90, 17);
    else
        drop(&nursery->world, nursery->keys[process], 1, nursery->time, address);
    *has = !*has || block % 4 == 0;
}

/* Parents must not keep more for their children as events go on: the first
 * process always has children, most of them short, and lives for ever. */
static void test_forks_against_plain_copies(void)
{
    const unsigned processes = 12, blocks = 32, turns = 1000000;
    struct nursery *nursery = calloc(1, sizeof *nursery);
    uint64_t unmatched = 0;
    size_t most = 0;
    bool agrees = true;
    begin(&nursery->world);
    nursery->of[0].alive = true;
    nursery->keys[0] = ++nursery->n_keys;
    start(&nursery->world, 1, 101, 0);
    srand(5);
    for (unsigned i = 0; i < turns && agrees; i++) {
        unsigned what = (unsigned)rand() % 100, a = (unsigned)rand() % processes;
        unsigned b = what == 2 ? 0 : (unsigned)rand() % processes;
        nursery->time += 2;
        if (nursery->of[b].alive && !nursery->of[a].alive && what < 3) {
            fork_one(nursery, b, a);
        } else if (a > 2 && nursery->of[a].alive && what == 4) {
            finish_process(&nursery->world, nursery->keys[a], nursery->time);
            nursery->of[a].alive = false;
        } else if (nursery->of[a].alive && what == 5) {
            unsigned block = (unsigned)rand() % blocks; /* freed twice: none of it must be left */
            if (nursery->of[a].has[block])
                continue;
            drop(&nursery->world, nursery->keys[a], 1, nursery->time, 0x1000 * (block + 1));
            unmatched++;
        } else if (nursery->of[a].alive) {
            change_one(nursery, a, (unsigned)rand() % blocks);
        }
        agrees = nursery->world.trace.audit.unmatched_frees == unmatched &&
                 !nursery->world.trace.audit.order_repairs;
        size_t kept = nursery->world.replay.accounts[0]->inherits.n_ended;
        most = kept > most ? kept : most;
    }
    CHECK(agrees && nursery->n_keys > 5000 && unmatched > 100,
          "%llu processes have what plain copies have, at %llu",
          (unsigned long long)nursery->n_keys, (unsigned long long)nursery->time);
    CHECK(most > 1000 && most < 10000, "a parent keeps no more than its children need: %zu", most);
    end(&nursery->world);
    free(nursery);
}

static void test_timeline_is_bounded_and_keeps_the_peak(void)
{
    struct world world;
    begin(&world);
    struct ma_timeline *timeline = ma_timeline_new();
    ma_observers_add(&world.replay.observers, &timeline->observer);
    start(&world, 1, 100, 0);
    for (uint64_t i = 1; i < 20000; i++) {
        uint64_t address = 0x10000 + i * 0x1000;
        make(&world, 1, 1, i * 5000, address, i == 7777 ? 1000000 : i % 97, 16 + i % 700);
        drop(&world, 1, 1, i * 5000 + 100, address);
    }
    make(&world, 1, 1, 200000000, 0x1000, 321, 16);
    ma_replay_finish(&world.replay);
    uint64_t most = 0;
    bool rising = true;
    for (size_t i = 0; i < timeline->n_points; i++) {
        most = timeline->points[i].bytes > most ? timeline->points[i].bytes : most;
        rising &= !i || timeline->points[i].ticks >= timeline->points[i - 1].ticks;
    }
    CHECK(timeline->n_points <= MA_POINTS && timeline->n_points > 250,
          "20,000 moments in %zu points", timeline->n_points);
    CHECK(most == 1000000 && most == world.replay.peak_bytes, "the peak is one of them");
    CHECK(timeline->points[timeline->n_points - 1].bytes == 321, "and the end is");
    CHECK(rising, "times rise");
    CHECK(timeline->n_candidates <= MA_CANDIDATES, "candidates are bounded");
    uint64_t stack_most = 0;
    for (size_t i = 0; i < timeline->n_candidates; i++) {
        const struct ma_candidate *candidate = &timeline->candidates[i];
        if (candidate->account->stacks[candidate->site] == 16 + 7777 % 700)
            stack_most = candidate->most;
    }
    CHECK(stack_most == 1000000, "the stack that made the peak is a candidate with its bytes");
    ma_timeline_free(timeline);
    end(&world);
}

static void test_clock(void)
{
    struct ma_trace trace;
    ma_trace_init(&trace);
    struct ma_process *process = ma_trace_process(&trace, 1);
    struct ma_process_record record = {
        .start = 1000,
        .clock = MLF_CLOCK_TSC,
        .tick_shift = 4,
        .counts_per_second = 3200000000u,
    };
    ma_process_define(&trace, process, &record);
    CHECK(ma_clock_ns(&trace, process, 1000 + 200000000) == 1000000000,
          "200 million ticks of 16 counts at 3.2 GHz are a second");
    CHECK(ma_clock_ns(&trace, process, 0) == 0, "before the start is the start");
    CHECK(ma_clock_ns(&trace, process, UINT64_MAX) > 0, "no time overflows");
    bool guessed;
    process->record.counts_per_second = 0;
    CHECK(ma_clock_rate(process, &guessed) == 1000000000 && guessed, "an unknown rate is a guess");
    process->clock_ticks = 1000 + 200000007;
    process->clock_ns = 1000000000;
    CHECK(ma_clock_rate(process, &guessed) == 3200000112u && !guessed,
          "a CLOCK record tells the rate: 16 counts to a tick, in a second");
    process->record.tick_shift = 63;
    process->clock_ticks = 1000 + (UINT64_C(1) << 63);
    process->clock_ns = UINT64_C(1) << 63;
    CHECK(ma_clock_rate(process, &guessed) == (UINT64_C(1) << 32) * 1000000000 && !guessed,
          "what a trace claims of shifts and times does not make the rate wrap");
    process->clock_ns = 1;
    CHECK(ma_clock_rate(process, &guessed) == 1000000000 && guessed,
          "a rate that no number holds is a guess");
    ma_trace_free(&trace);
}

static void test_labels(void)
{
    CHECK(ma_label_is_wrapper("operator new(unsigned long)") && ma_label_is_wrapper("xmalloc") &&
              ma_label_is_wrapper("sqlite3MemMalloc") && ma_label_is_wrapper("g_malloc0") &&
              ma_label_is_wrapper("std::vector<int>::_M_realloc_insert"),
          "wrappers are known");
    CHECK(!ma_label_is_wrapper("main") && !ma_label_is_wrapper("leak_malloc") &&
              !ma_label_is_wrapper("sqlite3Step"),
          "other functions are not taken for wrappers");
    CHECK(ma_label_is_wrapper("<T as alloc::vec::spec_from_elem::SpecFromElem>::from_elem") &&
              ma_label_is_wrapper("<u8 as alloc::slice::hack::ConvertVec>::to_vec") &&
              ma_label_is_wrapper("<alloc::vec::Vec<T> as core::clone::Clone>::clone") &&
              ma_label_is_wrapper("<T as core::convert::Into<U>>::into") &&
              !ma_label_is_wrapper("<shop::Till as core::fmt::Display>::fmt") &&
              !ma_label_is_wrapper("<shop::Till as shop::Open>::open"),
          "what Rust's library does for all types, not what a type does itself");
    struct ma_frame frames[] = {{.function = "xmalloc"}, {.function = "load"}};
    CHECK(ma_label_frame(frames, 2) == 1 && ma_label_frame(frames, 1) == 0,
          "the label is the first frame that is none, or the first");
    struct ma_frame stripped[] = {{.function = "xmalloc"},
                                  {.function = NULL},
                                  {.function = NULL},
                                  {.function = "__libc_start_call_main"}};
    CHECK(ma_label_frame(stripped, 4) == 1 && ma_label_frame(stripped + 2, 2) == 0 &&
              ma_label_frame(stripped + 3, 1) == 0,
          "a frame without a name tells more than where every program begins");
    stripped[2].function = "load";
    CHECK(ma_label_frame(stripped, 4) == 2, "and less than a function's name");
    struct ma_frame generated[] = {
        {.function = "malloc", .module = "/lib/libc.so.6"},
        {.function = "list_resize", .module = "/usr/bin/python3", .executable = true},
        {.function = "py::load:<frozen importlib._bootstrap>"},
        {.function = "py::dump:/usr/lib/python3.12/json/__init__.py"},
        {.function = "Builtin:ArrayPush"},
        {.function = "JS:*open node:fs:12"},
        {.function = NULL},
        {.function = "py::caf\u00e9:/srv/app.py"},
        {.function = "main", .module = "/usr/bin/python3", .executable = true},
    };
    CHECK(ma_label_own_frame(generated, 9) == 7,
          "generated code is the program's own, before an interpreter's, unless it is a runtime's");
    CHECK(ma_label_own_frame(generated, 7) == 1, "without any of its own it is the interpreter's");
    generated[3].function = "py::dump:/usr/lib/python3/dist-packages/shop.py";
    CHECK(ma_label_own_frame(generated, 9) == 3, "packages are the user's");
    generated[1].module = generated[8].module = "/srv/game";
    CHECK(ma_label_own_frame(generated, 9) == 1, "in a program of the user's the innermost counts");
    CHECK(ma_label_own_frame(generated + 4, 5) == 3, "also without an executable's");
}

/* True if a text has so many columns, and is written like this in `room` of them. */
static bool is_cut(const char *text, size_t columns, size_t room, const char *wanted)
{
    char *shown = NULL;
    size_t size;
    FILE *out = open_memstream(&shown, &size);
    const size_t n = ma_write_text(out, text, room);
    fclose(out);
    const bool same = strcmp(shown, wanted) == 0 && n == ma_text_columns(wanted) && n <= room &&
                      ma_text_columns(text) == columns;
    if (!same)
        printf("# %zu columns: '%s' in %zu of %zu\n", ma_text_columns(text), shown, n, room);
    free(shown);
    return same;
}

static void test_columns(void)
{
    CHECK(is_cut("abc", 3, 3, "abc") && is_cut("abcd", 4, 3, "ab…") && is_cut("", 0, 3, "") &&
              is_cut("abc", 3, 0, ""),
          "a text is cut to its room");
    CHECK(is_cut("漢字", 4, 4, "漢字") && is_cut("漢字", 4, 3, "漢…") &&
              is_cut("漢字x", 5, 4, "漢…") && is_cut("한글か", 6, 6, "한글か") &&
              is_cut("ＡＢ", 4, 9, "ＡＢ") && is_cut("😀a", 3, 3, "😀a"),
          "wide characters have two columns");
    CHECK(is_cut("e\xcc\x81t\xcc\x81x", 3, 3, "e\xcc\x81t\xcc\x81x") &&
              is_cut("naïve µs █", 10, 10, "naïve µs █"),
          "accents of their own have none, other letters one");
    CHECK(is_cut("a\xff", 5, 5, "a\\xff") && is_cut("a\xff", 5, 4, "a…") &&
              is_cut("\n\tb", 5, 5, "\\n\\tb") && is_cut("\xe2\x80\xae", 12, 11, "…") &&
              is_cut("\x1b[1m", 7, 9, "\\x1b[1m"),
          "escaped bytes have four and are not cut");
}

/* The output of a writer, as a string to free. */
static char *written(void (*write)(FILE *out, const char *text), const char *text)
{
    char *result = NULL;
    size_t size;
    FILE *out = open_memstream(&result, &size);
    write(out, text);
    fclose(out);
    return result;
}

static void write_plain(FILE *out, const char *text)
{
    ma_write_text(out, text, 1000);
}

static void write_narrow(FILE *out, const char *text)
{
    ma_write_text(out, text, 4);
}

static bool writes(void (*write)(FILE *, const char *), const char *text, const char *expected)
{
    char *got = written(write, text);
    bool same = strcmp(got, expected) == 0;
    if (!same)
        printf("# got %s\n", got);
    free(got);
    return same;
}

static void test_text(void)
{
    char buffer[MA_HUMAN_SIZE];
    CHECK(strcmp(ma_human_bytes(buffer, 1023), "1023 B") == 0 &&
              strcmp(ma_human_bytes(buffer, 1258291), "1.20 MiB") == 0 &&
              strcmp(ma_human_bytes(buffer, UINT64_MAX), "16.0 EiB") == 0,
          "bytes");
    CHECK(strcmp(ma_human_count(buffer, 1234567), "1,234,567") == 0 &&
              strcmp(ma_human_count(buffer, 999), "999") == 0,
          "counts");
    CHECK(writes(write_plain, "a\033[31m\n\x9b\xff é", "a\\x1b[31m\\n\\x9b\\xff é"),
          "a terminal is told no control characters");
    CHECK(writes(write_plain, "\xc2\x9b\xe2\x80\xae", "\\xc2\\x9b\\xe2\\x80\\xae"),
          "nor those in UTF-8");
    CHECK(writes(write_narrow, "abcdef", "abc…") && writes(write_narrow, "äöüé", "äöüé"),
          "long text ends in an ellipsis");
    CHECK(writes(ma_write_json_string, "\"\\\x01\xff\xed\xa0\x80",
                 "\"\\\"\\\\\\u0001\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""),
          "JSON strings are well-formed");
}

static void test_output(void)
{
    struct ma_error error = {0};
    struct ma_output output;
    char path[] = "/tmp/mlog-output-XXXXXX";
    int fd = mkstemp(path);
    close(fd);
    CHECK(ma_output_open(&output, path, &error) == 0, "an output opens");
    fputs("whole", output.file);
    ma_output_discard(&output);
    FILE *file = fopen(path, "r");
    CHECK(fgetc(file) == EOF, "what is given up leaves the file as it was");
    fclose(file);
    ma_output_open(&output, "/dev/full", &error);
    fputs("whole", output.file);
    CHECK(ma_output_commit(&output, &error) < 0 && strstr(error.message, "No space left"),
          "a full disk is told");
    unlink(path);
}

/* The signal that ends a process that builds the rows of an empty trace so often; 0
 * if none does. */
static int signal_of_rows(bool retires, unsigned times)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct ma_analysis analysis = {0};
        struct ma_error error = {0};
        ma_trace_init(&analysis.trace);
        ma_replay_init(&analysis.replay, &analysis.trace);
        analysis.retire = retires ? ma_retire_new(&analysis) : NULL;
        close(STDERR_FILENO);
        for (unsigned i = 0; i < times; i++)
            if (ma_analysis_rows(&analysis, &error) < 0)
                _exit(1);
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) ? -1 : 0;
}

/* GIVEN an analysis that retires processes; WHEN its rows are built a second time; THEN
 * an assertion ends it. Without retiring, rows may be built as often as one likes. */
static void test_rows_of_retired_are_built_once(void)
{
    CHECK(signal_of_rows(false, 3) == 0, "rows are built anew");
    CHECK(signal_of_rows(true, 1) == 0, "rows of retired processes are built");
#ifndef NDEBUG
    CHECK(signal_of_rows(true, 2) == SIGABRT, "but once only");
#endif
}

int main(void)
{
    test_live_set_against_a_plain_one();
    test_peak_and_reallocs();
    test_temporary();
    test_what_does_not_fit();
    test_fork();
    test_fork_amid_a_realloc();
    test_forks_against_plain_copies();
    test_timeline_is_bounded_and_keeps_the_peak();
    test_clock();
    test_labels();
    test_columns();
    test_text();
    test_output();
    test_rows_of_retired_are_built_once();
    return TAP_DONE();
}
