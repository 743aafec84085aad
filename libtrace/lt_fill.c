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
    *fill = (struct lt_fill){
        .stream = stream,
        .kind = writer->kind,
        .sequence = sequence - 1,
        .bytes = (uint32_t)(position - payload),
    };
    return fill->bytes > 0;
}

/* What lies before a writer's position is never changed: not by the items behind it, nor
 * by who goes on after a cancelled thread. */
void lt_fill_sum(const struct lt_writer *writer, struct lt_fill *fill)
{
    fill->checksum = mlf_checksum(writer->chunk + MLF_CHUNK_HEADER, fill->bytes);
    fill->summed = true;
}

unsigned char *lt_fill_put(unsigned char *to, const struct lt_fill *fill)
{
    to = mlf_put_vu(to, fill->stream);
    to = mlf_put_vu(to, fill->kind);
    to = mlf_put_vu(to, fill->sequence);
    to = mlf_put_vu(to, fill->bytes);
    if (!fill->summed)
        return to;
    mlf_put_u64(to, fill->checksum);
    return to + sizeof fill->checksum;
}

void lt_fill_say(struct lt_writer *writer, const struct lt_fill *fill)
{
    unsigned char payload[5 * MLF_VU_SLACK];
    size_t size = (size_t)(lt_fill_put(payload, fill) - payload);
    lt_writer_record_in_slack(writer, MLF_REC_FILLED, payload, size, LT_FILL_MAX + LT_STOP_MAX);
}

/* The events are told of last, with the record in them: of the two chunks it is they in
 * which a change of the one record that no checksum covers could make an event. */
void lt_fill_say_own(struct lt_context *context, bool last)
{
    struct lt_fill fill;
    if (lt_fill_look(&context->definitions, true, &fill)) {
        if (last)
            lt_fill_sum(&context->definitions, &fill);
        lt_fill_say(&context->events, &fill);
    }
    if (lt_fill_look(&context->events, true, &fill)) {
        lt_fill_sum(&context->events, &fill);
        lt_fill_say(&context->definitions, &fill);
    }
}

static bool look_at_others(const struct lt_writer *writer, struct lt_lock *lock,
                           struct lt_fill *fill)
{
    bool locked = lt_lock_take(lock);
    bool found = lt_fill_look(writer, false, fill);
    if (found && locked)
        lt_fill_sum(writer, fill);
    if (locked)
        lt_lock_release(lock);
    return found;
}

void lt_fill_say_others(struct lt_context *self, struct lt_lock *lock)
{
    for (struct lt_context *o = lt_process.contexts; o; o = o->next) {
        const struct lt_writer *writers[] = {&o->events, &o->definitions};
        struct lt_fill fill;
        for (int i = 0; i < 2 && o != self; i++) {
            if (!look_at_others(writers[i], lock, &fill))
                continue;
            unsigned char *end = lt_fill_put(self->scratch, &fill);
            if (!lt_writer_record(&self->definitions, MLF_REC_FILLED, self->scratch,
                                  (size_t)(end - self->scratch)))
                return;
        }
    }
}
