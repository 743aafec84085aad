/* SPDX-License-Identifier: MIT
 *
 * The trace format's constants, as FORMAT.md defines them. Writer and reader
 * include this file and no other of each other's. Offsets are bytes from the
 * start of the header concerned; all integers are little-endian and go
 * through mlf_codec.h, never through a struct.
 */
#ifndef MLF_FORMAT_H
#define MLF_FORMAT_H

#define MLF_MAJOR 1
#define MLF_MINOR 3
#define MLF_MAGIC "\x89mlog\r\n\x1a"
#define MLF_MAGIC_SIZE 8

/* Trace header (FORMAT.md section 3) */
enum {
    MLF_HDR_MAGIC = 0,
    MLF_HDR_MAJOR = 8,
    MLF_HDR_MINOR = 10,
    MLF_HDR_LAYOUT = 12,
    MLF_HDR_UNIT_LOG2 = 13,
    MLF_HDR_HEADER_SIZE = 14,
    MLF_HDR_REQUIRED = 16,
    MLF_HDR_OPTIONAL = 24,
    MLF_HDR_CRC = 32,
    MLF_HDR_CLAIMED = 40,
    MLF_HDR_RESERVED = 48,
    MLF_HDR_SIZE = 64,
    MLF_HDR_STOPS = 64, /* mapped: up to the end of the first unit */
};
enum mlf_layout { MLF_LAYOUT_MAPPED = 1, MLF_LAYOUT_STREAM = 2 };
#define MLF_UNIT_LOG2_MIN 12
#define MLF_UNIT_LOG2_MAX 16

/* Chunk header (section 4) */
#define MLF_CHUNK_MAGIC 0x6b636c6du
enum {
    MLF_CHUNK_MAGIC_AT = 0,
    MLF_CHUNK_KIND = 4,
    MLF_CHUNK_FLAGS = 5,
    MLF_CHUNK_HEADER_SIZE = 6,
    MLF_CHUNK_SIZE_AT = 8,
    MLF_CHUNK_POSITION = 12,
    MLF_CHUNK_PROCESS = 16,
    MLF_CHUNK_STREAM = 24,
    MLF_CHUNK_SEQUENCE = 28,
    MLF_CHUNK_BASE_TIME = 32,
    MLF_CHUNK_PAYLOAD_CRC = 40,
    MLF_CHUNK_CRC = 44,
    MLF_CHUNK_HEADER = 48,
};
enum mlf_chunk_kind { MLF_EVENTS = 1, MLF_DEFINITIONS = 2 };
#define MLF_CHUNK_KIND_OPTIONAL 0x80
#define MLF_CHUNK_HAS_CRC 0x01

/* Records (section 5) */
enum mlf_record {
    MLF_REC_PROCESS = 0x01,
    MLF_REC_TEXT = 0x02,
    MLF_REC_MODULE = 0x03,
    MLF_REC_MODULE_END = 0x04,
    MLF_REC_STREAM = 0x05,
    MLF_REC_STREAM_END = 0x06,
    MLF_REC_CLOCK = 0x07,
    MLF_REC_PROCESS_END = 0x08,
    MLF_REC_LOSS = 0x09,
    MLF_REC_SYNC = 0x0a,
    MLF_REC_SAMPLING = 0x0b,
    MLF_REC_STOP = 0x0c,
    MLF_REC_TAKEN_OVER = 0x0d,
    MLF_REC_OPTIONAL = 0x20, /* first tag of the optional records */
    MLF_REC_MEMORY = 0x20,
    MLF_REC_MARK = 0x21,
    MLF_REC_COUNTERS = 0x22,
    MLF_REC_FILLED = 0x25, /* 0x23, 0x24: never given */
    MLF_REC_EXEC = 0x26,
    MLF_REC_BYPASS = 0x27,
    MLF_REC_WINDOW = 0x28,
    MLF_REC_CHILD_END = 0x2b,
    MLF_REC_STACK = 0x2c,
    MLF_REC_SAVEPOINT = 0x29,
    MLF_REC_PRINT = 0x2a,
    MLF_REC_LIMIT = 0x2d,
    MLF_REC_LAST = 0x3f,
};
enum mlf_text {
    MLF_TEXT_EXE = 1,
    MLF_TEXT_CWD,
    MLF_TEXT_ARGS,
    MLF_TEXT_MAPS,
    MLF_TEXT_COMM,
    MLF_TEXT_HOST,
    MLF_TEXT_WRITER,
    MLF_TEXT_BOOT_ID,
    MLF_TEXT_SETTINGS,
};
enum mlf_clock { MLF_CLOCK_TSC = 1, MLF_CLOCK_CNTVCT = 2, MLF_CLOCK_MONOTONIC = 3 };
enum mlf_process_how { MLF_HOW_START = 0, MLF_HOW_FORK = 1 };
enum mlf_process_end {
    MLF_END_EXIT = 1,
    MLF_END__EXIT,
    MLF_END_EXEC,
    MLF_END_ABORT,
    MLF_END_QUICK_EXIT,
};
enum { MLF_EXEC_NO_TRACE = 1, MLF_EXEC_NO_LIBRARY = 2, MLF_EXEC_FAILED = 4 };
enum mlf_child_end { MLF_CHILD_EXITED = 1, MLF_CHILD_KILLED = 2 };
enum { MLF_CHILD_CORE = 1 };
enum mlf_bypass {
    MLF_BYPASS_DEEPBIND = 1,
    MLF_BYPASS_NAMESPACE,
    MLF_BYPASS_OWN,
    MLF_BYPASS_OTHER,
};
enum mlf_stack_of { MLF_STACK_FREE = 1, MLF_STACK_ABORT };
enum mlf_limit { MLF_LIMIT_GROUP = 1, MLF_LIMIT_MACHINE = 2 };
/* An entry of the table of stops in a mapped trace's first unit. */
enum {
    MLF_STOP_PROCESS = 0, /* 0: the entry is free */
    MLF_STOP_TIME = 8,
    MLF_STOP_REASON = 16, /* stored last; 0: not yet */
    MLF_STOP_ERRNO = 20,
    MLF_STOP_MET = 24, /* enum mlf_met | what it is set to << 8 */
    MLF_STOP_ENTRY = 32,
};
enum mlf_loss {
    MLF_LOSS_MEMORY = 1,
    MLF_LOSS_SINK_FULL,
    MLF_LOSS_SINK_GONE,
    MLF_LOSS_SIGNAL,
    MLF_LOSS_CHOICE,
    MLF_LOSS_SANDBOX,
    MLF_LOSS_ASKED,
};
/* What a STOP met. */
enum mlf_met {
    MLF_MET_AS = 1,
    MLF_MET_DATA,
    MLF_MET_FSIZE,
    MLF_MET_MEMLOCK,
    MLF_MET_SPACE,
    MLF_MET_QUOTA,
};
enum { MLF_STREAM_NESTED = 1, MLF_STREAM_SHARED = 2 };
#define MLF_STREAM_OUTSIDE UINT32_MAX /* number of who tells from outside the process */
enum { MLF_MODULE_MAIN = 1, MLF_MODULE_VDSO = 2 };
enum mlf_window { MLF_WINDOW_PAUSE = 1, MLF_WINDOW_RESUME };
enum mlf_window_by { MLF_WINDOW_START = 1, MLF_WINDOW_FORK, MLF_WINDOW_CTL, MLF_WINDOW_API };
enum mlf_mark { MLF_MARK_POINT = 1, MLF_MARK_BEGIN, MLF_MARK_END };
enum { MLF_SAVEPOINT_ASSERTED = 1, MLF_SAVEPOINT_COUNTED = 2 };
enum mlf_counter {
    MLF_COUNT_NO_RULE = 1,
    MLF_COUNT_DEPTH_LIMIT,
    MLF_COUNT_BAD_MEMORY,
    MLF_COUNT_FP_GUESSES,
    MLF_COUNT_FULL_STEPS,
    MLF_COUNT_NODES,
    MLF_COUNT_LIBRARY_BYTES,
    MLF_COUNT_NESTED,
    MLF_COUNT_MAPPED,
    MLF_COUNT_IN_USE,
    MLF_COUNT_FREE,
};

/* Nodes (section 6) */
#define MLF_NODE 0x40 /* | the flags below */
enum {
    MLF_NODE_ID = 1,
    MLF_NODE_PARENT = 2,
    MLF_NODE_NEW_FRAME = 4,
    MLF_NODE_EXACT = 8,
};
enum mlf_root {
    MLF_ROOT_WHOLE = 0,
    MLF_ROOT_NO_RULE = 1,
    MLF_ROOT_DEPTH_LIMIT = 2,
    MLF_ROOT_BAD_MEMORY = 3,
    MLF_ROOT_TABLE_FULL = 4,
    MLF_FIRST_NODE = 16,
};

/* Events (section 7) */
#define MLF_RING 256 /* entries of the address and the stack ring */
enum {
    MLF_EV_REALLOC = 0x40,
    MLF_EV_FREE_BY = 0x41,
    MLF_EV_FAILED = 0x42,
    MLF_EV_FREE = 0x80,  /* | address code */
    MLF_EV_ALLOC = 0xc0, /* | flags */
};
enum {
    MLF_ADDR_NEAR_MAX = 59,
    MLF_ADDR_RING = 60,
    MLF_ADDR_DELTA = 61,
    MLF_ADDR_ABSOLUTE = 62,
    MLF_ADDR_RING_FIRST = 61, /* distance meant by operand 0 of MLF_ADDR_RING */
    MLF_ADDR_GRAIN = 16,
};
enum {
    MLF_ALLOC_ADDRESS = 3, /* mask; values below */
    MLF_ALLOC_ADDRESS_RING = 0,
    MLF_ALLOC_ADDRESS_NEXT = 1,
    MLF_ALLOC_ADDRESS_DELTA = 2,
    MLF_ALLOC_ADDRESS_ABSOLUTE = 3,
    MLF_ALLOC_STACK = 4,
    MLF_ALLOC_SIZE = 8,
    MLF_ALLOC_USABLE = 16,
    MLF_ALLOC_FUNCTION = 32,
};

/* The functions that make or end blocks: X(number, name, has alignment operand). */
#define MLF_FUNCTIONS(X)                                                                           \
    X(0, malloc, 0)                                                                                \
    X(1, calloc, 0)                                                                                \
    X(2, realloc, 0)                                                                               \
    X(3, reallocarray, 0)                                                                          \
    X(4, free, 0)                                                                                  \
    X(5, memalign, 1)                                                                              \
    X(6, posix_memalign, 1)                                                                        \
    X(7, aligned_alloc, 1)                                                                         \
    X(8, valloc, 0)                                                                                \
    X(9, pvalloc, 0)                                                                               \
    X(10, free_sized, 0)                                                                           \
    X(11, free_aligned_sized, 0)
enum mlf_function {
#define MLF_FUNCTION_ENUM(number, name, aligned) MLF_FN_##name = number,
    MLF_FUNCTIONS(MLF_FUNCTION_ENUM)
#undef MLF_FUNCTION_ENUM
        MLF_FN_COUNT
};

/* Limits (section 9) */
#define MLF_CHUNK_MAX (1u << 24)
#define MLF_RECORD_MAX 65535u
#define MLF_DEPTH_MAX 65535u
#define MLF_SEGMENTS_MAX 64u
#define MLF_BUILD_ID_MAX 64u

#endif
