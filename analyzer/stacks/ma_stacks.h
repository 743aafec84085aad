/* SPDX-License-Identifier: MIT
 *
 * Stacks as reports see them: independent of process and generation, so that the
 * same path in two processes is one stack. A node stands for its path, and paths
 * are told apart by a hash of 59 bits folded along their frames (module by path and
 * build-id, offset) from the outermost in, keyed anew in every run: of a million
 * different paths two are taken for one with odds of 10^-6. Hashes are computed
 * once for all nodes of a process, when one is asked for; return addresses and
 * symbols are resolved for the frames that are shown.
 *
 * All retired processes share one trie of retired nodes: it grows with distinct
 * paths, not with processes. Retiring a process replaces each of its nodes by the
 * number of a retired node, 4 bytes. These numbers serve forked children that have
 * not appeared yet, and are kept for the latest processes only
 * (MA_RETIRED_NODES_KEPT).
 */
#ifndef MA_STACKS_H
#define MA_STACKS_H

#include "ma_trace.h"
#include "ma_symbols.h"

/* Ids below MLF_FIRST_NODE are roots (enum mlf_root); this one is ours. */
#define MA_ROOT_UNKNOWN 15 /* a node that the trace does not define */

/* A module, whatever its process and generation; or the code of one process that
 * lies in no module. */
struct ma_object_entry {
    const struct ma_process *owner;    /* of code in no module; NULL: it is a module */
    const struct ma_process *first;    /* of the first to appear of those that had it, and its id */
    uint32_t first_id;                 /* there */
    const struct ma_segment *segments; /* of the first one that was met */
    size_t n_segments;
    const char *path; /* "" if the trace does not tell */
    const unsigned char *build_id;
    size_t build_id_size;
    char *build_id_text;        /* hexadecimal */
    bool vdso, known;           /* known: the trace defines the module */
    bool executable;            /* a process has it as its program */
    struct ma_map pc_of;        /* offset and exactness to return address */
    uint32_t other;             /* the next with the same hash of path and build-id, or MA_NONE */
    uint64_t shown, unresolved; /* distinct frames */
    uint64_t since;             /* ns of the real-time clock when its process began, 0: unknown */
    bool here;                  /* its process ran on this machine */
    uint64_t order;             /* of its first use: by process, then by time of asking */
};

struct ma_pc {                     /* a return address */
    uint32_t object;               /* its entry */
    uint32_t resolved, n_resolved; /* its frames among those resolved, the innermost first;
                                    * n_resolved 0: not asked for yet */
    bool exact;
    uint64_t offset, address; /* as captured, in the first process that had it */
};

struct ma_stack {         /* a stack */
    uint32_t owner, node; /* the first node that was met for it: of which process, its index */
    bool retired;         /* node is an index of retired nodes */
};

struct ma_retired_node {  /* a path that retired processes had */
    uint64_t hash, frame; /* frame: offset << 1 | exactness */
    uint32_t parent;      /* a root, or MLF_FIRST_NODE + its index */
    uint32_t object;
};
#define MA_RETIRED_NODES_KEPT ((size_t)4 << 20) /* ids, for children of retired processes */

struct ma_frame {
    uint64_t address, offset;
    const char *module;       /* NULL: in none */
    const char *build_id;     /* hexadecimal, NULL if unknown */
    const char *function;     /* NULL if unknown */
    const char *linkage;      /* the symbol that function was made of; NULL if unknown */
    const char *file;         /* NULL if unknown */
    unsigned line;            /* 0 if unknown */
    uint32_t pc;              /* whose frame it is */
    uint32_t number;          /* among the frames resolved */
    bool inlined, executable; /* executable: module is a process's program */
};

/* Stacks as a tree of frames, so that what is summed up along them takes work in
 * proportion to distinct paths, not to stacks times their depth. All zero is empty. */
struct ma_trie {
    struct ma_trie_node {
        uint32_t parent; /* the frame that called it: an earlier node; MA_NONE: none */
        uint32_t frame;  /* index among the frames resolved (ma_stacks_resolved) */
    } * nodes;
    size_t n, capacity;
    struct ma_map of; /* hash of a path to the node of its innermost frame */
};

struct ma_hashes { /* of the paths of one process's own nodes */
    uint64_t *at;  /* by index of the node; the root in the low 4 bits; 0: not known yet */
    size_t n;
    size_t done;             /* all before are known */
    uint32_t *retired_nodes; /* of a retired process: by id of the node less `first`, as in
                              * ma_retired_node.parent; 0: there was none */
    size_t n_retired_nodes;
    uint32_t first;
};

struct ma_stacks {
    struct ma_trace *trace;     /* the caller's, as the symbols are */
    struct ma_symbols *symbols; /* NULL: none wanted */

    /* frames */
    struct ma_object_entry *objects;
    size_t n_objects, object_capacity;
    struct ma_map object_of; /* process and module to object */
    struct ma_map named;     /* hash of path and build-id to the latest such object (see other) */
    uint64_t latest_module;  /* process and module that were asked for last, */
    uint32_t latest_object;  /* and the object they gave */
    struct ma_pc *pcs;
    size_t n_pcs, pc_capacity;
    struct ma_frame *resolved; /* the frames of return addresses that were asked for */
    size_t n_resolved, resolved_capacity;

    /* stacks */
    struct ma_hashes *hashes; /* by process index */
    size_t n_hashes;
    struct ma_stack *all; /* index: id - MLF_FIRST_NODE */
    size_t n_stacks, stack_capacity;
    struct ma_map stack_of; /* hash to index */

    /* of retired processes */
    struct ma_retired_node *retired_nodes;
    size_t n_retired_nodes, retired_node_capacity;
    struct ma_map retired_node_of; /* hash to index */
    uint32_t *retired; /* processes in the order of retiring; those from retired_at on have ids */
    size_t n_retired, retired_capacity, retired_at;
    size_t n_kept;                     /* sum of their retired nodes */
    const struct ma_process *retiring; /* the one that is being retired, or NULL */
    struct ma_map retiring_of;         /* as object_of, of that one: freed when it is done */

    /* scratch, and answers, valid until the next call */
    uint32_t *chain; /* ids of nodes on the way out */
    size_t n_chain, chain_capacity;
    uint32_t *stack_pcs; /* of the latest ma_stacks_pcs */
    size_t n_stack_pcs, stack_pc_capacity;
    struct ma_frame *frames; /* of the latest ma_stacks_frames */
    size_t n_frames, frame_capacity;
};

void ma_stacks_init(struct ma_stacks *stacks, struct ma_trace *trace, struct ma_symbols *symbols);
void ma_stacks_free(struct ma_stacks *stacks);

/* The id of a process's stack; 0 to 15 for one without frames. Returns 0 or
 * -ENOMEM. */
int ma_stacks_id(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack,
                 uint32_t *id);

/* The retired node of a process's stack, made if it is new; below MLF_FIRST_NODE
 * for a stack without frames. Returns 0 or -ENOMEM. */
int ma_stacks_retired_node(struct ma_stacks *stacks, const struct ma_process *process,
                           uint32_t stack, uint32_t *retired_node);

/* The id of a retired node's path; `process` (its index) had it. Returns 0 or -ENOMEM. */
int ma_stacks_retired_node_id(struct ma_stacks *stacks, uint32_t retired_node, uint32_t process,
                              uint32_t *id);

/* Replace the process's nodes by retired nodes, and free its copies of modules that
 * others have, too. The caller then frees the nodes themselves (ma_process_forget).
 * ma_stacks_resolve_all may not follow. Returns 0 or -ENOMEM. */
int ma_stacks_retire(struct ma_stacks *stacks, struct ma_process *process);

/* The frames of a stack, innermost first, inlined ones included. The array is
 * valid until the next call, its strings until ma_stacks_free. -1 if memory is
 * short. */
long ma_stacks_frames(struct ma_stacks *stacks, uint32_t id, const struct ma_frame **frames);

/* The return addresses of a stack's frames, innermost first: as many as it has frames that
 * are not inlined. Valid until the next call; -1 if memory is short. */
long ma_stacks_pcs(struct ma_stacks *stacks, uint32_t id, const uint32_t **pcs);

/* The innermost of them, `most` at most; otherwise the same. */
long ma_stacks_pcs_within(struct ma_stacks *stacks, uint32_t id, unsigned most,
                          const uint32_t **pcs);

/* The frames of one return address, by its number in ma_stacks_pcs; as above. */
long ma_stacks_pc(struct ma_stacks *stacks, uint32_t pc, const struct ma_frame **frames);

/* The node of the stack's innermost frame, made with those it lies in if they are
 * new: after all older ones, outermost first. MA_NONE for a stack without frames.
 * Returns 0 or -ENOMEM. */
int ma_stacks_trie_add(struct ma_stacks *stacks, struct ma_trie *trie, uint32_t id, uint32_t *node);
void ma_trie_free(struct ma_trie *trie);

/* Pass all nodes on a walk from the outermost frames inwards, each on the way down
 * and, after all that it called, on the way back. Returns 0, -ENOMEM, or what pass
 * returned that was not 0. */
int ma_trie_walk(const struct ma_trie *trie, int (*pass)(void *context, uint32_t node, bool down),
                 void *context);

/* A frame by the number that nodes have for it. Valid until the next is asked for. */
static inline const struct ma_frame *ma_stacks_resolved(const struct ma_stacks *stacks,
                                                        uint32_t frame)
{
    return &stacks->resolved[frame];
}

/* Asks for the symbols of all frames of all processes, those that no report
 * shows included. Returns 0 or -ENOMEM. */
int ma_stacks_resolve_all(struct ma_stacks *stacks);

/* An entry as the symboliser knows it: valid as long as the entry. */
struct ma_object ma_stacks_object(const struct ma_object_entry *entry);

/* The root a stack ends at: whole, or why it was cut. */
uint32_t ma_stacks_root(const struct ma_stacks *stacks, uint32_t id);

/* A frame as a person may read it, in a static form: the function, else
 * "module+0xoffset", else the address. Writes at most size bytes to buffer and
 * returns it, or the function itself. */
const char *ma_frame_name(const struct ma_frame *frame, char *buffer, size_t size);

#endif
