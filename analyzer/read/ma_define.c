/* SPDX-License-Identifier: MIT
 *
 * Decoding of definitions; see ma_define.h.
 */
#include "ma_define.h"

#include <errno.h>

void ma_definer_init(struct ma_definer *definer, struct ma_trace *trace, struct ma_process *process,
                     int (*timed)(void *, const struct ma_event *), void *context)
{
    *definer = (struct ma_definer){
        .trace = trace,
        .process = process,
        .timed = timed,
        .context = context,
    };
}

void ma_definer_forget(struct ma_definer *definer)
{
    free(definer->frames);
    definer->frames = NULL;
    definer->n_frames = definer->frame_capacity = 0;
}

void ma_definer_free(struct ma_definer *definer)
{
    ma_definer_forget(definer);
}

/* Section 6: one node. Returns 0 or -ENOMEM. */
static int define_node(struct ma_definer *definer, unsigned tag, const char **problem)
{
    struct ma_cursor *cursor = &definer->cursor;
    uint64_t id = (uint64_t)definer->last_id + 1;
    if (tag & MLF_NODE_ID)
        id += (uint64_t)ma_cursor_vz(cursor);
    uint64_t parent = tag & MLF_NODE_PARENT ? id - ma_cursor_vu(cursor) : definer->last_id;
    struct ma_frame_entry frame = {0, 0};
    if (tag & MLF_NODE_NEW_FRAME) {
        uint64_t module = ma_cursor_vu(cursor);
        frame.module = (uint32_t)module;
        frame.offset = ma_cursor_vu(cursor);
        if (module > UINT32_MAX)
            *problem = "a module id out of range";
    } else {
        uint64_t distance = ma_cursor_vu(cursor);
        if (distance == 0 || distance > definer->n_frames)
            *problem = "a frame distance beyond the list";
        else
            frame = definer->frames[definer->n_frames - distance];
    }
    if (id < MLF_FIRST_NODE || id > UINT32_MAX)
        *problem = "a node id out of range";
    else if (parent >= id)
        *problem = "a node whose parent is not below it";
    if (cursor->failed || *problem)
        return 0;
    if (tag & MLF_NODE_NEW_FRAME) {
        if (!MA_RESERVE(definer->frames, definer->n_frames, definer->frame_capacity))
            return -ENOMEM;
        definer->frames[definer->n_frames++] = frame;
    }
    definer->last_id = (uint32_t)id;
    return ma_process_add_node(definer->process, &(struct ma_node){
                                                     .id = (uint32_t)id,
                                                     .parent = (uint32_t)parent,
                                                     .module = frame.module,
                                                     .offset = frame.offset,
                                                     .exact = !!(tag & MLF_NODE_EXACT),
                                                 });
}

static int define_process(struct ma_definer *definer, const struct ma_process_record *record)
{
    if (definer->process->known)
        return 0;
    int result = ma_process_define(definer->trace, definer->process, record);
    if (result < 0)
        return result;
    bool fork = record->how == MLF_HOW_FORK;
    return definer->timed(definer->context, &(struct ma_event){
                                                .type = fork ? MA_EVENT_FORK : MA_EVENT_START,
                                                .time = fork ? record->fork_time : record->start,
                                            });
}

static int define_stream(struct ma_definer *definer, unsigned tag,
                         const struct ma_stream_record *record)
{
    if (record->stream > UINT32_MAX ||
        ma_trace_is_full(definer->trace, definer->process, (uint32_t)record->stream))
        return 0;
    struct ma_stream *stream =
        ma_trace_stream(definer->trace, definer->process, (uint32_t)record->stream);
    if (!stream)
        return -ENOMEM;
    if (tag == MLF_REC_STREAM)
        return ma_stream_define(definer->trace, stream, record);
    ma_stream_end(stream, record);
    return 0;
}

static int apply(struct ma_definer *definer, const struct ma_record *record,
                 const unsigned char *payload, size_t size)
{
    struct ma_process *process = definer->process;
    switch (record->tag) {
    case MLF_REC_PROCESS: return define_process(definer, &record->process);
    case MLF_REC_TEXT:
        return ma_process_add_text(process, record->brief.text.what, record->brief.text.bytes);
    case MLF_REC_MODULE: return ma_process_add_module(process, &record->module);
    case MLF_REC_MODULE_END: {
        uint64_t id = record->brief.module_end.id;
        uint32_t index = ma_map_get(&process->module_of, id);
        if (index != MA_NONE)
            process->modules[index].end_time = record->brief.time;
        return 0;
    }
    case MLF_REC_STREAM:
    case MLF_REC_STREAM_END: return define_stream(definer, record->tag, &record->stream);
    case MLF_REC_SYNC:
        process->watermark = record->brief.time;
        process->unsettled = false;
        return 0;
    case MLF_REC_SAMPLING:
        definer->trace->audit.sampling_interval = record->brief.sampling.interval;
        return 0;
    case MLF_REC_PROCESS_END: /* nothing more is promised, so nothing is waited for */
        process->watermark = UINT64_MAX;
        process->unsettled = true;
        break;
    case MLF_REC_CLOCK:
        process->clock_ticks = record->brief.time;
        process->clock_ns = record->brief.clock.monotonic_ns;
        break;
    default: break;
    }
    return definer->timed(definer->context, &(struct ma_event){
                                                .type = MA_EVENT_RECORD,
                                                .function = (uint8_t)record->tag,
                                                .time = record->brief.time,
                                                .record = payload,
                                                .size = size,
                                            });
}

static int define_record(struct ma_definer *definer, unsigned tag, const char **problem)
{
    struct ma_cursor *cursor = &definer->cursor;
    const unsigned char *payload;
    uint64_t size = ma_cursor_vu(cursor);
    if (size > MLF_RECORD_MAX) {
        *problem = "a record above the size limit";
        return 0;
    }
    if (!ma_cursor_take(cursor, size, &payload))
        return 0;
    struct ma_record record;
    if (ma_record_decode(&record, tag, MLF_DEFINITIONS, payload, (size_t)size, problem) <= 0)
        return 0;
    return apply(definer, &record, payload, (size_t)size);
}

/* Apply items up to the end of what is written. */
static int apply_items(struct ma_definer *definer, bool cut)
{
    struct ma_cursor *cursor = &definer->cursor;
    struct ma_audit *audit = &definer->trace->audit;
    while (definer->open && cursor->at < cursor->end) {
        const unsigned char *item = cursor->at;
        unsigned tag = __atomic_load_n(item, __ATOMIC_ACQUIRE);
        if (tag == 0)
            return 0;
        const char *problem = NULL;
        int result = 0;
        cursor->at++;
        if (tag >= MLF_NODE && tag < MLF_NODE + 16)
            result = define_node(definer, tag, &problem);
        else if (tag <= MLF_REC_LAST)
            result = define_record(definer, tag, &problem);
        else
            problem = "a reserved tag";
        if (result < 0)
            return result;
        if (!cursor->failed && !problem)
            continue;
        uint64_t at = definer->offset - (uint64_t)(cursor->end - item);
        definer->open = false;
        if (cursor->failed && cut)
            ma_audit_truncated(audit, at);
        else
            ma_audit_skip(audit, at, (uint64_t)(cursor->end - item), "definitions: %s",
                          cursor->failed ? "an item runs past the end of its chunk" : problem);
    }
    return 0;
}

int ma_definer_chunk(struct ma_definer *definer, const struct ma_chunk *chunk)
{
    struct ma_audit *audit = &definer->trace->audit;
    if (chunk->position == 0) {
        definer->open = true;
        definer->sequence = chunk->sequence;
        definer->position = 0;
        definer->last_id = MLF_FIRST_NODE - 1;
        definer->n_frames = 0;
    } else if (!definer->open || definer->sequence != chunk->sequence ||
               definer->position != chunk->position) {
        definer->open = definer->open && definer->sequence != chunk->sequence;
        ma_audit_skip(audit, chunk->offset, chunk->payload_offset + chunk->size - chunk->offset,
                      "a piece of definitions whose predecessor is missing or bad");
        return 0;
    }
    definer->position += (uint32_t)chunk->size;
    definer->cursor = (struct ma_cursor){chunk->payload, chunk->payload + chunk->size, false};
    definer->offset = chunk->payload_offset + chunk->size;
    definer->cut = chunk->cut;
    return apply_items(definer, chunk->cut);
}

int ma_definer_poll(struct ma_definer *definer)
{
    return definer->cursor.at ? apply_items(definer, false) : 0;
}
