/* SPDX-License-Identifier: MIT
 *
 * FILLED records; see lt_fill.h. Each says what can be seen in the trace
 * already, so it is true whenever the process is killed. The mapped sink calls
 * this where a chunk follows another, where a thread ends, and where the
 * process does; nothing of it is on the path of an event.
 */
#include "lt_fill.h"

/* Another thread may go on to its next chunk, or end and leave its context to
 * the next thread, between two loads. Each chunk of a stream has a number of
 * its own, and each stream has: if both are the same before and after, so was
 * the chunk, and `position` is either in it or in none. */
bool lt_fill_look(const struct lt_writer *writer, bool own, struct lt_fill *fill)
{
    const unsigned char *chunk = __atomic_load_n(&writer->chunk, __ATOMIC_ACQUIRE);
    uint32_t sequence = __atomic_load_n(&writer->sequence, __ATOMIC_ACQUIRE);
    uint32_t stream = __atomic_load_n(&writer->stream, __ATOMIC_ACQUIRE);
    const unsigned char *position = __atomic_load_n(&writer->position, __ATOMIC_ACQUIRE);
    size_t size = __atomic_load_n(&writer->size, __ATOMIC_ACQUIRE);
    if (!chunk || !sequence || /* sequence 0: inherited from the parent of a fork */
        __atomic_load_n(&writer->chunk, __ATOMIC_ACQUIRE) != chunk ||
        __atomic_load_n(&writer->sequence, __ATOMIC_ACQUIRE) != sequence ||
        __atomic_load_n(&writer->stream, __ATOMIC_ACQUIRE) != stream ||
        (uintptr_t)position <= (uintptr_t)chunk + MLF_CHUNK_HEADER ||
        (uintptr_t)position - (uintptr_t)chunk > size)
        return false;
    const unsigned char *payload = chunk + MLF_CHUNK_HEADER;
    /* Texts may end with zeros. Of all that threads write they are written only
     * before the process has a second one. */
    while (own && position > payload && !position[-1])
        position--;
    *fill = (struct lt_fill){stream, writer->kind, sequence - 1, (uint32_t)(position - payload)};
    return fill->bytes > 0;
}

unsigned char *lt_fill_put(unsigned char *to, const struct lt_fill *fill)
{
    to = mlf_put_vu(to, fill->stream);
    to = mlf_put_vu(to, fill->kind);
    to = mlf_put_vu(to, fill->sequence);
    return mlf_put_vu(to, fill->bytes);
}

void lt_fill_say(struct lt_writer *writer, const struct lt_fill *fill)
{
    unsigned char payload[4 * MLF_VU_SLACK];
    size_t size = (size_t)(lt_fill_put(payload, fill) - payload);
    lt_writer_record_in_slack(writer, MLF_REC_FILLED, payload, size, LT_FILL_MAX + LT_STOP_MAX);
}

void lt_fill_say_own(struct lt_context *context)
{
    struct lt_fill fill;
    if (lt_fill_look(&context->events, true, &fill))
        lt_fill_say(&context->definitions, &fill);
    if (lt_fill_look(&context->definitions, true, &fill))
        lt_fill_say(&context->events, &fill);
}

void lt_fill_say_others(struct lt_context *self)
{
    for (struct lt_context *o = lt_process.contexts; o; o = o->next) {
        const struct lt_writer *writers[] = {&o->events, &o->definitions};
        struct lt_fill fill;
        for (int i = 0; i < 2 && o != self; i++) {
            if (!lt_fill_look(writers[i], false, &fill))
                continue;
            unsigned char *end = lt_fill_put(self->scratch, &fill);
            if (!lt_writer_record(&self->definitions, MLF_REC_FILLED, self->scratch,
                                  (size_t)(end - self->scratch)))
                return;
        }
    }
}
