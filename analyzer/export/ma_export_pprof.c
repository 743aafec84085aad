/* SPDX-License-Identifier: MIT
 *
 * pprof's profile.pb.gz (pprof/profile.proto), with the four values that heap
 * profiles of Go and others have: objects and bytes, allocated and in use at
 * the end. A location is a frame's address with the functions inlined there: of a
 * return address the byte before it, which lies in the call, so that pprof finds the
 * line of the call where we know none. A mapping says which names it comes with, and
 * pprof looks for those of a mapping that has none.
 *
 * The message is written in pieces, each a Profile with one element of one
 * repeated field: by protobuf's rules their bytes in a row are the Profile
 * with all of them. So memory is that of the names, not of the profile. A sample
 * lists all its frames: the message grows with stacks times their depth.
 *
 * Modules of several processes may lie at several addresses: all are told as
 * in the first process that had them loaded.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "ma_export.h"
#include "ma_export_strings.h"
#include "ma_gaps.h"
#include "mlog_version.h"
#include "profile.pb-c.h"

#define SEGMENT_EXECUTABLE 1 /* PF_X */

typedef Perftools__Profiles__Profile profile_piece;

struct gzip { /* a protobuf buffer that packs what it gets into a file */
    ProtobufCBuffer base;
    z_stream stream;
    FILE *out;
    bool failed;
    size_t n; /* bytes that wait: a number at a time is what is packed */
    unsigned char waiting[65536];
};

struct object {
    uint64_t mapping; /* id, 0: none yet */
    uint64_t bias;
    bool functions, files, lines, inlines; /* some frame of it has them */
};

struct writer {
    struct ma_analysis *analysis;
    struct gzip gzip;
    struct ma_strings strings; /* [0] is "" */
    struct ma_pairs functions; /* name and file */
    uint32_t *location_of;     /* ids, by site; 0: none yet */
    size_t n_location_of;
    uint64_t n_locations;
    struct object *objects; /* as in ma_stacks */
    uint32_t *mapped;       /* those with a mapping, in the order of their ids */
    uint64_t n_mappings;
    uint64_t *path; /* location ids of one stack */
    size_t n_path, path_capacity;
    bool inlines; /* they are told */
    bool failed;  /* memory ran out */
};

static void deflate_all(struct gzip *gzip, int flush)
{
    unsigned char buffer[16384];
    int status = Z_OK;
    do {
        gzip->stream.next_out = buffer;
        gzip->stream.avail_out = sizeof buffer;
        status = deflate(&gzip->stream, flush);
        size_t n = sizeof buffer - gzip->stream.avail_out;
        if (fwrite(buffer, 1, n, gzip->out) != n)
            gzip->failed = true;
    } while (!gzip->failed &&
             (gzip->stream.avail_out == 0 || (flush == Z_FINISH && status == Z_OK)));
}

static void deflate_waiting(struct gzip *gzip, int flush)
{
    gzip->stream.next_in = gzip->waiting;
    gzip->stream.avail_in = (unsigned)gzip->n;
    gzip->n = 0;
    if (!gzip->failed)
        deflate_all(gzip, flush);
}

static void gzip_append(ProtobufCBuffer *base, size_t size, const uint8_t *data)
{
    struct gzip *gzip = (struct gzip *)base;
    while (size) {
        size_t n = sizeof gzip->waiting - gzip->n < size ? sizeof gzip->waiting - gzip->n : size;
        memcpy(gzip->waiting + gzip->n, data, n);
        gzip->n += n;
        data += n;
        size -= n;
        if (gzip->n == sizeof gzip->waiting)
            deflate_waiting(gzip, Z_NO_FLUSH);
    }
}

static void emit(struct writer *writer, const profile_piece *piece)
{
    if (!writer->failed)
        protobuf_c_message_pack_to_buffer(&piece->base, &writer->gzip.base);
}

/* Index of a text in the string table. */
static int64_t string_index(struct writer *writer, const char *text)
{
    uint32_t number = ma_strings_add_line(&writer->strings, text ? text : "");
    writer->failed |= number == MA_NONE;
    return number == MA_NONE ? 0 : number;
}

static int64_t clamp(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

/* The first module that was met of those an object stands for. */
static const struct ma_module *module_of(const struct ma_object_entry *object)
{
    return object->known ? ma_process_module(object->first, object->first_id) : NULL;
}

static void add_mapping(struct writer *writer, uint32_t index)
{
    struct object *object = &writer->objects[index];
    const struct ma_module *module = module_of(&writer->analysis->stacks.objects[index]);
    object->bias = module ? module->bias : 0;
    writer->mapped[writer->n_mappings++] = index;
    object->mapping = writer->n_mappings;
}

static void emit_mapping(struct writer *writer, uint32_t index)
{
    const struct ma_object_entry *entry = &writer->analysis->stacks.objects[index];
    const struct object *object = &writer->objects[index];
    const struct ma_module *module = module_of(entry);
    Perftools__Profiles__Mapping mapping = PERFTOOLS__PROFILES__MAPPING__INIT;
    Perftools__Profiles__Mapping *mappings[] = {&mapping};
    profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
    piece.n_mapping = 1;
    piece.mapping = mappings;
    mapping.id = object->mapping;
    mapping.filename =
        string_index(writer, entry->known && entry->path[0] ? entry->path : "[unknown]");
    mapping.build_id = string_index(writer, entry->build_id_text);
    if (module) {
        mapping.memory_start = UINT64_MAX;
        for (size_t i = 0; i < module->n_segments; i++) {
            const struct ma_segment *segment = &module->segments[i];
            uint64_t start = module->bias + segment->address;
            if (!(segment->flags & SEGMENT_EXECUTABLE))
                continue;
            if (start < mapping.memory_start) {
                mapping.memory_start = start;
                mapping.file_offset = segment->offset;
            }
            if (start + segment->size > mapping.memory_limit)
                mapping.memory_limit = start + segment->size;
        }
        if (mapping.memory_start == UINT64_MAX)
            mapping.memory_start = 0;
    }
    mapping.has_functions = object->functions;
    mapping.has_filenames = object->files;
    mapping.has_line_numbers = object->lines;
    mapping.has_inline_frames = object->inlines;
    emit(writer, &piece);
}

static uint64_t function_of(struct writer *writer, const struct ma_frame *frame)
{
    int64_t name = string_index(writer, frame->function), file = string_index(writer, frame->file);
    bool is_new;
    uint32_t number = ma_pairs_add(&writer->functions, (uint32_t)name, (uint32_t)file, &is_new);
    writer->failed |= number == MA_NONE;
    if (number == MA_NONE || !is_new)
        return (uint64_t)number + 1;
    Perftools__Profiles__Function function = PERFTOOLS__PROFILES__FUNCTION__INIT;
    Perftools__Profiles__Function *functions[] = {&function};
    profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
    piece.n_function = 1;
    piece.function = functions;
    function.id = (uint64_t)number + 1;
    function.name = function.system_name = name;
    function.filename = file;
    emit(writer, &piece);
    return function.id;
}

/* A location of the frames of one address, the innermost first. */
static uint64_t emit_location(struct writer *writer, const struct ma_frame *frames, size_t n,
                              uint64_t mapping, uint64_t address)
{
    Perftools__Profiles__Location location = PERFTOOLS__PROFILES__LOCATION__INIT;
    Perftools__Profiles__Location *locations[] = {&location};
    profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
    Perftools__Profiles__Line *lines = calloc(n, sizeof *lines);
    Perftools__Profiles__Line **pointers = calloc(n, sizeof *pointers);
    writer->failed |= !lines || !pointers;
    location.id = ++writer->n_locations;
    location.mapping_id = mapping;
    location.address = address;
    location.line = pointers;
    for (size_t i = 0; i < n && !writer->failed; i++) {
        if (!frames[i].function)
            continue; /* pprof tells the address, or finds a name itself */
        Perftools__Profiles__Line *line = &lines[location.n_line];
        perftools__profiles__line__init(line);
        line->function_id = function_of(writer, &frames[i]);
        line->line = frames[i].line;
        pointers[location.n_line++] = line;
    }
    piece.n_location = 1;
    piece.location = locations;
    emit(writer, &piece);
    free(lines);
    free(pointers);
    return location.id;
}

/* Note what the frames of one address tell. Inlined calls come with lines, so a
 * mapping with lines tells those there are. */
static void note_names(struct object *object, const struct ma_frame *frames, size_t n, bool inlines)
{
    for (size_t i = 0; i < n; i++) {
        if (!frames[i].function)
            continue;
        object->functions = true;
        object->files |= frames[i].file != NULL;
        object->lines |= frames[i].line != 0;
        object->inlines |= inlines && frames[i].line != 0;
    }
}

static uint64_t location_of(struct writer *writer, uint32_t pc)
{
    struct ma_stacks *stacks = &writer->analysis->stacks;
    uint32_t known = pc < writer->n_location_of ? writer->location_of[pc] : 0;
    if (known)
        return known;
    const struct ma_frame *frames;
    long n = ma_stacks_pc(stacks, pc, &frames);
    if (n < 0 || !MA_HOLDS(writer->location_of, pc, writer->n_location_of)) {
        writer->failed = true;
        return 0;
    }
    const struct ma_pc *where = &stacks->pcs[pc];
    const uint64_t back = where->exact ? 0 : 1;
    uint64_t mapping = 0, address = where->address - back;
    if (where->object != MA_NONE) {
        struct object *object = &writer->objects[where->object];
        if (!object->mapping)
            add_mapping(writer, where->object);
        note_names(object, frames, (size_t)n, writer->inlines);
        mapping = object->mapping;
        address = object->bias + where->offset - back;
    }
    uint64_t id = emit_location(writer, frames, (size_t)n, mapping, address);
    writer->failed |= id >= MA_NONE;
    writer->location_of[pc] = (uint32_t)id;
    return id;
}

/* The stack's location ids, innermost first, into writer->path. */
static void find_path(struct writer *writer, uint32_t stack)
{
    const uint32_t *pcs;
    long n = ma_stacks_pcs(&writer->analysis->stacks, stack, &pcs);
    writer->n_path = 0;
    writer->failed |= n < 0;
    for (long i = 0; i < n && !writer->failed; i++) {
        if (!MA_RESERVE(writer->path, writer->n_path, writer->path_capacity))
            writer->failed = true;
        else
            writer->path[writer->n_path++] = location_of(writer, pcs[i]);
    }
}

static void emit_sample(struct writer *writer, const struct ma_row *row, uint64_t no_stack)
{
    Perftools__Profiles__Sample sample = PERFTOOLS__PROFILES__SAMPLE__INIT;
    Perftools__Profiles__Sample *samples[] = {&sample};
    profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
    int64_t values[] = {clamp(row->calls), clamp(row->bytes), clamp(row->leaked_blocks),
                        clamp(row->leaked_bytes)};
    find_path(writer, row->stack);
    sample.n_location_id = writer->n_path ? writer->n_path : 1;
    sample.location_id = writer->n_path ? writer->path : &no_stack;
    sample.n_value = sizeof values / sizeof *values;
    sample.value = values;
    piece.n_sample = 1;
    piece.sample = samples;
    emit(writer, &piece);
}

static void emit_head(struct writer *writer)
{
    static const char *const types[][2] = {
        {"alloc_objects", "count"},
        {"alloc_space", "bytes"},
        {"inuse_objects", "count"},
        {"inuse_space", "bytes"},
    };
    const struct ma_trace *trace = &writer->analysis->trace;
    char *command = ma_export_command(writer->analysis);
    writer->failed |= !command;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Perftools__Profiles__ValueType type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
        Perftools__Profiles__ValueType *one[] = {&type};
        profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
        type.type = string_index(writer, types[i][0]);
        type.unit = string_index(writer, types[i][1]);
        piece.n_sample_type = 1;
        piece.sample_type = one;
        emit(writer, &piece);
    }
    Perftools__Profiles__ValueType period = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
    profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
    period.type = string_index(writer, "space");
    period.unit = string_index(writer, "bytes");
    piece.period_type = &period;
    piece.period = trace->audit.sampling_interval ? clamp(trace->audit.sampling_interval) : 1;
    piece.default_sample_type = string_index(writer, "inuse_space");
    char paused[MA_GAPS_WORDS];
    int64_t comments[] = {string_index(writer, "mlog-analyze " MLOG_VERSION),
                          string_index(writer, command ? command : ""),
                          string_index(writer, ma_gaps_words(trace, paused))};
    piece.n_comment = ma_gaps_count(trace) ? 3 : 2;
    piece.comment = comments;
    const struct ma_window window = ma_analysis_window(writer->analysis);
    piece.duration_nanos = clamp(window.to - window.from);
    if (trace->n_processes)
        piece.time_nanos = clamp(trace->processes[0]->record.realtime_ns + window.from);
    emit(writer, &piece);
    free(command);
}

static void emit_strings(struct writer *writer)
{
    for (size_t i = 0; i < writer->strings.n; i++) {
        profile_piece piece = PERFTOOLS__PROFILES__PROFILE__INIT;
        piece.n_string_table = 1;
        piece.string_table = &writer->strings.texts[i];
        emit(writer, &piece);
    }
}

/* pprof takes the first mapping for the program's own. */
static void add_main_first(struct writer *writer)
{
    const struct ma_stacks *stacks = &writer->analysis->stacks;
    uint32_t main = MA_NONE;
    for (uint32_t i = 0; i < stacks->n_objects; i++) {
        const struct ma_module *module = module_of(&stacks->objects[i]);
        if (module && module->flags & MLF_MODULE_MAIN &&
            (main == MA_NONE || stacks->objects[i].order < stacks->objects[main].order))
            main = i;
    }
    if (main != MA_NONE)
        add_mapping(writer, main);
}

static int write_pprof(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    struct writer writer = {
        .analysis = analysis,
        .gzip = {.base = {.append = gzip_append}, .out = out},
        .objects = calloc(analysis->stacks.n_objects + 1, sizeof *writer.objects),
        .mapped = calloc(analysis->stacks.n_objects + 1, sizeof *writer.mapped),
        .inlines = analysis->request->symbol_options.inlines,
    };
    /* 16: with a gzip header, which has no name and no time in it. */
    if (!writer.objects || !writer.mapped ||
        deflateInit2(&writer.gzip.stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(writer.objects);
        free(writer.mapped);
        return -ENOMEM;
    }
    string_index(&writer, "");
    emit_head(&writer);
    add_main_first(&writer);
    const struct ma_frame none = {.function = MA_NO_STACK};
    uint64_t no_stack = 0;
    for (size_t i = 0; i < analysis->n_rows && !writer.failed; i++) {
        if (analysis->rows[i].stack < MLF_FIRST_NODE && !no_stack)
            no_stack = emit_location(&writer, &none, 1, 0, 0);
        emit_sample(&writer, &analysis->rows[i], no_stack);
    }
    for (uint64_t i = 0; i < writer.n_mappings; i++)
        emit_mapping(&writer, writer.mapped[i]);
    emit_strings(&writer);
    deflate_waiting(&writer.gzip, Z_FINISH);
    deflateEnd(&writer.gzip.stream);
    ma_strings_free(&writer.strings);
    ma_pairs_free(&writer.functions);
    free(writer.location_of);
    free(writer.objects);
    free(writer.mapped);
    free(writer.path);
    return writer.failed ? -ENOMEM : writer.gzip.failed ? -EIO : 0;
}

const struct ma_exporter ma_exporter_pprof = {
    .name = "pprof",
    .help = "go tool pprof, Parca, Pyroscope",
    .binary = true,
    .write = write_pprof,
};
