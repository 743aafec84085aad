/* SPDX-License-Identifier: MIT
 *
 * The control page of a traced process (FORMAT.md section 12): shared memory by which
 * `mlog ctl` asks and the library answers, on one machine, so in its own byte order.
 * Members are read and written by atomic operations where two sides touch them. Each
 * side takes what the other wrote for nonsense until it has bounded it.
 */
#ifndef MLF_CONTROL_H
#define MLF_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#define MLF_CONTROL_NAME "mlog-control" /* of the memfd */
#define MLF_CONTROL_MAGIC "mlogctl\n"
#define MLF_CONTROL_VERSION 1u
#define MLF_CONTROL_BYTES 4096
#define MLF_CONTROL_SLOTS 8u /* requests that may wait */
#define MLF_CONTROL_TEXT 256
#define MLF_CONTROL_TARGET 1024

enum mlf_control_command {
    MLF_CONTROL_STATUS = 1,
    MLF_CONTROL_PAUSE,
    MLF_CONTROL_RESUME,
    MLF_CONTROL_MARK, /* text: its name */
    MLF_CONTROL_FLUSH,
    MLF_CONTROL_STOP,
};
enum mlf_control_state {
    MLF_CONTROL_RECORDING = 1,
    MLF_CONTROL_PAUSED,
    MLF_CONTROL_STOPPED,
};

/* Written by who asks, who holds flock(2) on the memfd: first this, then `asked`. */
struct mlf_control_request {
    uint32_t command;
    int32_t result;  /* the library's: 0 done, 1 it was so already, or a negative errno */
    uint32_t length; /* of text, which has no NUL */
    uint32_t reserved;
    char text[MLF_CONTROL_TEXT];
};

struct mlf_control {
    char magic[8];
    uint32_t version;
    uint32_t size;
    uint32_t pid; /* in the process's own namespace */
    uint32_t reserved;
    uint64_t key; /* of the process, as in the trace */
    char writer[32];
    /* The number of the latest request, in slot number % MLF_CONTROL_SLOTS; that of the
     * latest one answered. */
    uint32_t asked;
    uint32_t answered;
    /* What follows, up to `requests`, is the library's: odd while it writes. */
    uint32_t snapshot;
    uint32_t state;
    uint32_t stop_reason; /* enum mlf_loss */
    uint32_t stop_errno;
    uint64_t sampling; /* mean interval in bytes; 0: none */
    uint64_t events, bytes, lost;
    uint64_t pauses, paused_ns; /* so many; ns of those that are over */
    uint64_t since_ns;          /* CLOCK_MONOTONIC: when the state began */
    uint64_t taken_ns;          /* ... and when these numbers were taken */
    uint64_t started_ns;
    uint32_t layout;    /* of the trace, enum mlf_layout */
    uint32_t paused_by; /* enum mlf_window_by */
    char unused[24];
    char target[MLF_CONTROL_TARGET]; /* where the trace goes; a NUL follows */
    struct mlf_control_request requests[MLF_CONTROL_SLOTS];
};

_Static_assert(sizeof(struct mlf_control_request) == 272, "layout");
_Static_assert(offsetof(struct mlf_control, key) == 24, "layout");
_Static_assert(offsetof(struct mlf_control, asked) == 64, "layout");
_Static_assert(offsetof(struct mlf_control, sampling) == 88, "layout");
_Static_assert(offsetof(struct mlf_control, layout) == 160, "layout");
_Static_assert(offsetof(struct mlf_control, target) == 192, "layout");
_Static_assert(offsetof(struct mlf_control, requests) == 1216, "layout");
_Static_assert(sizeof(struct mlf_control) == 3392, "layout");
_Static_assert(sizeof(struct mlf_control) <= MLF_CONTROL_BYTES, "one page");

#endif
