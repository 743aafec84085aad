/* SPDX-License-Identifier: MIT
 *
 * Decoding ahead: what comes out of a lane is what the decoder alone gives,
 * batch for batch, however far the worker got; a batch in hand is left alone;
 * and a feed with a lane sees what one without sees, of a piece that is being
 * written too. With a single processor there is no worker.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ma_feed.h"
#include "tap.h"

enum { PIECE = 20000, ROOM = PIECE * 4 + 4096, PIECES = 6 };

static const struct ma_process *process_of(struct ma_trace *trace)
{
    return ma_trace_process(trace, 1);
}

/* n FREEs, each with an address of its own a tick later, as it says itself; from
 * number `first` on. Returns the bytes. */
static size_t write_frees(unsigned char *at, size_t n, uint64_t first)
{
    const unsigned char *begin = at;
    for (size_t i = 0; i < n; i++) {
        *at++ = MLF_EV_FREE | MLF_ADDR_DELTA;
        at = mlf_put_vu(at, mlf_zigzag((int64_t)(first + i ? 1 : 0)));
        at = mlf_put_vu(at, 1);
    }
    return (size_t)(at - begin);
}

struct piece {
    unsigned char bytes[ROOM];
    size_t size, n;
    struct ma_decoder decoder;
    struct ma_lane *lane;
    uint64_t next; /* number of the next event */
    bool ended;
};

/* n events and a tail: nothing, a cut item or a bad one. */
static void begin_piece(struct piece *piece, const struct ma_process *process, size_t n,
                        const char *tail)
{
    memset(piece->bytes, 0, sizeof piece->bytes);
    piece->size = write_frees(piece->bytes, n, 0);
    memcpy(piece->bytes + piece->size, tail, strlen(tail));
    piece->size += strlen(tail);
    piece->n = n;
    piece->next = 0;
    piece->ended = false;
    ma_decoder_begin(&piece->decoder, process, 0);
    ma_decoder_piece(&piece->decoder, piece->bytes, piece->size);
}

/* True if these are the events from number `from` on. */
static bool are_events(const struct ma_event *events, size_t n, uint64_t from)
{
    for (size_t i = 0; i < n; i++) {
        if (events[i].type != MA_EVENT_FREE || events[i].time != from + i + 1 ||
            events[i].address != 16 * (from + i))
            return false;
    }
    return true;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* Until the worker is as far as it can get: nothing came for a while. */
static size_t let_it_fill(struct ma_lane *lane)
{
    size_t before = ma_lane_waiting(lane);
    for (int quiet = 0; quiet < 20; quiet++) {
        nap();
        size_t now = ma_lane_waiting(lane);
        if (now != before)
            quiet = 0;
        before = now;
    }
    return before;
}

static bool take_batch(struct piece *piece, enum ma_decode_status *status)
{
    struct ma_batch batch = ma_lane_take(piece->lane);
    bool good = are_events(batch.events, batch.n, piece->next);
    piece->next += batch.n;
    *status = batch.status;
    piece->ended = batch.status != MA_DECODE_MORE;
    return good;
}

static void test_lanes_give_what_decoders_give(struct ma_lanes *lanes,
                                               const struct ma_process *process)
{
    static struct piece pieces[PIECES];
    static const char *const tails[] = {"", "\xbf\x01", "\xbe\x01"};
    static const enum ma_decode_status ends[] = {MA_DECODE_END, MA_DECODE_BAD, MA_DECODE_CUT};
    size_t wrong = 0, none = 0, rounds = 60;
    srandom(2);
    for (size_t round = 0; round < rounds && !wrong; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            begin_piece(&pieces[i], process, (size_t)random() % PIECE, tails[i % 3]);
            pieces[i].lane = ma_lane_open(lanes, &pieces[i].decoder);
            none += !pieces[i].lane;
        }
        /* In any order; one is given up in its middle. */
        for (size_t left = PIECES; left;) {
            struct piece *piece = &pieces[(size_t)random() % PIECES];
            enum ma_decode_status status = MA_DECODE_MORE;
            if (piece->lane && !piece->ended && random() % 200) {
                wrong += !take_batch(piece, &status);
                wrong += piece->ended &&
                         (status != ends[(piece - pieces) % 3] || piece->next != piece->n);
            } else if (piece->lane) {
                ma_lane_close(piece->lane);
                piece->lane = NULL;
            }
            left = 0;
            for (size_t i = 0; i < PIECES; i++)
                left += pieces[i].lane != NULL;
        }
    }
    CHECK(!wrong, "lanes give the events of their pieces, in order, and how they end");
    CHECK(none == rounds * (PIECES - 4), "there are four lanes");
}

static void test_a_batch_in_hand_is_left_alone(struct ma_lanes *lanes,
                                               const struct ma_process *process)
{
    static struct piece piece;
    size_t wrong = 0, most = 0, unequal = 0;
    begin_piece(&piece, process, PIECE, "");
    piece.lane = ma_lane_open(lanes, &piece.decoder);
    most = let_it_fill(piece.lane);
    while (!piece.ended) {
        uint64_t from = piece.next;
        struct ma_batch batch = ma_lane_take(piece.lane);
        piece.next += batch.n;
        piece.ended = batch.status != MA_DECODE_MORE;
        size_t waiting = let_it_fill(piece.lane);
        most = waiting > most ? waiting : most;
        wrong += !are_events(batch.events, batch.n, from);
        uint64_t at = piece.next;
        for (size_t i = 0; i < waiting; i++) {
            const struct ma_batch *peek = ma_lane_peek(piece.lane, i);
            unequal += !are_events(peek->events, peek->n, at);
            at += peek->n;
        }
    }
    CHECK(!wrong && piece.next == PIECE, "a batch in hand stays while the worker goes on");
    CHECK(!unequal && most >= 4, "up to %zu batches wait behind it, to be looked at", most);
    ma_lane_close(piece.lane);
}

static void test_a_pause(struct ma_lanes *lanes, const struct ma_process *process)
{
    static struct piece piece;
    enum ma_decode_status status;
    size_t moved = 0, wrong = 0;
    for (int round = 0; round < 30; round++) {
        begin_piece(&piece, process, PIECE / 4, "");
        piece.lane = ma_lane_open(lanes, &piece.decoder); /* the worker wakes up */
        while (!piece.ended) {
            ma_lane_pause(piece.lane);
            size_t waiting = ma_lane_waiting(piece.lane);
            const unsigned char *at = piece.decoder.cursor.at;
            for (int i = 0; i < 3; i++)
                nap();
            moved += waiting != ma_lane_waiting(piece.lane) || at != piece.decoder.cursor.at;
            ma_lane_resume(piece.lane);
            wrong += !take_batch(&piece, &status);
        }
        wrong += piece.next != PIECE / 4;
        ma_lane_close(piece.lane);
    }
    CHECK(!moved && !wrong, "nothing is decoded during a pause");
}

/* The decoder and its payload are the caller's again when the last batch was taken,
 * and when the lane was closed in the midst of it. */
static void test_decoders_are_given_back(struct ma_lanes *lanes, const struct ma_process *process)
{
    static struct piece piece;
    enum ma_decode_status status;
    size_t touched = 0;
    for (int round = 0; round < 30; round++) {
        begin_piece(&piece, process, (size_t)round * 100, "");
        memset(piece.bytes + piece.size, 0, 3000);
        ma_decoder_piece(&piece.decoder, piece.bytes, piece.size + 3000);
        piece.lane = ma_lane_open(lanes, &piece.decoder);
        while (!piece.ended)
            touched += !take_batch(&piece, &status);
        write_frees(piece.bytes + piece.size, 1000, piece.n);
        for (int i = 0; i < 5; i++)
            nap();
        touched += piece.decoder.cursor.at != piece.bytes + piece.size;
        ma_lane_close(piece.lane);
    }
    CHECK(!touched, "what is written behind the end is not the worker's to read");
    for (int round = 0; round < 60; round++) {
        begin_piece(&piece, process, PIECE, "");
        piece.lane = ma_lane_open(lanes, &piece.decoder);
        let_it_fill(piece.lane);
        for (int i = 0; i < 5; i++)
            touched += !take_batch(&piece, &status);
        ma_lane_close(piece.lane);
        struct ma_decoder before = piece.decoder;
        for (int i = 0; i < 5; i++)
            nap();
        touched += memcmp(&before, &piece.decoder, sizeof before) != 0;
    }
    CHECK(!touched, "nor is a piece whose lane was closed");
}

/* A feed with one piece of n events in a payload that has room for more. */
static struct ma_feed *new_feed(struct ma_trace *trace, struct ma_decoding *shared,
                                unsigned char *bytes, size_t n)
{
    struct ma_process *process = ma_trace_process(trace, 1);
    struct ma_feed *feed = ma_feed_new(trace, process, 1, MLF_EVENTS, shared);
    memset(bytes, 0, ROOM);
    write_frees(bytes, n, 0);
    struct ma_chunk chunk = {
        .payload = bytes, .size = ROOM, .process = 1, .stream = 1, .kind = MLF_EVENTS};
    feed->whole_chunks = true;
    if (ma_feed_enqueue(feed, &chunk, false) < 0)
        abort();
    return feed;
}

/* All heads there are; whether they are the events from *next on. */
static bool take_heads(struct ma_feed *feed, bool keep_open, uint64_t *next)
{
    size_t released;
    bool good = true;
    while (ma_feed_refill(feed, keep_open, &released) == 0 && ma_feed_head(feed)) {
        good &= are_events(feed->events + feed->at, feed->n - feed->at, *next);
        *next += feed->n - feed->at;
        ma_feed_pop(feed, feed->n - feed->at);
    }
    return good;
}

static void test_feeds(struct ma_trace *trace, struct ma_lanes *lanes)
{
    static unsigned char bytes[ROOM], others[PIECES][ROOM];
    for (int with = 0; with < 2; with++) {
        struct ma_decoding shared = {.lanes = with ? lanes : NULL};
        const size_t n = 3000, more = 1700;
        size_t released;
        uint64_t next = 0;
        struct ma_feed *feed = new_feed(trace, &shared, bytes, n);
        bool last = ma_feed_last_time(feed) == n;
        ma_feed_refill(feed, true, &released);
        last &= ma_feed_last_time(feed) == n;
        if (feed->lane)
            let_it_fill(feed->lane);
        last &= ma_feed_last_time(feed) == n;
        CHECK(last && (feed->lane != NULL) == with,
              "the latest time is that of the latest event, %s", with ? "in a lane" : "without");
        bool good = take_heads(feed, true, &next) && next == n && feed->active;
        write_frees(bytes + 3 * n, more, n);
        last = ma_feed_last_time(feed) == n + more;
        good &= take_heads(feed, true, &next) && next == n + more && feed->active && !feed->lane;
        good &= take_heads(feed, false, &next) && next == n + more && !feed->active;
        CHECK(last && good, "what is written to a piece later is seen and read, %s",
              with ? "with a lane" : "without");
        CHECK(!feed->lane, "and the lane is free again");
        ma_feed_free(feed);
    }
    struct ma_decoding shared = {.lanes = lanes};
    struct ma_feed *feeds[PIECES];
    size_t released, have = 0;
    for (size_t i = 0; i < PIECES; i++) {
        feeds[i] = new_feed(trace, &shared, others[i], 5000);
        ma_feed_refill(feeds[i], false, &released);
        have += feeds[i]->lane != NULL;
    }
    bool good = true;
    for (size_t i = 0; i < PIECES; i++) {
        uint64_t next = 0;
        if (i % 2)
            good &= take_heads(feeds[i], false, &next) && next == 5000;
        ma_feed_free(feeds[i]); /* one of two in its middle */
    }
    CHECK(good && have == 4, "more feeds than lanes decode too");
}

static void test_one_processor(void)
{
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    struct ma_lanes *lanes = ma_lanes_start();
    CHECK(!lanes, "with one processor there is no worker");
    CHECK(!ma_lane_open(lanes, NULL), "and no lane");
    ma_lanes_stop(lanes);
    sched_setaffinity(0, sizeof all, &all);
}

int main(void)
{
    struct ma_trace trace;
    ma_trace_init(&trace);
    test_one_processor();
    struct ma_lanes *lanes = ma_lanes_start();
    if (lanes) { /* there are two processors */
        test_lanes_give_what_decoders_give(lanes, process_of(&trace));
        test_a_batch_in_hand_is_left_alone(lanes, process_of(&trace));
        test_a_pause(lanes, process_of(&trace));
        test_decoders_are_given_back(lanes, process_of(&trace));
        test_feeds(&trace, lanes);
    }
    ma_lanes_stop(lanes);
    ma_trace_free(&trace);
    return TAP_DONE();
}
