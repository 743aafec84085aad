/* SPDX-License-Identifier: MIT
 *
 * The definitions of a trace: processes by key, and of each its texts, modules,
 * nodes of the frame trie and thread streams. A forked child sees its parent's
 * nodes and modules below the bounds its record gives. Memory grows with
 * definitions only. All pointers live until ma_trace_free.
 */
#ifndef MA_TRACE_H
#define MA_TRACE_H

#include "ma_audit.h"
#include "ma_map.h"
#include "ma_record.h"

#define MA_TEXTS (MLF_TEXT_SETTINGS + 1)     /* texts of a process, by what they are */
#define MA_FORKS_DEEP 256                    /* forks within forks that are looked through */
#define MA_PROCESSES_MAX ((size_t)1 << 17)   /* told apart */
#define MA_STREAMS_MAX ((size_t)1 << 21)     /* by their chunks, and as many by records */
#define MA_BYPASSES_MAX ((size_t)1 << 12)    /* modules past the library */
#define MA_EXECS_MAX ((size_t)1 << 16)       /* executions kept */
#define MA_TEXT_MAX ((size_t)16 << 20)       /* bytes kept of one text */
#define MA_LOSS_REASONS (MLF_LOSS_ASKED + 1) /* enum mlf_loss; 0: any other */

struct ma_text {
    char *data; /* NUL-terminated, may hold further NULs */
    size_t size;
};

struct ma_module {
    uint32_t id, flags;
    uint64_t bias, load_time, end_time; /* end_time UINT64_MAX: still loaded */
    char *path;                         /* as the loader knew it */
    char *file; /* where it lay, as far as is known (ma_place.h): `path`, or made of it */
    unsigned char *build_id;
    size_t build_id_size;
    struct ma_segment *segments;
    size_t n_segments;
    bool borrowed; /* what is pointed to is another's */
};

struct ma_node {
    uint32_t id, parent, module;
    uint32_t exact; /* the frame was interrupted at this address: no call before it */
    uint64_t offset;
    uint64_t path; /* set by ma_process_add_node: a hash of the frames from the root to this one,
                    * the same for all nodes of a process and its forks that mean one path, as
                    * far as parents were defined before their children */
};

struct ma_process;
struct ma_feed;

struct ma_stream {
    struct ma_process *process;
    uint32_t number;
    uint32_t index;                  /* in the trace */
    uint32_t thread;                 /* index of the stream that stands for the thread */
    uint64_t tid, flags, start, end; /* end UINT64_MAX: open */
    char *name;
    bool known;                     /* a STREAM record was read */
    uint64_t lost[MA_LOSS_REASONS]; /* events that LOSS records name */
};

/* A time in which a process did not record. */
struct ma_gap {
    uint64_t from, to; /* ticks; to: UINT64_MAX while it is open */
    uint64_t by;       /* enum mlf_window_by, who began it */
};
#define MA_GAPS_MAX 65536 /* of a process; more are counted */

struct ma_process {
    uint64_t key;
    uint32_t index; /* order of appearance */
    bool known;     /* a PROCESS record was read; without one, defaults */
    struct ma_process_record record;
    struct ma_process *parent; /* of a fork, if it is in the trace */
    bool namespaces;           /* its pid is that of another in another pid namespace, too, ... */
    bool machines;         /* ... or of another machine, or boot; told of the pid's first process */
    bool elsewhere;        /* its pid is that of another in another place, which appeared first */
    struct ma_feed *feeds; /* the merge's, of its chunks */
    uint32_t heirs; /* forked children that look up nodes here: those not retired (ma_retire.h) */
    struct ma_text texts[MA_TEXTS];

    struct ma_module *modules;
    size_t n_modules, module_capacity;
    struct ma_map module_of; /* id to index */
    size_t maps_read;        /* bytes of maps that were looked through for modules */
    struct ma_node *nodes;   /* in the order of their arrival */
    size_t n_nodes, node_capacity;
    uint32_t *node_at; /* 1 + index of the node with id first_node + n; 0: none */
    size_t n_node_at;
    struct ma_map node_of; /* of ids that are not dense: to index */

    bool stopped; /* a STOP record was read: of its end it will tell nothing */
    bool ended;   /* by its own word */
    uint64_t end_time, end_how, end_status;
    struct {
        bool told, killed, core;
        uint64_t time, status; /* the signal, if killed */
    } reaped;                  /* by that of who waited for it (ma_ending.h) */
    uint64_t last_time;        /* of the latest event replayed, in ticks */
    uint64_t watermark;        /* stream layout: no event before it is to come */
    bool unsettled; /* its PROCESS_END was the last that its definitions told: no SYNC followed */
    uint64_t clock_ticks, clock_ns; /* of the latest CLOCK record */
    uint64_t counters[16];

    /* Times without recording. Of blocks that began before unseen_before an end may have
     * been missed: UINT64_MAX while a gap is open, 0: there was none yet. */
    struct ma_gap *gaps;
    size_t n_gaps, gap_capacity;
    uint64_t gap_count; /* with those that found no place */
    bool has_unseen;    /* it had a gap, or the parent that it was forked of */
    uint64_t unseen_before;
};

/* A program that a process of the trace executed, itself or in a child. */
struct ma_exec {
    const struct ma_process *starter; /* whose record it is */
    uint64_t pid, time, state;        /* MLF_EXEC_* */
    char *path;                       /* as it was named; may be empty */
};

/* A module whose malloc is not the traced one. */
struct ma_bypass {
    uint64_t why;        /* enum mlf_bypass, or one of a later version */
    uint64_t processes;  /* that say so */
    char *path, *target; /* of the module, and of whose malloc it calls; may be empty */
};

struct ma_trace {
    struct ma_process **processes;
    size_t n_processes, process_capacity;
    struct ma_map process_of;
    struct ma_map first_of_pid;
    bool places; /* a pid is that of processes of several places (ma_identity.h) */
    const struct ma_process *first_known; /* of the known ones the first to appear, or NULL */
    struct ma_stream **streams;
    size_t n_streams, stream_capacity;
    struct ma_map stream_of; /* process index << 32 | number */
    struct ma_map thread_of; /* process index << 32 | tid, to the latest stream not nested */
    struct ma_exec *execs;   /* in the order in which they were replayed */
    size_t n_execs, exec_capacity;
    struct ma_bypass *bypasses;
    size_t n_bypasses, bypass_capacity;
    struct ma_audit audit;
};

void ma_trace_init(struct ma_trace *trace);
void ma_trace_free(struct ma_trace *trace);

/* The process with this key, made if it is new; NULL if memory is short. */
struct ma_process *ma_trace_process(struct ma_trace *trace, uint64_t key);
struct ma_stream *ma_trace_stream(struct ma_trace *trace, struct ma_process *process,
                                  uint32_t number);

/* True if a record alone is no reason any more to make this stream. */
bool ma_trace_is_full(const struct ma_trace *trace, const struct ma_process *process,
                      uint32_t number);

/* Apply definitions. All return 0 or -ENOMEM; what is defined twice keeps its
 * first meaning. */
int ma_process_define(struct ma_trace *trace, struct ma_process *process,
                      const struct ma_process_record *record);
int ma_process_add_text(struct ma_process *process, uint64_t what, struct ma_bytes bytes);
int ma_process_add_module(struct ma_process *process, const struct ma_module_record *record);
int ma_process_add_node(struct ma_process *process, const struct ma_node *node);
int ma_stream_define(struct ma_trace *trace, struct ma_stream *stream,
                     const struct ma_stream_record *record);
/* Note an execution; one that failed takes the last of its pid back. Beyond
 * MA_EXECS_MAX none is kept. */
int ma_trace_add_exec(struct ma_trace *trace, const struct ma_process *starter,
                      const struct ma_short_record *record);
/* Note a module, once for all processes. Beyond MA_BYPASSES_MAX none is kept. */
int ma_trace_add_bypass(struct ma_trace *trace, const struct ma_short_record *record);
/* Note that recording paused, or went on. */
int ma_process_add_gap(struct ma_process *process, const struct ma_short_record *record);
void ma_stream_end(struct ma_stream *stream, const struct ma_stream_record *record);

/* The index in nodes of a node that the process itself defined, or MA_NONE. */
static inline uint32_t ma_process_own_node(const struct ma_process *process, uint32_t id)
{
    uint32_t first = (uint32_t)process->record.inherited_nodes;
    if (id >= first && id - first < process->n_node_at && process->node_at[id - first])
        return process->node_at[id - first] - 1;
    return ma_map_get(&process->node_of, id);
}

/* The node or module that `id` means in this process, or NULL. *owner is the
 * process that defined it. */
const struct ma_node *ma_process_node(const struct ma_process *process, uint32_t id,
                                      const struct ma_process **owner);
const struct ma_module *ma_process_module(const struct ma_process *process, uint32_t id);

/* The process that a node of this id is of: this one, or the one it inherits from;
 * NULL: it is not known. */
const struct ma_process *ma_process_of_node(const struct ma_process *process, uint32_t id);

/* Forget the nodes, and texts that no report shows. */
void ma_process_forget(struct ma_process *process);

/* The address of a frame as captured; its module's bias is 0 if unknown. */
uint64_t ma_process_address(const struct ma_process *process, const struct ma_node *node);

/* Text of a process; "" if the trace has none. */
const char *ma_process_text(const struct ma_process *process, unsigned what);

/* The value of a setting of the process's program, "" if it has none. */
const char *ma_process_setting(const struct ma_process *process, const char *name);

/* The process whose texts tell what this one runs: a child of a fork has none of
 * its own and runs its parent's program. */
const struct ma_process *ma_process_program(const struct ma_process *process);

/* The pid, or 0 if unknown. */
static inline uint64_t ma_process_pid(const struct ma_process *process)
{
    return process->known ? process->record.pid : 0;
}

#endif
