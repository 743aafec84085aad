/* SPDX-License-Identifier: MIT
 *
 * Feeds; see ma_feed.h.
 */
#include "ma_feed.h"

#include <errno.h>
#include <string.h>

#define SORTED_MAX 4096 /* pieces in the queue before which one that comes late can go */

/* A timed record of a definitions chunk: its payload will not stay, so it is
 * copied. */
static int add_timed(void *context, const struct ma_event *event)
{
    struct ma_feed *feed = context;
    if (feed->at == feed->n)
        feed->at = feed->n = 0;
    if (!MA_RESERVE(feed->buffer, feed->n, feed->event_capacity))
        return -ENOMEM;
    feed->events = feed->buffer;
    struct ma_event copy = *event;
    if (copy.type == MA_EVENT_RECORD) {
        unsigned char *payload = malloc(copy.size + 1);
        if (!payload)
            return -ENOMEM;
        memcpy(payload, event->record, copy.size);
        copy.record = payload;
    }
    feed->events[feed->n++] = copy;
    return 0;
}

struct ma_feed *ma_feed_new(struct ma_trace *trace, struct ma_process *process, uint32_t number,
                            unsigned kind, struct ma_decoding *shared)
{
    struct ma_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return NULL;
    feed->process = process;
    feed->audit = &trace->audit;
    feed->shared = shared;
    feed->number = number;
    feed->kind = (uint8_t)kind;
    feed->fill = (struct ma_fill){.process = process, .stream = number, .kind = kind};
    if (kind == MLF_DEFINITIONS) {
        ma_definer_init(&feed->definer, trace, process, add_timed, feed);
    } else {
        feed->stream = feed->own = ma_trace_stream(trace, process, number);
        if (!feed->stream) {
            free(feed);
            return NULL;
        }
    }
    return feed;
}

static void close_lane(struct ma_feed *feed)
{
    if (feed->lane)
        ma_lane_close(feed->lane);
    feed->lane = NULL;
}

static void release_piece(struct ma_piece *piece)
{
    if (piece->owned)
        free((void *)(uintptr_t)piece->payload);
}

void ma_feed_free(struct ma_feed *feed)
{
    if (!feed)
        return;
    close_lane(feed);
    while (feed->kind == MLF_DEFINITIONS && feed->at < feed->n)
        ma_feed_pop(feed, 1);
    for (size_t i = feed->queue_at; i < feed->n_queue; i++)
        release_piece(&feed->queue[i]);
    if (feed->active)
        release_piece(&feed->piece);
    if (feed->kind == MLF_DEFINITIONS)
        ma_definer_free(&feed->definer);
    free(feed->queue);
    free(feed->decoder);
    free(feed->buffer);
    free(feed);
}

void ma_feed_pop(struct ma_feed *feed, size_t n)
{
    struct ma_event *event = &feed->events[feed->at];
    feed->at += n;
    if (feed->kind == MLF_DEFINITIONS && event->type == MA_EVENT_RECORD)
        free((void *)(uintptr_t)event->record);
}

/* No piece of the chunk at hand can follow: the next chunk begins anew. */
static void drop_decoder(struct ma_feed *feed)
{
    free(feed->decoder);
    feed->decoder = NULL;
    feed->begun = false;
    feed->shared->decoders--;
}

void ma_feed_forget(struct ma_feed *feed)
{
    if (feed->active || feed->at < feed->n || feed->queue_at < feed->n_queue)
        return;
    if (feed->decoder)
        drop_decoder(feed);
    free(feed->queue);
    feed->queue = NULL;
    feed->queue_at = feed->n_queue = feed->queue_capacity = 0;
    if (feed->kind != MLF_DEFINITIONS)
        return;
    free(feed->buffer);
    feed->buffer = feed->events = NULL;
    feed->at = feed->n = feed->event_capacity = 0;
    ma_definer_forget(&feed->definer);
}

/* True if `sequence` was missing; it is no longer. */
static bool fill_gap(struct ma_feed *feed, uint32_t sequence)
{
    for (unsigned i = 0; i < feed->n_gaps; i++) {
        uint32_t from = feed->gaps[i].from, to = feed->gaps[i].to;
        if (sequence < from || sequence >= to)
            continue;
        feed->gaps[i] = feed->gaps[--feed->n_gaps];
        if (from < sequence && feed->n_gaps < MA_GAPS) {
            feed->gaps[feed->n_gaps].from = from;
            feed->gaps[feed->n_gaps++].to = sequence;
        }
        if (sequence + 1 < to && feed->n_gaps < MA_GAPS) {
            feed->gaps[feed->n_gaps].from = sequence + 1;
            feed->gaps[feed->n_gaps++].to = to;
        }
        return true;
    }
    return false;
}

enum ma_arrival ma_feed_arrive(struct ma_feed *feed, const struct ma_chunk *chunk)
{
    uint32_t end = chunk->position + (uint32_t)chunk->size;
    if (chunk->sequence >= feed->next_sequence) {
        if (chunk->position)
            return MA_ARRIVED; /* its first piece is missing: the decoder says so */
        if (chunk->sequence > feed->next_sequence) {
            feed->audit->missing_chunks += chunk->sequence - feed->next_sequence;
            if (feed->n_gaps < MA_GAPS) {
                feed->gaps[feed->n_gaps].from = feed->next_sequence;
                feed->gaps[feed->n_gaps++].to = chunk->sequence;
            }
        }
        feed->next_sequence = chunk->sequence + 1;
        feed->end_position = end;
        return MA_ARRIVED;
    }
    if (chunk->position == 0 && fill_gap(feed, chunk->sequence)) {
        feed->audit->missing_chunks--;
        return MA_ARRIVED;
    }
    bool newest = chunk->sequence + 1 == feed->next_sequence;
    if (chunk->position && !newest)
        return MA_ARRIVED; /* of an older chunk: the decoder knows if it fits */
    if (chunk->position < feed->end_position || !newest) {
        feed->audit->duplicate_chunks++;
        ma_audit_skip(feed->audit, chunk->offset,
                      chunk->payload_offset + chunk->size - chunk->offset, "a chunk seen before");
        return MA_DUPLICATE;
    }
    feed->end_position = end;
    return MA_ARRIVED;
}

static bool before(const struct ma_piece *a, const struct ma_piece *b)
{
    return a->sequence != b->sequence ? a->sequence < b->sequence : a->position < b->position;
}

int ma_feed_enqueue(struct ma_feed *feed, const struct ma_chunk *chunk, bool copy)
{
    struct ma_piece piece = {
        .payload = chunk->payload,
        .size = chunk->size,
        .header = chunk->offset,
        .offset = chunk->payload_offset,
        .base_time = chunk->base_time,
        .sequence = chunk->sequence,
        .position = chunk->position,
        .cut = chunk->cut,
        .owned = copy,
    };
    if (feed->queue_at && feed->n_queue == feed->queue_capacity) {
        feed->n_queue -= feed->queue_at;
        memmove(feed->queue, feed->queue + feed->queue_at, feed->n_queue * sizeof *feed->queue);
        feed->queue_at = 0;
    }
    if (!MA_RESERVE(feed->queue, feed->n_queue, feed->queue_capacity))
        return -ENOMEM;
    if (copy) {
        unsigned char *payload = malloc(chunk->size + 1);
        if (!payload)
            return -ENOMEM;
        memcpy(payload, chunk->payload, chunk->size);
        piece.payload = payload;
    }
    /* Not farther: chunks in reversed order would take time by the square of their number. */
    size_t i = feed->n_queue++, farthest = i > SORTED_MAX ? i - SORTED_MAX : 0;
    for (; i > feed->queue_at && i > farthest && before(&piece, &feed->queue[i - 1]); i--)
        feed->queue[i] = feed->queue[i - 1];
    feed->queue[i] = piece;
    return 0;
}

void ma_feed_end_definitions(struct ma_feed *feed, bool stays)
{
    struct ma_definer *definer = &feed->definer;
    const struct ma_cursor *cursor = &definer->cursor;
    if (feed->whole_chunks && cursor->at && definer->open && !definer->cut)
        ma_fill_found(&feed->fill, feed->audit,
                      &(struct ma_filled_chunk){
                          .payload = cursor->end - definer->position,
                          .size = definer->position,
                          .used = definer->position - (size_t)(cursor->end - cursor->at),
                          .offset = definer->offset - definer->position,
                          .sequence = definer->sequence,
                      },
                      stays);
    definer->cursor = (struct ma_cursor){0};
}

/* A chunk of a stream trace follows the one of number `before`, of which pieces up to
 * `position` came: it may say that there were more. */
static void check_end(struct ma_feed *feed, uint32_t sequence, uint32_t before, uint32_t position,
                      const unsigned char *payload, size_t size)
{
    struct ma_told told;
    if (sequence == before + 1 &&
        ma_fill_of_former(feed->number, feed->kind, sequence, payload, size, &told))
        feed->audit->missing_chunks += position < told.bytes;
}

int ma_feed_define(struct ma_feed *feed, const struct ma_chunk *chunk, bool stays)
{
    ma_feed_end_definitions(feed, stays);
    if (feed->whole_chunks)
        ma_fill_follow(&feed->fill, feed->audit, feed->number, feed->kind, chunk->sequence,
                       chunk->payload, chunk->size);
    else if (chunk->position == 0 && feed->definer.open)
        check_end(feed, chunk->sequence, feed->definer.sequence, (uint32_t)feed->definer.position,
                  chunk->payload, chunk->size);
    int result = ma_definer_chunk(&feed->definer, chunk);
    if (!stays)
        ma_feed_end_definitions(feed, stays);
    return result;
}

/* A piece that does not fit behind what was decoded. One that begins before that
 * came twice, which does no harm to those behind it. */
static void skip_piece(struct ma_feed *feed, const struct ma_piece *piece)
{
    bool again =
        feed->begun && feed->sequence == piece->sequence && piece->position < feed->position;
    feed->audit->duplicate_chunks += again;
    feed->broken |= feed->begun && feed->sequence == piece->sequence && !again;
    ma_audit_skip(feed->audit, piece->header, piece->offset + piece->size - piece->header, "%s",
                  again ? "a chunk seen before" : "a piece whose predecessor is missing or bad");
}

uint64_t ma_feed_missing(struct ma_feed *feed)
{
    const struct ma_fill *fill = &feed->fill;
    const struct ma_told *said = &fill->said;
    if (feed->whole_chunks || !said->bytes || said->sequence >= feed->next_sequence)
        return ma_fill_finish(&feed->fill, feed->audit, feed->next_sequence);
    return said->sequence + 1 == feed->next_sequence && feed->end_position < said->bytes;
}

/* Make the first queued piece the active one. Returns 1, or 0 if it was no use,
 * or -ENOMEM. */
static int start_piece(struct ma_feed *feed, size_t *released)
{
    struct ma_piece piece = feed->queue[feed->queue_at++];
    if (feed->queue_at == feed->n_queue)
        feed->queue_at = feed->n_queue = 0;
    if (!feed->decoder) {
        feed->decoder = malloc(sizeof *feed->decoder);
        feed->shared->decoders += feed->decoder != NULL;
    }
    if (!feed->buffer)
        feed->buffer = malloc(MA_BATCH * sizeof *feed->buffer);
    if (!feed->decoder || !feed->buffer) {
        release_piece(&piece);
        return -ENOMEM;
    }
    bool fits =
        piece.position == 0 || (feed->begun && !feed->broken && feed->sequence == piece.sequence &&
                                feed->position == piece.position);
    if (!fits) {
        skip_piece(feed, &piece);
        *released += ma_feed_cost(piece.size);
        release_piece(&piece);
        return 0;
    }
    if (piece.position == 0) {
        if (!feed->whole_chunks && feed->begun && !feed->broken)
            check_end(feed, piece.sequence, feed->sequence, feed->position, piece.payload,
                      piece.size);
        ma_decoder_begin(feed->decoder, feed->process, piece.base_time);
        feed->begun = true;
        feed->broken = false;
        feed->stream = feed->own;
        feed->sequence = piece.sequence;
        feed->position = 0;
        if (feed->whole_chunks)
            ma_fill_follow(&feed->fill, feed->audit, feed->number, feed->kind, piece.sequence,
                           piece.payload, piece.size);
    }
    feed->position += (uint32_t)piece.size;
    ma_decoder_piece(feed->decoder, piece.payload, piece.size);
    feed->piece = piece;
    feed->active = true;
    if (piece.size >= feed->shared->lane_least)
        feed->lane = ma_lane_open(feed->shared->lanes, feed->decoder);
    feed->lane_ended = false;
    return 1;
}

static void end_piece(struct ma_feed *feed, enum ma_decode_status status, size_t *released)
{
    struct ma_decoder *decoder = feed->decoder;
    close_lane(feed);
    uint64_t at = feed->piece.offset + (uint64_t)(decoder->item - feed->piece.payload);
    uint64_t rest = feed->piece.offset + feed->piece.size - at;
    if (status == MA_DECODE_END) {
        if (feed->whole_chunks && !feed->piece.cut)
            ma_fill_found(&feed->fill, feed->audit,
                          &(struct ma_filled_chunk){
                              .payload = feed->piece.payload,
                              .size = feed->piece.size,
                              .used = (size_t)(decoder->item - feed->piece.payload),
                              .offset = feed->piece.offset,
                              .sequence = feed->piece.sequence,
                          },
                          !feed->piece.owned);
    } else if (status == MA_DECODE_CUT && feed->piece.cut) {
        ma_audit_truncated(feed->audit, at);
    } else {
        feed->broken = true;
        ma_audit_skip(feed->audit, at, rest, "events: %s",
                      status == MA_DECODE_CUT ? "an item runs past the end of its chunk"
                                              : decoder->problem);
    }
    *released += ma_feed_cost(feed->piece.size);
    release_piece(&feed->piece);
    feed->active = false;
}

/* The next batch of the active piece. The last one of a lane stays there until
 * it was merged; what may have been written to the piece since, the feed decodes
 * itself. */
static enum ma_decode_status next_batch(struct ma_feed *feed)
{
    if (feed->lane && !feed->lane_ended) {
        struct ma_batch batch = ma_lane_take(feed->lane);
        feed->lane_ended = batch.status != MA_DECODE_MORE;
        feed->events = batch.events;
        feed->n = batch.n;
        return batch.status;
    }
    close_lane(feed);
    feed->events = feed->buffer;
    return ma_decoder_run(feed->decoder, feed->events, MA_BATCH, &feed->n);
}

int ma_feed_refill(struct ma_feed *feed, bool keep_open, size_t *released)
{
    if (feed->kind == MLF_DEFINITIONS)
        return 0;
    while (feed->at == feed->n) {
        feed->at = feed->n = 0;
        if (!feed->active) {
            if (feed->queue_at == feed->n_queue)
                break;
            int result = start_piece(feed, released);
            if (result < 0)
                return result;
            if (result == 0)
                continue;
        }
        enum ma_decode_status status = next_batch(feed);
        if (status == MA_DECODE_END && keep_open && feed->queue_at == feed->n_queue)
            break;
        if (status != MA_DECODE_MORE) {
            if (feed->n) /* deliver these first; the next call meets the end again */
                break;
            end_piece(feed, status, released);
        }
    }
    bool idle = !feed->active && feed->at == feed->n;
    if (idle && feed->decoder && (feed->whole_chunks || feed->shared->decoders > MA_DECODERS_KEPT))
        drop_decoder(feed);
    if (idle) {
        free(feed->buffer);
        feed->buffer = feed->events = NULL;
    }
    return 0;
}

static uint64_t latest(const struct ma_event *events, size_t n, uint64_t last)
{
    for (size_t i = 0; i < n; i++)
        last = events[i].time > last ? events[i].time : last;
    return last;
}

/* The decoder of the active piece as it is now; its lane may have decoded events
 * that nobody took yet. */
static struct ma_decoder decoder_now(const struct ma_feed *feed, uint64_t *last)
{
    if (feed->lane)
        ma_lane_pause(feed->lane);
    for (size_t i = 0; feed->lane && i < ma_lane_waiting(feed->lane); i++) {
        const struct ma_batch *batch = ma_lane_peek(feed->lane, i);
        *last = latest(batch->events, batch->n, *last);
    }
    struct ma_decoder decoder = *feed->decoder;
    if (feed->lane)
        ma_lane_resume(feed->lane);
    return decoder;
}

uint64_t ma_feed_last_time(const struct ma_feed *feed)
{
    uint64_t last = 0;
    struct ma_event events[MA_BATCH];
    if (feed->kind == MLF_DEFINITIONS)
        return 0;
    if (ma_feed_head(feed))
        last = latest(ma_feed_head(feed), feed->n - feed->at, last);
    /* From the last piece inwards: a writer may have been killed before the first
     * event of its newest chunk. The chunk that is being decoded comes before them
     * all. */
    for (size_t q = feed->n_queue;; q--) {
        uint64_t before = last;
        struct ma_decoder decoder;
        if (q > feed->queue_at) {
            const struct ma_piece *piece = &feed->queue[q - 1];
            ma_decoder_begin(&decoder, feed->process, piece->base_time);
            ma_decoder_piece(&decoder, piece->payload, piece->size);
        } else if (feed->active) {
            decoder = decoder_now(feed, &last);
        } else {
            return last;
        }
        for (size_t n = MA_BATCH; n;) {
            enum ma_decode_status status = ma_decoder_run(&decoder, events, MA_BATCH, &n);
            last = latest(events, n, last);
            if (status != MA_DECODE_MORE)
                break;
        }
        if (last > before || q <= feed->queue_at)
            return last;
    }
}
