/* SPDX-License-Identifier: MIT
 *
 * Where the trace of a run goes: a file that was not there before, a pipe to the analyser,
 * a socket, descriptor 1022 as it was given, or what MLOG_OUT names. A file is opened by
 * the process that becomes the program, which knows its number.
 */
#ifndef MC_TRACE_H
#define MC_TRACE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MC_TRACE_FD 1022

enum mc_trace_kind { MC_TRACE_FILE, MC_TRACE_PIPE, MC_TRACE_TCP, MC_TRACE_GIVEN, MC_TRACE_OUT };

struct mc_trace {
    enum mc_trace_kind kind;
    const char *name;    /* a file, with %p and the like, or NULL; HOST:PORT */
    bool force;          /* replace a file of that name */
    int fd;              /* of a pipe or socket, close-on-exec, or -1 */
    int reader;          /* the other end of the pipe, or -1 */
    char path[PATH_MAX]; /* of the file, once it is open; "" */
    bool made;           /* it was not there before */
    bool readable;       /* it is a regular file, and all of it is this run's */
};

/* Choose by what -o, --pipe and --tcp say (each may be NULL or false). Returns NULL or the
 * end of a sentence that begins with the option. */
const char *mc_trace_choose(struct mc_trace *trace, const char *output, bool pipe, const char *tcp);

/* Make the pipe or connect. Returns false with a sentence in problem. */
bool mc_trace_prepare(struct mc_trace *trace, char *problem, size_t size);

/* In the process that becomes `program`: have the trace at descriptor 1022, by raising the
 * limit of descriptors for as long as that takes. Where the hard limit is in the way, a file
 * is named in MLOG_OUT instead. Returns false with a sentence in problem. */
bool mc_trace_place(struct mc_trace *trace, const char *program, char *problem, size_t size);

/* Close what this process holds of it. */
void mc_trace_close(struct mc_trace *trace);

/* True if some process can still write to the file, as far as the kernel tells. */
bool mc_trace_is_written(const char *path);

/* True if the file has a chunk: the library wrote to it. */
bool mc_trace_has_begun(const char *path);

#endif
