/* SPDX-License-Identifier: MIT
 *
 * The JSON of the Firefox Profiler's processed profile, version 48 of it: tables are
 * columns of one length, and refer to each other by index. Each thread has all of them for
 * itself; libraries are common. Times are ms since the start.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_export_firefox.h"
#include "ma_export_strings.h"
#include "ma_text.h"
#include "mlog_version.h"

struct lib { /* as frames have them */
    const char *path, *build_id;
};

struct function {
    uint32_t name, file; /* strings; file: MA_NONE */
    uint32_t resource;   /* MA_NONE: none */
};

struct frame {
    uint32_t function, line; /* line 0: unknown */
    uint64_t address;
    unsigned depth; /* of inlining */
};

struct node {
    uint32_t frame, prefix; /* prefix MA_NONE: outermost */
};

struct profile { /* what all threads share */
    struct ma_firefox *of;
    FILE *out;
    struct ma_trie trie;
    struct lib *libs;
    size_t n_libs, lib_capacity;
    uint32_t *node_of; /* by node of the trie: 1 + node of the thread at hand */
    size_t n_node_of;
    uint32_t *chain; /* scratch */
    size_t n_chain;
};

struct thread { /* the tables of one */
    struct profile *profile;
    struct ma_strings strings;
    struct ma_pairs function_of; /* name, and resource + 1 */
    struct ma_map frame_of;      /* frame's number */
    struct ma_map resource_of;   /* lib */
    struct function *functions;
    size_t n_functions, function_capacity;
    struct frame *frames;
    size_t n_frames, frame_capacity;
    struct node *nodes;
    size_t n_nodes, node_capacity;
    uint32_t *resources; /* libs */
    size_t n_resources, resource_capacity;
};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* The number of a library. */
static uint32_t lib_of(struct profile *profile, const struct ma_frame *frame)
{
    const char *build_id = frame->build_id ? frame->build_id : "";
    for (size_t i = profile->n_libs; i-- > 0;) {
        const struct lib *lib = &profile->libs[i];
        if (strcmp(lib->path, frame->module) == 0 && strcmp(lib->build_id, build_id) == 0)
            return (uint32_t)i;
    }
    if (!MA_RESERVE(profile->libs, profile->n_libs, profile->lib_capacity))
        return MA_NONE;
    profile->libs[profile->n_libs] = (struct lib){frame->module, build_id};
    return (uint32_t)profile->n_libs++;
}

static int find_resource(struct thread *thread, const struct ma_frame *frame, uint32_t *resource)
{
    *resource = MA_NONE;
    if (!frame->module)
        return 0;
    const uint32_t lib = lib_of(thread->profile, frame);
    if (lib == MA_NONE)
        return -ENOMEM;
    *resource = ma_map_get(&thread->resource_of, lib);
    if (*resource != MA_NONE)
        return 0;
    if (!MA_RESERVE(thread->resources, thread->n_resources, thread->resource_capacity) ||
        ma_strings_add(&thread->strings, base_of(frame->module)) == MA_NONE)
        return -ENOMEM;
    *resource = (uint32_t)thread->n_resources++;
    thread->resources[*resource] = lib;
    return ma_map_set(&thread->resource_of, lib, *resource);
}

static int find_function(struct thread *thread, const struct ma_frame *frame, uint32_t *function)
{
    char buffer[256];
    uint32_t resource;
    bool is_new;
    const uint32_t name =
        ma_strings_add(&thread->strings, ma_frame_name(frame, buffer, sizeof buffer));
    if (name == MA_NONE || find_resource(thread, frame, &resource) < 0)
        return -ENOMEM;
    *function = ma_pairs_add(&thread->function_of, name, resource + 1, &is_new);
    if (*function == MA_NONE || !is_new)
        return *function == MA_NONE ? -ENOMEM : 0;
    uint32_t file = MA_NONE;
    if (frame->file && (file = ma_strings_add(&thread->strings, frame->file)) == MA_NONE)
        return -ENOMEM;
    if (!MA_RESERVE(thread->functions, thread->n_functions, thread->function_capacity))
        return -ENOMEM;
    thread->functions[thread->n_functions++] = (struct function){name, file, resource};
    return 0;
}

static int find_frame(struct thread *thread, uint32_t number, uint32_t *frame)
{
    const struct ma_stacks *stacks = &thread->profile->of->analysis->stacks;
    const struct ma_frame *of = ma_stacks_resolved(stacks, number);
    const struct ma_pc *pc = &stacks->pcs[of->pc];
    *frame = ma_map_get(&thread->frame_of, number);
    if (*frame != MA_NONE)
        return 0;
    uint32_t function;
    if (find_function(thread, of, &function) < 0 ||
        !MA_RESERVE(thread->frames, thread->n_frames, thread->frame_capacity))
        return -ENOMEM;
    *frame = (uint32_t)thread->n_frames++;
    thread->frames[*frame] = (struct frame){
        .function = function,
        .line = of->line,
        .address = of->offset,
        .depth = pc->resolved + pc->n_resolved - 1 - number,
    };
    return ma_map_set(&thread->frame_of, number, *frame);
}

/* The node of a stack among the thread's; MA_NONE: it has no frames. */
static int find_node(struct thread *thread, uint32_t stack, uint32_t *node)
{
    struct profile *profile = thread->profile;
    struct ma_trie *trie = &profile->trie;
    uint32_t inner, depth = 0;
    *node = MA_NONE;
    if (ma_stacks_trie_add(&profile->of->analysis->stacks, trie, stack, &inner) < 0)
        return -ENOMEM;
    if (inner == MA_NONE)
        return 0;
    if (!MA_HOLDS(profile->node_of, trie->n, profile->n_node_of))
        return -ENOMEM;
    for (uint32_t i = inner; i != MA_NONE && !profile->node_of[i]; i = trie->nodes[i].parent) {
        if (!MA_HOLDS(profile->chain, depth, profile->n_chain))
            return -ENOMEM;
        profile->chain[depth++] = i;
    }
    while (depth) { /* from the outermost that is new inwards */
        const uint32_t at = profile->chain[--depth], parent = trie->nodes[at].parent;
        uint32_t frame;
        if (find_frame(thread, trie->nodes[at].frame, &frame) < 0 ||
            !MA_RESERVE(thread->nodes, thread->n_nodes, thread->node_capacity))
            return -ENOMEM;
        thread->nodes[thread->n_nodes++] =
            (struct node){frame, parent == MA_NONE ? MA_NONE : profile->node_of[parent] - 1};
        profile->node_of[at] = (uint32_t)thread->n_nodes;
    }
    *node = profile->node_of[inner] - 1;
    return 0;
}

/* A column: `print` for each of n, with commas between. */
#define COLUMN(out, name, n, ...)                                                                  \
    do {                                                                                           \
        fputs("\"" name "\":[", (out));                                                            \
        for (size_t i = 0; i < (n); i++) {                                                         \
            if (i)                                                                                 \
                putc(',', (out));                                                                  \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
        fputs("],", (out));                                                                        \
    } while (0)

static void print_index(FILE *out, uint32_t index)
{
    if (index == MA_NONE)
        fputs("null", out);
    else
        fprintf(out, "%" PRIu32, index);
}

static void print_ms(FILE *out, uint64_t ns)
{
    fprintf(out, "%" PRIu64 ".%06u", ns / 1000000, (unsigned)(ns % 1000000));
}

static void write_tables(const struct thread *thread)
{
    FILE *out = thread->profile->out;
    const struct node *nodes = thread->nodes;
    const struct frame *frames = thread->frames;
    const struct function *functions = thread->functions;
    const struct lib *libs = thread->profile->libs;
    fputs("\n\"stackTable\":{", out);
    COLUMN(out, "frame", thread->n_nodes, print_index(out, nodes[i].frame));
    COLUMN(out, "prefix", thread->n_nodes, print_index(out, nodes[i].prefix));
    COLUMN(out, "category", thread->n_nodes, putc('0', out));
    COLUMN(out, "subcategory", thread->n_nodes, putc('0', out));
    fprintf(out, "\"length\":%zu},\n\"frameTable\":{", thread->n_nodes);
    COLUMN(out, "address", thread->n_frames, fprintf(out, "%" PRIu64, frames[i].address));
    COLUMN(out, "inlineDepth", thread->n_frames, fprintf(out, "%u", frames[i].depth));
    COLUMN(out, "category", thread->n_frames, putc('0', out));
    COLUMN(out, "subcategory", thread->n_frames, putc('0', out));
    COLUMN(out, "func", thread->n_frames, print_index(out, frames[i].function));
    COLUMN(out, "nativeSymbol", thread->n_frames, fputs("null", out));
    COLUMN(out, "innerWindowID", thread->n_frames, putc('0', out));
    COLUMN(out, "implementation", thread->n_frames, fputs("null", out));
    COLUMN(out, "line", thread->n_frames,
           print_index(out, frames[i].line ? frames[i].line : MA_NONE));
    COLUMN(out, "column", thread->n_frames, fputs("null", out));
    fprintf(out, "\"length\":%zu},\n\"funcTable\":{", thread->n_frames);
    COLUMN(out, "name", thread->n_functions, print_index(out, functions[i].name));
    COLUMN(out, "isJS", thread->n_functions, fputs("false", out));
    COLUMN(out, "relevantForJS", thread->n_functions, fputs("false", out));
    COLUMN(out, "resource", thread->n_functions,
           if (functions[i].resource == MA_NONE) fputs("-1", out);
           else print_index(out, functions[i].resource));
    COLUMN(out, "fileName", thread->n_functions, print_index(out, functions[i].file));
    COLUMN(out, "lineNumber", thread->n_functions, fputs("null", out));
    COLUMN(out, "columnNumber", thread->n_functions, fputs("null", out));
    fprintf(out, "\"length\":%zu},\n\"resourceTable\":{", thread->n_functions);
    COLUMN(out, "lib", thread->n_resources, print_index(out, thread->resources[i]));
    COLUMN(out, "name", thread->n_resources,
           print_index(out, ma_strings_add((struct ma_strings *)&thread->strings,
                                           base_of(libs[thread->resources[i]].path))));
    COLUMN(out, "host", thread->n_resources, fputs("null", out));
    COLUMN(out, "type", thread->n_resources, putc('1', out));
    fprintf(out,
            "\"length\":%zu},\n\"nativeSymbols\":{\"libIndex\":[],\"address\":[],\"name\":[],"
            "\"functionSize\":[],\"length\":0},\n",
            thread->n_resources);
    COLUMN(out, "stringArray", thread->strings.n,
           ma_write_json_string(out, thread->strings.texts[i]));
}

static void print_weight(FILE *out, uint64_t step, const struct ma_firefox_event *event)
{
    const uint64_t weight = event->size < step ? step : event->size;
    fprintf(out, "%s%" PRIu64, event->freed ? "-" : "", weight);
}

/* The events of a process, `all`, whose stacks are `nodes`. */
static void write_events(struct thread *thread, const struct ma_firefox_event *const *all,
                         const uint32_t *nodes, size_t n)
{
    const struct ma_trace *trace = &thread->profile->of->analysis->trace;
    const uint64_t step = thread->profile->of->step;
    FILE *out = thread->profile->out;
    fputs("\n\"nativeAllocations\":{", out);
    COLUMN(out, "time", n, print_ms(out, all[i]->ns));
    COLUMN(out, "weight", n, print_weight(out, step, all[i]));
    COLUMN(out, "stack", n, print_index(out, nodes[i]));
    COLUMN(out, "memoryAddress", n, fprintf(out, "%" PRIu64, all[i]->address));
    COLUMN(out, "threadId", n,
           fprintf(out, "%" PRIu64,
                   all[i]->thread < trace->n_streams ? trace->streams[all[i]->thread]->tid : 0));
    fprintf(out, "\"weightType\":\"bytes\",\"length\":%zu},", n);
    size_t begun = 0; /* the same, without the frees */
    for (size_t i = 0; i < n; i++)
        begun += !all[i]->freed;
    fputs("\n\"samples\":{", out);
    const char *comma = "";
#define OF_BEGUN(name, print)                                                                      \
    fputs("\"" name "\":[", out);                                                                  \
    comma = "";                                                                                    \
    for (size_t i = 0; i < n; i++) {                                                               \
        if (all[i]->freed)                                                                         \
            continue;                                                                              \
        fputs(comma, out);                                                                         \
        comma = ",";                                                                               \
        print;                                                                                     \
    }                                                                                              \
    fputs("],", out)
    OF_BEGUN("stack", print_index(out, nodes[i]));
    OF_BEGUN("time", print_ms(out, all[i]->ns));
    OF_BEGUN("weight", print_weight(out, step, all[i]));
#undef OF_BEGUN
    fprintf(out, "\"weightType\":\"bytes\",\"length\":%zu},", begun);
}

/* Phases: 0 a moment, 2 a begin, 3 an end. */
static int write_marks(struct thread *thread, uint32_t process)
{
    const struct ma_firefox *of = thread->profile->of;
    FILE *out = thread->profile->out;
    size_t n = 0;
    const struct ma_firefox_mark **marks = malloc((of->n_marks + 1) * sizeof *marks);
    if (!marks)
        return -ENOMEM;
    for (size_t i = 0; i < of->n_marks; i++)
        if (of->marks[i].process == process)
            marks[n++] = &of->marks[i];
    fputs("\n\"markers\":{", out);
    COLUMN(out, "data", n, fputs("null", out));
    COLUMN(out, "name", n, print_index(out, ma_strings_add(&thread->strings, marks[i]->name)));
    COLUMN(out, "startTime", n, if (marks[i]->kind == MLF_MARK_END) fputs("null", out);
           else print_ms(out, marks[i]->ns));
    COLUMN(out, "endTime", n, if (marks[i]->kind == MLF_MARK_END) print_ms(out, marks[i]->ns);
           else fputs("null", out));
    COLUMN(out, "phase", n,
           putc(marks[i]->kind == MLF_MARK_BEGIN ? '2'
                : marks[i]->kind == MLF_MARK_END ? '3'
                                                 : '0',
                out));
    COLUMN(out, "category", n, putc('0', out));
    fprintf(out, "\"length\":%zu},", n);
    free(marks);
    return 0;
}

/* The pid as threads and counters have it, which tells processes apart. */
static void print_pid(FILE *out, const struct ma_trace *trace, const struct ma_process *process)
{
    const uint32_t first = ma_map_get(&trace->first_of_pid, ma_process_pid(process));
    fprintf(out, "\"%" PRIu64, ma_process_pid(process));
    if (first != MA_NONE && first != process->index)
        fprintf(out, "-%" PRIu32, process->index);
    putc('"', out);
}

static void write_head(struct profile *profile, const struct ma_process *process)
{
    const struct ma_trace *trace = &profile->of->analysis->trace;
    FILE *out = profile->out;
    const char *name = base_of(ma_process_text(ma_process_program(process), MLF_TEXT_EXE));
    const uint64_t start = process->known ? ma_clock_ns(trace, process, process->record.start) : 0;
    fputs("{\"processType\":\"default\",\"isMainThread\":true,\"pausedRanges\":[],\"name\":", out);
    ma_write_json_string(out, name);
    fputs(",\"processName\":", out);
    ma_write_json_string(out, name);
    fputs(",\"pid\":", out);
    print_pid(out, trace, process);
    fprintf(out, ",\"tid\":%" PRIu64 ",\"processStartupTime\":", ma_process_pid(process));
    print_ms(out, start);
    fputs(",\"registerTime\":", out);
    print_ms(out, start);
    fputs(",\"processShutdownTime\":", out);
    if (process->ended)
        print_ms(out, ma_clock_ns(trace, process, process->end_time));
    else
        fputs("null", out);
    fputs(",\"unregisterTime\":null,", out);
}

static void thread_free(struct thread *thread)
{
    ma_strings_free(&thread->strings);
    ma_pairs_free(&thread->function_of);
    ma_map_free(&thread->frame_of);
    ma_map_free(&thread->resource_of);
    free(thread->functions);
    free(thread->frames);
    free(thread->nodes);
    free(thread->resources);
}

static int write_thread(struct profile *profile, uint32_t index)
{
    struct ma_firefox *of = profile->of;
    struct thread thread = {.profile = profile};
    const struct ma_firefox_event **events = malloc((of->n + 1) * sizeof *events);
    uint32_t *nodes = malloc((of->n + 1) * sizeof *nodes);
    size_t n = 0;
    int result = events && nodes ? 0 : -ENOMEM;
    if (profile->node_of)
        memset(profile->node_of, 0, profile->n_node_of * sizeof *profile->node_of);
    for (size_t i = 0; i < of->n && result == 0; i++) {
        if (of->events[i].process != index)
            continue;
        events[n] = &of->events[i];
        result = find_node(&thread, of->events[i].stack, &nodes[n++]);
    }
    if (result == 0) {
        write_head(profile, of->analysis->trace.processes[index]);
        write_events(&thread, events, nodes, n);
        result = write_marks(&thread, index);
    }
    if (result == 0) {
        write_tables(&thread);
        fputs("\"showMarkersInTimeline\":true}", profile->out);
    }
    free(events);
    free(nodes);
    thread_free(&thread);
    return result;
}

static void write_counter(struct profile *profile, uint32_t index, size_t thread)
{
    const struct ma_firefox_process *process = &profile->of->processes[index];
    const struct ma_firefox_point *points = process->points;
    const struct ma_trace *trace = &profile->of->analysis->trace;
    FILE *out = profile->out;
    fputs("{\"name\":\"malloc\",\"category\":\"Memory\",\"description\":\"Bytes on the heap\","
          "\"pid\":",
          out);
    print_pid(out, trace, trace->processes[index]);
    fprintf(out, ",\"mainThreadIndex\":%zu,\"samples\":{", thread);
    COLUMN(out, "time", process->n, print_ms(out, points[i].ns));
    COLUMN(out, "number", process->n,
           fprintf(out, "%" PRIu64, points[i].calls - (i ? points[i - 1].calls : 0)));
    COLUMN(out, "count", process->n,
           fprintf(out, "%" PRId64, points[i].bytes - (i ? points[i - 1].bytes : 0)));
    fprintf(out, "\"length\":%zu}}", process->n);
}

/* The first 16 bytes of a build-id as a GUID, whose first three parts are turned round. */
static void print_breakpad(FILE *out, const char *build_id)
{
    static const unsigned char order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    const size_t n = strlen(build_id) / 2;
    putc('"', out);
    for (size_t i = 0; i < 16; i++) {
        const char *byte = order[i] < n ? build_id + 2 * order[i] : "00";
        for (size_t k = 0; k < 2; k++)
            putc(byte[k] >= 'a' && byte[k] <= 'f' ? byte[k] - 'a' + 'A' : byte[k], out);
    }
    fputs("0\"", out);
}

static void write_libs(const struct profile *profile)
{
    FILE *out = profile->out;
    const struct lib *libs = profile->libs;
    fputs("\n\"libs\":[", out);
    for (size_t i = 0; i < profile->n_libs; i++) {
        const char *names[] = {"name", "path", "debugName", "debugPath"};
        fputs(i ? ",\n{\"arch\":\"\"" : "\n{\"arch\":\"\"", out);
        for (size_t k = 0; k < 4; k++) {
            fprintf(out, ",\"%s\":", names[k]);
            ma_write_json_string(out, k & 1 ? libs[i].path : base_of(libs[i].path));
        }
        fputs(",\"breakpadId\":", out);
        print_breakpad(out, libs[i].build_id);
        fputs(",\"codeId\":", out);
        if (libs[i].build_id[0])
            ma_write_json_string(out, libs[i].build_id);
        else
            fputs("null", out);
        putc('}', out);
    }
    fputs("],", out);
}

static int write_meta(const struct profile *profile)
{
    const struct ma_analysis *analysis = profile->of->analysis;
    const struct ma_trace *trace = &analysis->trace;
    const uint64_t wall = trace->n_processes ? trace->processes[0]->record.realtime_ns : 0;
    char *command = ma_export_command(analysis);
    FILE *out = profile->out;
    if (!command)
        return -ENOMEM;
    fputs("{\"meta\":{\"interval\":1,\"startTime\":", out);
    print_ms(out, wall);
    fputs(",\"processType\":0,\"stackwalk\":1,\"version\":29,\"preprocessedProfileVersion\":48,"
          "\"symbolicated\":true,\"usesOnlyOneStackType\":true,"
          "\"doesNotUseFrameImplementation\":true,\"sourceCodeIsNotOnSearchfox\":true,"
          "\"keepProfileThreadOrder\":true,\"importedFrom\":\"mlog " MLOG_VERSION
          "\",\"markerSchema\":[],\"categories\":[{\"name\":\"Other\",\"color\":\"grey\","
          "\"subcategories\":[\"Other\"]}],\"product\":",
          out);
    ma_write_json_string(
        out, trace->n_processes
                 ? base_of(ma_process_text(ma_process_program(trace->processes[0]), MLF_TEXT_EXE))
                 : "");
    fputs(",\"arguments\":", out);
    ma_write_json_string(out, command);
    fputs("},", out);
    free(command);
    return 0;
}

int ma_firefox_write(struct ma_firefox *of, FILE *out)
{
    struct profile profile = {.of = of, .out = out};
    size_t thread = 0;
    int result = write_meta(&profile);
    fputs("\n\"pages\":[],\n\"threads\":[", out);
    for (uint32_t i = 0; i < of->n_processes && result == 0; i++) {
        if (!of->processes[i].points)
            continue;
        fputs(thread++ ? ",\n" : "\n", out);
        result = write_thread(&profile, i);
    }
    fputs("],\n\"counters\":[", out);
    thread = 0;
    for (uint32_t i = 0; i < of->n_processes; i++) {
        if (!of->processes[i].points)
            continue;
        fputs(thread ? ",\n" : "\n", out);
        write_counter(&profile, i, thread++);
    }
    fputs("],", out);
    write_libs(&profile);
    fputs("\n\"profilerOverhead\":[]}\n", out);
    ma_trie_free(&profile.trie);
    free(profile.libs);
    free(profile.node_of);
    free(profile.chain);
    return result;
}
