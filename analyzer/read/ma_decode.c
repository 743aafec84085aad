/* SPDX-License-Identifier: MIT
 *
 * Decoding of events; see ma_decode.h. Each operand function reads straight
 * through the sticky cursor; a reserved value sets `problem`; both are checked
 * once per item, before the event is let out. A tag is read with acquire
 * order, because a mapped chunk may be written while we read it.
 *
 * The plain items (ALLOC and FREE without anything odd about them) are nearly
 * all of a trace. While the piece holds more bytes than one of them can take,
 * run_plain reads them without a check of bounds, its state in registers; what
 * it will not judge it leaves to the other functions, as it found it.
 */
#include "ma_decode.h"

void ma_decoder_begin(struct ma_decoder *decoder, const struct ma_process *process,
                      uint64_t base_time)
{
    decoder->time = base_time;
    decoder->last = decoder->next = decoder->explicit_stack = 0;
    decoder->n_addresses = decoder->n_stacks = 0;
    decoder->header = process->record.block_header;
    decoder->grain = process->record.block_grain;
    decoder->smallest = process->record.smallest_usable;
    decoder->grain_is_power = (decoder->grain & (decoder->grain - 1)) == 0;
}

void ma_decoder_piece(struct ma_decoder *decoder, const unsigned char *payload, size_t size)
{
    decoder->cursor = (struct ma_cursor){payload, payload + size, false};
    decoder->item = payload;
    decoder->problem = NULL;
}

static inline void push_address(struct ma_decoder *decoder, uint64_t address)
{
    decoder->addresses[decoder->n_addresses++ % MLF_RING] = address;
    decoder->last = address;
}

static inline void push_block(struct ma_decoder *decoder, const struct ma_event *event)
{
    push_address(decoder, event->address);
    decoder->stacks[decoder->n_stacks % MLF_RING].stack = event->stack;
    decoder->stacks[decoder->n_stacks++ % MLF_RING].size = event->size;
    decoder->next = event->address + event->usable + decoder->header;
}

static inline void decode_header(struct ma_decoder *decoder)
{
    if (__builtin_add_overflow(decoder->time, ma_cursor_vu(&decoder->cursor), &decoder->time))
        decoder->problem = "a time out of range";
}

static inline uint64_t pushed(struct ma_decoder *decoder, uint32_t distance)
{
    if (distance > decoder->n_addresses || distance > MLF_RING) {
        decoder->problem = "an address distance beyond what was pushed";
        return 0;
    }
    return decoder->addresses[(decoder->n_addresses - distance) % MLF_RING];
}

static inline uint64_t delta_address(struct ma_decoder *decoder)
{
    uint64_t delta = (uint64_t)ma_cursor_vz(&decoder->cursor);
    return decoder->last + MLF_ADDR_GRAIN * delta;
}

static uint64_t old_address(struct ma_decoder *decoder, unsigned code)
{
    if (code <= MLF_ADDR_NEAR_MAX)
        return pushed(decoder, code + 1);
    switch (code) {
    case MLF_ADDR_RING:
        return pushed(decoder, MLF_ADDR_RING_FIRST + ma_cursor_u8(&decoder->cursor));
    case MLF_ADDR_DELTA: return delta_address(decoder);
    case MLF_ADDR_ABSOLUTE: return ma_cursor_u64(&decoder->cursor);
    default: decoder->problem = "a reserved address code"; return 0;
    }
}

static uint8_t function(struct ma_decoder *decoder)
{
    unsigned number = ma_cursor_u8(&decoder->cursor);
    if (number >= MLF_FN_COUNT)
        decoder->problem = "a reserved function number";
    return (uint8_t)number;
}

static uint32_t explicit_stack(struct ma_decoder *decoder)
{
    decoder->explicit_stack += (uint64_t)ma_cursor_vz(&decoder->cursor);
    if (decoder->explicit_stack > UINT32_MAX)
        decoder->problem = "a stack id out of range";
    return (uint32_t)decoder->explicit_stack;
}

/* The operands of ALLOC but for the time. */
static inline void new_block(struct ma_decoder *decoder, unsigned flags, struct ma_event *event)
{
    struct ma_cursor *cursor = &decoder->cursor;
    if (flags & MLF_ALLOC_FUNCTION) {
        event->function = function(decoder);
        if (event->function >= MLF_FN_memalign && event->function <= MLF_FN_aligned_alloc) {
            unsigned log2 = ma_cursor_u8(cursor);
            if (log2 > 63)
                decoder->problem = "an alignment out of range";
            event->aligned = (uint8_t)(1 + log2);
        }
    }
    switch (flags & MLF_ALLOC_ADDRESS) {
    case MLF_ALLOC_ADDRESS_RING: event->address = pushed(decoder, ma_cursor_u8(cursor) + 1); break;
    case MLF_ALLOC_ADDRESS_NEXT: event->address = decoder->next; break;
    case MLF_ALLOC_ADDRESS_DELTA: event->address = delta_address(decoder); break;
    default: event->address = ma_cursor_u64(cursor); break;
    }
    if (flags & MLF_ALLOC_STACK) {
        if (!(flags & MLF_ALLOC_SIZE))
            decoder->problem = "an explicit stack with the size of a listed one";
        event->stack = explicit_stack(decoder);
    } else {
        unsigned distance = ma_cursor_u8(cursor) + 1;
        if (distance > decoder->n_stacks)
            decoder->problem = "a stack distance beyond what was pushed";
        event->stack = decoder->stacks[(decoder->n_stacks - distance) % MLF_RING].stack;
        event->size = decoder->stacks[(decoder->n_stacks - distance) % MLF_RING].size;
    }
    if (flags & MLF_ALLOC_SIZE)
        event->size = ma_cursor_vu(cursor);
    event->usable =
        flags & MLF_ALLOC_USABLE
            ? event->size + ma_cursor_vu(cursor)
            : mlf_default_usable(event->size, decoder->header, decoder->grain, decoder->smallest);
}

static void decode_realloc(struct ma_decoder *decoder, struct ma_event *begin, struct ma_event *end)
{
    unsigned flags = ma_cursor_u8(&decoder->cursor) & 0x3f;
    uint64_t old = old_address(decoder, ma_cursor_u8(&decoder->cursor));
    decode_header(decoder);
    push_address(decoder, old);
    *begin = (struct ma_event){
        .type = MA_EVENT_REALLOC_BEGIN,
        .time = decoder->time,
        .old_address = old,
    };
    *end = (struct ma_event){
        .type = MA_EVENT_REALLOC,
        .function = MLF_FN_realloc,
        .old_address = old,
        .begin = decoder->time,
    };
    new_block(decoder, flags, end);
    decode_header(decoder);
    end->time = decoder->time;
    push_block(decoder, end);
}

/* A record: 1 if it has a place among the events, 0 if it is skipped. */
static int decode_record(struct ma_decoder *decoder, unsigned tag, struct ma_event *event)
{
    const unsigned char *payload;
    uint64_t size = ma_cursor_vu(&decoder->cursor);
    if (size > MLF_RECORD_MAX) {
        decoder->problem = "a record above the size limit";
        return 0;
    }
    if (!ma_cursor_take(&decoder->cursor, size, &payload))
        return 0;
    struct ma_record record;
    if (ma_record_decode(&record, tag, MLF_EVENTS, payload, (size_t)size, &decoder->problem) <= 0)
        return 0;
    *event = (struct ma_event){
        .type = MA_EVENT_RECORD,
        .function = (uint8_t)tag,
        .time = tag == MLF_REC_FILLED || tag == MLF_REC_TAKEN_OVER || tag == MLF_REC_STACK
                    ? decoder->time
                    : record.brief.time,
        .record = payload,
        .size = size,
    };
    return 1;
}

/* Everything but ALLOC and FREE. Returns the number of events. */
static int decode_other(struct ma_decoder *decoder, unsigned tag, struct ma_event *event)
{
    switch (tag) {
    case MLF_EV_REALLOC: decode_realloc(decoder, event, event + 1); return 2;
    case MLF_EV_FREE_BY:
        *event = (struct ma_event){.type = MA_EVENT_FREE, .function = function(decoder)};
        event->address = old_address(decoder, ma_cursor_u8(&decoder->cursor));
        push_address(decoder, event->address);
        break;
    case MLF_EV_FAILED:
        *event = (struct ma_event){.type = MA_EVENT_FAILED, .function = function(decoder)};
        event->size = ma_cursor_vu(&decoder->cursor);
        event->stack = explicit_stack(decoder);
        break;
    default:
        if (tag <= MLF_REC_LAST)
            return decode_record(decoder, tag, event);
        decoder->problem = "a reserved tag";
        return 0;
    }
    decode_header(decoder);
    event->time = decoder->time;
    return 1;
}

/* Bytes from the start of a plain item that may be looked at. An ALLOC has the most: tag and
 * function, then address, stack, size, usable size and time, 9 bytes each at the most. */
#define PLAIN_MOST 64
_Static_assert(2 + 5 * 9 <= PLAIN_MOST, "no plain item is longer");

/* A vu; 16 bytes from *at on may be read. */
static inline uint64_t plain_vu(const unsigned char **at)
{
    const unsigned char *p = *at;
    if (__builtin_expect(*p & 1, 1)) {
        *at = p + 1;
        return *p >> 1;
    }
    if (__builtin_expect(!*p, 0)) {
        *at = p + 9;
        return mlf_get_u64(p + 1);
    }
    unsigned length = (unsigned)__builtin_ctz(*p) + 1;
    *at = p + length;
    return mlf_get_u64(p) << (64 - 8 * length) >> (64 - 7 * length);
}

static inline uint64_t plain_delta(const unsigned char **at, uint64_t last)
{
    return last + MLF_ADDR_GRAIN * (uint64_t)mlf_unzigzag(plain_vu(at));
}

/* The address of a FREE by its code: false if it is not plain. */
static inline bool plain_old(const struct ma_decoder *decoder, unsigned code, uint32_t pushes,
                             uint64_t last, const unsigned char **at, uint64_t *address)
{
    uint32_t distance = code + 1;
    if (__builtin_expect(code > MLF_ADDR_NEAR_MAX, 0)) {
        if (code == MLF_ADDR_DELTA) {
            *address = plain_delta(at, last);
            return true;
        }
        if (code == MLF_ADDR_ABSOLUTE) {
            *address = mlf_get_u64(*at);
            *at += 8;
            return true;
        }
        distance = MLF_ADDR_RING_FIRST + *(*at)++;
        if (code != MLF_ADDR_RING || distance > MLF_RING)
            return false;
    }
    *address = decoder->addresses[(pushes - distance) % MLF_RING];
    return distance <= pushes;
}

/* The address of an ALLOC by its flags: false if it is not plain. */
static inline bool plain_new(const struct ma_decoder *decoder, unsigned flags, uint32_t pushes,
                             uint64_t last, const unsigned char **at, uint64_t *address)
{
    uint32_t distance;
    switch (flags & MLF_ALLOC_ADDRESS) {
    case MLF_ALLOC_ADDRESS_RING:
        distance = *(*at)++ + 1u;
        *address = decoder->addresses[(pushes - distance) % MLF_RING];
        return distance <= pushes;
    case MLF_ALLOC_ADDRESS_NEXT: *address = decoder->next; return true;
    case MLF_ALLOC_ADDRESS_DELTA: *address = plain_delta(at, last); return true;
    default:
        *address = mlf_get_u64(*at);
        *at += 8;
        return true;
    }
}

/* The operands of a plain ALLOC behind its address, but for the time. */
static inline bool plain_block(struct ma_decoder *decoder, unsigned flags, const unsigned char **at,
                               struct ma_event *event)
{
    if (flags & MLF_ALLOC_STACK) {
        uint64_t stack = decoder->explicit_stack + (uint64_t)mlf_unzigzag(plain_vu(at));
        if (stack > UINT32_MAX || !(flags & MLF_ALLOC_SIZE))
            return false;
        event->stack = (uint32_t)stack;
    } else {
        uint32_t distance = *(*at)++ + 1u;
        if (distance > decoder->n_stacks)
            return false;
        event->stack = decoder->stacks[(decoder->n_stacks - distance) % MLF_RING].stack;
        event->size = decoder->stacks[(decoder->n_stacks - distance) % MLF_RING].size;
    }
    if (flags & MLF_ALLOC_SIZE)
        event->size = plain_vu(at);
    if (flags & MLF_ALLOC_USABLE) {
        event->usable = event->size + plain_vu(at);
    } else {
        uint64_t usable = ((event->size + decoder->header + decoder->grain - 1) & -decoder->grain) -
                          decoder->header;
        event->usable = usable < decoder->smallest ? decoder->smallest : usable;
    }
    return true;
}

/* Decode plain items to event and on, up to end. Returns the end of what it
 * decoded. */
static struct ma_event *run_plain(struct ma_decoder *decoder, struct ma_event *event,
                                  const struct ma_event *end)
{
    const unsigned char *item = decoder->cursor.at;
    const unsigned char *const last_item = decoder->cursor.end - PLAIN_MOST;
    uint64_t time = decoder->time, last = decoder->last, now;
    uint32_t pushes = decoder->n_addresses;
    for (; event < end && item <= last_item; event++) {
        const unsigned char *at = item;
        const unsigned tag = __atomic_load_n(at++, __ATOMIC_ACQUIRE);
        uint64_t address;
        if (tag >= MLF_EV_ALLOC) {
            unsigned function = MLF_FN_malloc;
            if (tag & MLF_ALLOC_FUNCTION) {
                function = *at++;
                if (function >= MLF_FN_COUNT ||
                    (function >= MLF_FN_memalign && function <= MLF_FN_aligned_alloc))
                    break;
            }
            if (!plain_new(decoder, tag, pushes, last, &at, &address) ||
                !plain_block(decoder, tag, &at, event) ||
                __builtin_add_overflow(time, plain_vu(&at), &now))
                break;
            event->type = MA_EVENT_ALLOC;
            event->function = (uint8_t)function;
            if (tag & MLF_ALLOC_STACK)
                decoder->explicit_stack = event->stack;
            decoder->stacks[decoder->n_stacks % MLF_RING].stack = event->stack;
            decoder->stacks[decoder->n_stacks++ % MLF_RING].size = event->size;
            decoder->next = address + event->usable + decoder->header;
        } else if (tag >= MLF_EV_FREE) {
            if (!plain_old(decoder, tag & 0x3f, pushes, last, &at, &address) ||
                __builtin_add_overflow(time, plain_vu(&at), &now))
                break;
            event->type = MA_EVENT_FREE;
            event->function = MLF_FN_free;
            event->stack = 0;
        } else {
            break;
        }
        event->aligned = 0;
        event->time = time = now;
        event->address = last = address;
        decoder->addresses[pushes++ % MLF_RING] = address;
        item = at;
    }
    decoder->cursor.at = item;
    decoder->time = time;
    decoder->last = last;
    decoder->n_addresses = pushes;
    return event;
}

/* Decode one item of any kind, of this tag. Returns the number of events. */
static int run_any(struct ma_decoder *decoder, unsigned tag, struct ma_event *event)
{
    if (tag < MLF_EV_FREE)
        return decode_other(decoder, tag, event);
    if (tag >= MLF_EV_ALLOC) {
        *event = (struct ma_event){.type = MA_EVENT_ALLOC, .function = MLF_FN_malloc};
        new_block(decoder, tag & 0x3f, event);
        decode_header(decoder);
        event->time = decoder->time;
        push_block(decoder, event);
    } else {
        *event = (struct ma_event){.type = MA_EVENT_FREE, .function = MLF_FN_free};
        event->address = old_address(decoder, tag & 0x3f);
        push_address(decoder, event->address);
        decode_header(decoder);
        event->time = decoder->time;
    }
    return 1;
}

static inline enum ma_decode_status judge_end(const struct ma_decoder *decoder)
{
    if (__builtin_expect(!decoder->cursor.failed & !decoder->problem, 1))
        return MA_DECODE_MORE;
    return decoder->cursor.failed ? MA_DECODE_CUT : MA_DECODE_BAD;
}

enum ma_decode_status ma_decoder_run(struct ma_decoder *decoder, struct ma_event *out, size_t max,
                                     size_t *n)
{
    struct ma_cursor *cursor = &decoder->cursor;
    struct ma_event *event = out, *const end = out + max - 1; /* an item gives up to two */
    enum ma_decode_status status =
        judge_end(decoder); /* refused once: not judged by what it changed */
    while (status == MA_DECODE_MORE && event < end) {
        if (decoder->grain_is_power && cursor->end - cursor->at > PLAIN_MOST) {
            event = run_plain(decoder, event, end);
            if (event == end)
                break;
        }
        decoder->item = cursor->at;
        unsigned tag = cursor->at < cursor->end ? __atomic_load_n(cursor->at, __ATOMIC_ACQUIRE) : 0;
        if (tag == 0) {
            status = MA_DECODE_END;
            break;
        }
        cursor->at++;
        int events = run_any(decoder, tag, event);
        status = judge_end(decoder);
        if (__builtin_expect(status != MA_DECODE_MORE, 0))
            break;
        event += events;
        if (__builtin_expect(tag <= MLF_REC_LAST, 0) && events)
            break; /* a record ends its batch: the merge looks for them there */
    }
    *n = (size_t)(event - out);
    return status;
}
