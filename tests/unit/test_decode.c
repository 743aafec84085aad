/* SPDX-License-Identifier: MIT
 *
 * The decoder of events on all its paths: what a writer of our own says must
 * come out, whether an item stands far from the end of its piece or not, alone
 * or among others; and an item that is broken must be refused the same way
 * wherever it stands, as often as one asks.
 */
#include <stdlib.h>
#include <string.h>

#include "ma_decode.h"
#include "tap.h"

enum { ITEMS = 5000, ITEM_MOST = 64, EVENTS_MOST = 2 * ITEMS };

/* A piece in the making: its bytes, where its items begin, and what they mean. */
struct writer {
    unsigned char bytes[ITEMS * ITEM_MOST], *at;
    size_t begins[ITEMS + 1], n;
    struct ma_event events[EVENTS_MOST];
    size_t n_events;
    struct ma_process_record layout;
    uint64_t time, last, next, explicit_stack;
    uint64_t addresses[ITEMS * 2]; /* all that were pushed */
    struct {
        uint64_t size;
        uint32_t stack;
    } stacks[ITEMS];
    size_t n_addresses, n_stacks;
};

static uint64_t any(unsigned bits)
{
    uint64_t all = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
    return bits ? all >> (64 - bits) : 0;
}

/* Short numbers mostly, and all lengths. */
static uint64_t any_number(void)
{
    return any((unsigned)random() % 4 ? (unsigned)random() % 12 : (unsigned)random() % 65);
}

static void put_byte(struct writer *writer, uint64_t byte)
{
    *writer->at++ = (unsigned char)byte;
}

static void put_u64(struct writer *writer, uint64_t value)
{
    mlf_put_u64(writer->at, value);
    writer->at += 8;
}

/* The shortest form, or a longer one, which a reader accepts. */
static void put_vu(struct writer *writer, uint64_t value)
{
    if (random() % 8) {
        writer->at = mlf_put_vu(writer->at, value);
        return;
    }
    unsigned least = mlf_vu_size(value), length = least + (unsigned)random() % (10 - least);
    if (length == 9) {
        put_byte(writer, 0);
        put_u64(writer, value);
        return;
    }
    uint64_t bits = value << length | UINT64_C(1) << (length - 1);
    for (unsigned i = 0; i < length; i++)
        put_byte(writer, bits >> (8 * i));
}

static void push_address(struct writer *writer, uint64_t address)
{
    writer->addresses[writer->n_addresses++] = writer->last = address;
}

static void put_time(struct writer *writer)
{
    uint64_t delta = any_number();
    if (delta > UINT64_MAX - writer->time)
        delta = 0;
    writer->time += delta;
    put_vu(writer, delta);
}

/* The operands of an address code, for what is said; the address. */
static uint64_t put_old(struct writer *writer, unsigned code, unsigned ring)
{
    const uint64_t *end = writer->addresses + writer->n_addresses;
    int64_t delta;
    switch (code) {
    case MLF_ADDR_RING:
        put_byte(writer, ring);
        return end[-(ptrdiff_t)(MLF_ADDR_RING_FIRST + ring)];
    case MLF_ADDR_DELTA:
        delta = (int64_t)any_number();
        put_vu(writer, mlf_zigzag(delta));
        return writer->last + 16 * (uint64_t)delta;
    case MLF_ADDR_ABSOLUTE: {
        uint64_t address = any((unsigned)random() % 65);
        put_u64(writer, address);
        return address;
    }
    default: return end[-(ptrdiff_t)code - 1];
    }
}

/* A code that can be said now. */
static unsigned any_code(const struct writer *writer, unsigned *ring)
{
    *ring = (unsigned)random() % 196;
    for (;;) {
        unsigned code = (unsigned)random() % (random() % 3 ? 8 : 63);
        if (code >= MLF_ADDR_DELTA || (code < MLF_ADDR_RING && code < writer->n_addresses) ||
            (code == MLF_ADDR_RING && MLF_ADDR_RING_FIRST + *ring <= writer->n_addresses))
            return code;
    }
}

static unsigned any_flags(const struct writer *writer)
{
    for (;;) {
        unsigned flags = (unsigned)random() % 64;
        if (((flags & MLF_ALLOC_STACK) && !(flags & MLF_ALLOC_SIZE)) ||
            (!(flags & MLF_ALLOC_STACK) && !writer->n_stacks) ||
            ((flags & MLF_ALLOC_ADDRESS) == MLF_ALLOC_ADDRESS_RING && !writer->n_addresses))
            continue;
        if (!(flags & MLF_ALLOC_FUNCTION) || random() % 4 == 0)
            return flags;
    }
}

static void put_new_address(struct writer *writer, unsigned flags, struct ma_event *event)
{
    int64_t delta;
    unsigned back;
    switch (flags & MLF_ALLOC_ADDRESS) {
    case MLF_ALLOC_ADDRESS_RING:
        back = (unsigned)random() % 256;
        back = back < writer->n_addresses ? back : 0;
        put_byte(writer, back);
        event->address = writer->addresses[writer->n_addresses - back - 1];
        return;
    case MLF_ALLOC_ADDRESS_NEXT: event->address = writer->next; return;
    case MLF_ALLOC_ADDRESS_DELTA:
        delta = (int64_t)any_number();
        put_vu(writer, mlf_zigzag(delta));
        event->address = writer->last + 16 * (uint64_t)delta;
        return;
    default: put_u64(writer, event->address = any((unsigned)random() % 65));
    }
}

static void put_stack(struct writer *writer, struct ma_event *event)
{
    uint64_t stack = any((unsigned)random() % 33);
    put_vu(writer, mlf_zigzag((int64_t)(stack - writer->explicit_stack)));
    writer->explicit_stack = stack;
    event->stack = (uint32_t)stack;
}

/* The operands of ALLOC but for the time. */
static void put_block(struct writer *writer, unsigned flags, struct ma_event *event)
{
    const struct ma_process_record *layout = &writer->layout;
    if (flags & MLF_ALLOC_FUNCTION) {
        event->function = (uint8_t)(random() % MLF_FN_COUNT);
        put_byte(writer, event->function);
        if (event->function >= MLF_FN_memalign && event->function <= MLF_FN_aligned_alloc) {
            event->aligned = (uint8_t)(1 + random() % 64);
            put_byte(writer, event->aligned - 1u);
        }
    }
    put_new_address(writer, flags, event);
    if (flags & MLF_ALLOC_STACK) {
        put_stack(writer, event);
    } else {
        unsigned back = (unsigned)random() % 256;
        back = back < writer->n_stacks ? back : 0;
        put_byte(writer, back);
        event->stack = writer->stacks[writer->n_stacks - back - 1].stack;
        event->size = writer->stacks[writer->n_stacks - back - 1].size;
    }
    if (flags & MLF_ALLOC_SIZE)
        put_vu(writer, event->size = any_number());
    if (flags & MLF_ALLOC_USABLE) {
        uint64_t more = any_number();
        put_vu(writer, more);
        event->usable = event->size + more;
    } else {
        uint64_t sum = event->size + layout->block_header + layout->block_grain - 1;
        event->usable = sum / layout->block_grain * layout->block_grain - layout->block_header;
        if (event->usable < layout->smallest_usable)
            event->usable = layout->smallest_usable;
    }
}

static void push_block(struct writer *writer, const struct ma_event *event)
{
    push_address(writer, event->address);
    writer->stacks[writer->n_stacks].stack = event->stack;
    writer->stacks[writer->n_stacks++].size = event->size;
    writer->next = event->address + event->usable + writer->layout.block_header;
}

static struct ma_event *say(struct writer *writer, unsigned type, unsigned function)
{
    struct ma_event *event = &writer->events[writer->n_events++];
    *event = (struct ma_event){.type = (uint8_t)type, .function = (uint8_t)function};
    return event;
}

static void put_alloc(struct writer *writer)
{
    unsigned flags = any_flags(writer);
    struct ma_event *event = say(writer, MA_EVENT_ALLOC, MLF_FN_malloc);
    put_byte(writer, MLF_EV_ALLOC | flags);
    put_block(writer, flags, event);
    put_time(writer);
    event->time = writer->time;
    push_block(writer, event);
}

static void put_free(struct writer *writer, bool by)
{
    unsigned ring, code = any_code(writer, &ring);
    struct ma_event *event = say(writer, MA_EVENT_FREE, MLF_FN_free);
    put_byte(writer, by ? MLF_EV_FREE_BY : MLF_EV_FREE | code);
    if (by) {
        event->function = (uint8_t)(random() % MLF_FN_COUNT);
        put_byte(writer, event->function);
        put_byte(writer, code);
    }
    event->address = put_old(writer, code, ring);
    put_time(writer);
    event->time = writer->time;
    push_address(writer, event->address);
}

static void put_realloc(struct writer *writer)
{
    unsigned ring, flags = any_flags(writer), code = any_code(writer, &ring);
    struct ma_event *begin = say(writer, MA_EVENT_REALLOC_BEGIN, 0);
    struct ma_event *event = say(writer, MA_EVENT_REALLOC, MLF_FN_realloc);
    put_byte(writer, MLF_EV_REALLOC);
    put_byte(writer, flags);
    put_byte(writer, code);
    begin->old_address = event->old_address = put_old(writer, code, ring);
    put_time(writer);
    begin->time = event->begin = writer->time;
    push_address(writer, begin->old_address);
    put_block(writer, flags, event);
    put_time(writer);
    event->time = writer->time;
    push_block(writer, event);
}

static void put_failed(struct writer *writer)
{
    struct ma_event *event = say(writer, MA_EVENT_FAILED, random() % MLF_FN_COUNT);
    put_byte(writer, MLF_EV_FAILED);
    put_byte(writer, event->function);
    put_vu(writer, event->size = any_number());
    put_stack(writer, event);
    put_time(writer);
    event->time = writer->time;
}

static void put_record(struct writer *writer)
{
    unsigned char payload[32], *end = mlf_put_vu(payload, writer->time);
    end = mlf_put_vu(end, 1);
    end = mlf_put_vu(end, 3);
    memcpy(end, "abc", 3);
    size_t size = (size_t)(end - payload) + 3;
    bool known = random() % 2;
    put_byte(writer, known ? MLF_REC_MARK : 0x3f);
    put_vu(writer, size);
    if (known) {
        struct ma_event *event = say(writer, MA_EVENT_RECORD, MLF_REC_MARK);
        event->time = writer->time;
        event->size = size;
        event->record = writer->at;
    }
    memcpy(writer->at, payload, size);
    writer->at += size;
}

static void put_items(struct writer *writer, size_t items)
{
    for (size_t i = 0; i < items; i++) {
        writer->begins[writer->n++] = (size_t)(writer->at - writer->bytes);
        unsigned what = (unsigned)random() % 100;
        if (what < 55)
            put_alloc(writer);
        else if (what < 90)
            put_free(writer, false);
        else if (what < 93)
            put_free(writer, true);
        else if (what < 96)
            put_realloc(writer);
        else if (what < 98)
            put_failed(writer);
        else
            put_record(writer);
    }
    writer->begins[writer->n] = (size_t)(writer->at - writer->bytes);
}

static struct writer *new_writer(uint64_t header, uint64_t grain, uint64_t smallest)
{
    struct writer *writer = calloc(1, sizeof *writer);
    writer->at = writer->bytes;
    writer->layout.block_header = header;
    writer->layout.block_grain = grain;
    writer->layout.smallest_usable = smallest;
    return writer;
}

/* Every field that the type has, and no other. */
static bool same(const struct ma_event *a, const struct ma_event *b)
{
    if (a->type != b->type || a->time != b->time)
        return false;
    switch (a->type) {
    case MA_EVENT_FREE:
        return a->address == b->address && a->function == b->function && a->stack == b->stack;
    case MA_EVENT_REALLOC_BEGIN: return a->old_address == b->old_address && a->stack == b->stack;
    case MA_EVENT_FAILED:
        return a->function == b->function && a->size == b->size && a->stack == b->stack;
    case MA_EVENT_RECORD:
        return a->function == b->function && a->record == b->record && a->size == b->size;
    default:
        return a->function == b->function && a->address == b->address && a->size == b->size &&
               a->usable == b->usable && a->stack == b->stack && a->aligned == b->aligned &&
               (a->type == MA_EVENT_ALLOC ||
                (a->old_address == b->old_address && a->begin == b->begin));
    }
}

static void begin_decoder(struct ma_decoder *decoder, const struct writer *writer)
{
    struct ma_process process = {.record = writer->layout};
    memset(decoder, 0xa5, sizeof *decoder);
    ma_decoder_begin(decoder, &process, 0);
}

/* All of the writer's items, in pieces of so many, in batches of so many events:
 * the number of events that came out as they went in. */
static size_t decoded(const struct writer *writer, size_t items, size_t max)
{
    struct ma_decoder decoder;
    struct ma_event batch[512];
    size_t at = 0, n;
    begin_decoder(&decoder, writer);
    for (size_t i = 0; i < writer->n; i += items) {
        size_t last = i + items < writer->n ? i + items : writer->n;
        enum ma_decode_status status = MA_DECODE_MORE;
        ma_decoder_piece(&decoder, writer->bytes + writer->begins[i],
                         writer->begins[last] - writer->begins[i]);
        while (status == MA_DECODE_MORE) {
            memset(batch, 0x5a, sizeof batch);
            status = ma_decoder_run(&decoder, batch, max, &n);
            for (size_t k = 0; k < n; k++, at++) {
                if (at == writer->n_events || !same(&batch[k], &writer->events[at]))
                    return at;
            }
        }
        if (status != MA_DECODE_END)
            return at;
    }
    return at;
}

static void test_what_was_written_comes_out(void)
{
    const uint64_t layouts[][3] = {
        {8, 16, 24}, {4, 8, 12}, {0, 1, 0}, {8, 24, 16}, {UINT64_MAX - 7, 64, 3}};
    const size_t pieces[] = {1, 3, 20, ITEMS}, batches[] = {2, 3, 512};
    for (size_t layout = 0; layout < sizeof layouts / sizeof *layouts; layout++) {
        size_t wrong = 0;
        srandom((unsigned)layout + 3);
        struct writer *writer =
            new_writer(layouts[layout][0], layouts[layout][1], layouts[layout][2]);
        put_items(writer, ITEMS);
        for (size_t i = 0; i < 12; i++)
            wrong += decoded(writer, pieces[i % 4], batches[i / 4]) != writer->n_events;
        CHECK(!wrong && writer->n_events > ITEMS,
              "%zu events come out as they went in, in pieces and batches of all sizes, grain %d",
              writer->n_events, (int)layouts[layout][1]);
        free(writer);
    }
}

/* The end of an input: its events, where it ended and why. */
struct outcome {
    struct ma_event events[600];
    size_t n, item;
    enum ma_decode_status status;
    const char *problem;
};

static void decode_all(const struct writer *writer, const unsigned char *bytes, size_t size,
                       bool plain, size_t max, struct outcome *outcome)
{
    struct ma_decoder decoder;
    begin_decoder(&decoder, writer);
    decoder.grain_is_power &= plain;
    ma_decoder_piece(&decoder, bytes, size);
    outcome->n = 0;
    do {
        size_t n;
        outcome->status = ma_decoder_run(&decoder, outcome->events + outcome->n, max, &n);
        outcome->n += n;
    } while (outcome->status == MA_DECODE_MORE);
    for (int again = 0; again < 3; again++) {
        size_t n;
        enum ma_decode_status status =
            ma_decoder_run(&decoder, outcome->events + outcome->n, max, &n);
        if (n || status != outcome->status)
            outcome->status = MA_DECODE_MORE; /* no end at all */
    }
    outcome->item = (size_t)(decoder.item - bytes);
    outcome->problem = outcome->status == MA_DECODE_BAD ? decoder.problem : NULL;
}

static bool same_outcome(const struct outcome *a, const struct outcome *b)
{
    bool equal = a->n == b->n && a->status == b->status && a->item == b->item &&
                 (!a->problem ? !b->problem : b->problem && !strcmp(a->problem, b->problem));
    for (size_t i = 0; equal && i < a->n; i++)
        equal = same(&a->events[i], &b->events[i]);
    return equal;
}

#define FAR "\x00\xff\xff\xff\xff\xff\xff\xff\xff" /* a vu of 2^64 - 1 */

/* Items that must be refused behind eight pushes of an address and four of a
 * stack, whose last explicit number is 20. */
static const struct broken {
    const char *bytes;
    size_t size;
    const char *why; /* a part of the problem */
} broken[] = {
#define BROKEN(bytes, why)                                                                         \
    {                                                                                              \
        bytes, sizeof bytes - 1, why                                                               \
    }
    BROKEN("\x88\x01", "address distance"),     /* FREE, nine pushes ago */
    BROKEN("\xbc\x00\x01", "address distance"), /* 61 pushes ago */
    BROKEN("\xbc\xc4\x01", "address distance"), /* 257 */
    BROKEN("\xbc\xff\x01", "address distance"),
    BROKEN("\xbf\x01", "reserved address code"),
    BROKEN("\xbe\x10\x00\x00\x00\x00\x00\x00\x00" FAR, "time"),
    BROKEN("\x80" FAR, "time"),
    BROKEN("\xc0\x08\x00\x01", "address distance"), /* ALLOC */
    BROKEN("\xc0\xff\x00\x01", "address distance"),
    BROKEN("\xc1\x04\x01", "stack distance"),
    BROKEN("\xc5\x03\x01", "explicit stack"),  /* with the size of a listed one */
    BROKEN("\xcd\xab\x03\x01", "stack id"),    /* 20 - 43 */
    BROKEN("\xcd" FAR "\x03\x01", "stack id"), /* 20 - 2^63 */
    BROKEN("\xcd\x00\xfe\xff\xff\xff\xff\xff\xff\xff\x03\x01", "stack id"), /* + 2^63 - 1 */
    BROKEN("\xcd\x00\xd8\xff\xff\xff\x01\x00\x00\x00\x03\x01", "stack id"), /* 2^32 exactly */
    BROKEN("\xc1\x00" FAR, "time"),
    BROKEN("\xe1\x0c\x00\x01", "function"),
    BROKEN("\xe1\xff\x00\x01", "function"),
    BROKEN("\xe1\x05\x40\x00\x01", "alignment"),
    BROKEN("\x40\x01\x08\x01\x00\x01", "address distance"), /* REALLOC */
    BROKEN("\x40\x05\x00\x01\x03\x01", "explicit stack"),
    BROKEN("\x41\x0c\x00\x01", "function"),     /* FREE_BY */
    BROKEN("\x42\x00\x03\xab\x01", "stack id"), /* FAILED */
    BROKEN("\x43\x01", "reserved tag"),
    BROKEN("\x1f\x01", "required record"),
    BROKEN("\x01\x01", "required record"),
    BROKEN("\x21\x03\x01", "too short"),     /* MARK */
    BROKEN("\x28\x05\x03\x03", "too short"), /* WINDOW */
    BROKEN("\x3f\x04\x00\x08", "size limit"),
};

/* A few items that push eight addresses and four stacks, and `more` addresses: eight
 * events and `more`. */
static size_t put_prefix(unsigned char *at, size_t more)
{
    static const unsigned char prefix[] = {
        0xcf, 0x10, 0,    0,    0,    0,    0x70, 0,    0,
        0x51, 0x33, 0x03,                                     /* ALLOC, stack 20 */
        0xc1, 0x00, 0x03, 0xc1, 0x00, 0x03, 0xc1, 0x00, 0x03, /* three behind it */
        0x80, 0x03, 0x82, 0x03, 0x84, 0x03, 0x86, 0x03,       /* FREEs */
    };
    memcpy(at, prefix, sizeof prefix);
    for (size_t i = 0; i < 2 * more; i++)
        at[sizeof prefix + i] = i % 2 ? 0x01 : 0x87;
    return sizeof prefix + 2 * more;
}

/* The item behind the prefix, and so many bytes behind it: how often it was not
 * refused as it should be. */
static size_t refused_wrongly(const struct writer *layout, const struct broken *item, size_t more,
                              size_t behind)
{
    static struct outcome plain, general;
    unsigned char bytes[1000];
    size_t wrong = 0, prefix = put_prefix(bytes, more), size = prefix + item->size;
    memcpy(bytes + prefix, item->bytes, item->size);
    for (size_t k = 0; k < behind; k++, size++)
        bytes[size] = k % 2 ? 0x01 : 0x80; /* FREEs of the latest address */
    for (size_t max = 2; max < 200; max = max * 7 + 1) {
        decode_all(layout, bytes, size, true, max, &plain);
        decode_all(layout, bytes, size, false, max, &general);
        wrong += !same_outcome(&plain, &general) || plain.n != 8 + more ||
                 plain.status != MA_DECODE_BAD || plain.item != prefix ||
                 !strstr(plain.problem, item->why);
    }
    return wrong;
}

static void test_broken_items(void)
{
    struct writer *layout = new_writer(8, 16, 24);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        size_t wrong = 0;
        for (size_t behind = 0; behind < 150; behind++)
            wrong += refused_wrongly(layout, &broken[i], 0, behind);
        CHECK(!wrong, "refused wherever it stands: %s, item %02x", broken[i].why,
              (unsigned char)broken[i].bytes[0]);
    }
    static const struct broken beyond[] = {
        /* of the ring, all of which was pushed */
        {"\xbc\xc4\x01", 3, "address distance"},
        {"\xbc\xff\x01", 3, "address distance"},
        {"\xbf\xff\x01", 3, "reserved address code"},
    };
    size_t wrong = 0;
    for (size_t i = 0; i < 6; i++)
        wrong += refused_wrongly(layout, &beyond[i / 2], 350, i % 2 * 100);
    CHECK(!wrong, "what is beyond the ring is refused however much was pushed");
    free(layout);
}

/* A valid trace cut at every byte, and with every bit of its first items turned. */
static void test_damage(void)
{
    static struct outcome plain, general;
    size_t wrong = 0, cut = 0, bad = 0, ended = 0;
    srandom(11);
    struct writer *writer = new_writer(8, 16, 24);
    put_items(writer, 60);
    size_t size = writer->begins[60];
    for (size_t n = 0; n <= size; n++) {
        unsigned char *exact = malloc(n + 1); /* nothing behind it may be read */
        memcpy(exact, writer->bytes, n);
        decode_all(writer, exact, n, true, 512, &plain);
        decode_all(writer, exact, n, false, 512, &general);
        wrong += !same_outcome(&plain, &general) || plain.status == MA_DECODE_BAD;
        cut += plain.status == MA_DECODE_CUT;
        ended += plain.status == MA_DECODE_END;
        free(exact);
    }
    CHECK(!wrong && ended == 61 && cut == size - 60, "cut anywhere, both paths end alike");
    for (size_t bit = 0; bit < 8 * size; bit++) {
        writer->bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        decode_all(writer, writer->bytes, size, true, 512, &plain);
        decode_all(writer, writer->bytes, size, false, 512, &general);
        wrong += !same_outcome(&plain, &general);
        bad += plain.status == MA_DECODE_BAD;
        writer->bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    CHECK(!wrong && bad > 100, "with any bit turned, both paths say the same");
    free(writer);
}

/* A mapped chunk that is being written: its zeros become items. */
static void test_more_is_written(void)
{
    struct ma_decoder decoder;
    struct ma_event events[64];
    unsigned char bytes[512] = {0};
    struct writer *layout = new_writer(8, 16, 24);
    size_t n, prefix = put_prefix(bytes, 0);
    begin_decoder(&decoder, layout);
    ma_decoder_piece(&decoder, bytes, sizeof bytes);
    bool ends = ma_decoder_run(&decoder, events, 64, &n) == MA_DECODE_END && n == 8;
    ends &= ma_decoder_run(&decoder, events, 64, &n) == MA_DECODE_END && n == 0;
    uint64_t last = decoder.time;
    memcpy(bytes + prefix, "\x80\x0b\x80\x0d", 4);
    enum ma_decode_status status = ma_decoder_run(&decoder, events, 64, &n);
    CHECK(ends && status == MA_DECODE_END && n == 2 && events[1].time == last + 11,
          "what is written behind the end is read on");
    free(layout);
}

int main(void)
{
    test_what_was_written_comes_out();
    test_broken_items();
    test_damage();
    test_more_is_written();
    return TAP_DONE();
}
