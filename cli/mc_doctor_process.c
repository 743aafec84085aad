/* SPDX-License-Identifier: MIT
 *
 * Findings on a running process; see mc_doctor.h. Only /proc and the trace are read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mc_control.h"
#include "mc_doctor.h"
#include "mlf_codec.h"
#include "mlf_format.h"

#define LOOK_MS 500 /* between two looks at the trace */

/* Read a file of /proc/PID; NULL if it cannot be. Owned by the caller. */
static char *proc_file(pid_t pid, const char *name, size_t *size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "re");
    char *text = NULL;
    *size = 0;
    if (!file)
        return NULL;
    for (size_t capacity = 1 << 16; (text = realloc(text, capacity)); capacity *= 2) {
        *size += fread(text + *size, 1, capacity - 1 - *size, file);
        if (*size < capacity - 1)
            break;
    }
    fclose(file);
    if (text)
        text[*size] = 0;
    return text;
}

/* How far a trace in a file is: claimed units of a mapped one, else bytes. */
static uint64_t progress_of(const char *path, bool *is_trace)
{
    unsigned char header[MLF_HDR_SIZE] = {0};
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    *is_trace = false;
    if (fd < 0)
        return 0;
    ssize_t n = pread(fd, header, sizeof header, 0);
    fstat(fd, &st);
    close(fd);
    *is_trace = n == sizeof header && memcmp(header, MLF_MAGIC, MLF_MAGIC_SIZE) == 0;
    return *is_trace && header[MLF_HDR_LAYOUT] == MLF_LAYOUT_MAPPED
               ? mlf_get_u64(header + MLF_HDR_CLAIMED)
               : (uint64_t)st.st_size;
}

static void look_at_trace(struct mc_findings *findings, pid_t pid, bool loaded)
{
    char link[64], path[PATH_MAX];
    struct stat st;
    bool is_trace;
    snprintf(link, sizeof link, "/proc/%d/fd/1022", pid);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    if (n <= 0) {
        mc_find(findings, loaded ? MC_WARN : MC_OK, "its descriptor 1022 is closed%s",
                loaded ? ": the trace goes where MLOG_OUT said, or nowhere" : "");
        return;
    }
    if (stat(link, &st) < 0 || !S_ISREG(st.st_mode)) {
        mc_find(findings, MC_OK, "its trace goes to %s", path);
        return;
    }
    uint64_t before = progress_of(link, &is_trace);
    if (!is_trace) {
        mc_find(findings, MC_WARN, "its descriptor 1022 is %s, which is no trace", path);
        return;
    }
    nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    bool grew = progress_of(link, &is_trace) != before;
    mc_find(findings, MC_OK, "its trace is %s, %llu KiB on disk, %s; mlog analyze %s", path,
            (unsigned long long)st.st_blocks / 2,
            grew ? "growing" : "and got no new chunk in the last half second", path);
}

/* What the process says itself, in its control page. */
static void look_at_control(struct mc_findings *findings, pid_t pid)
{
    struct mc_control control;
    struct mc_control_state state;
    enum mc_control_problem problem = mc_control_open(&control, pid);
    if (problem != MC_CONTROL_FOUND) {
        mc_find(findings, problem == MC_CONTROL_PARENTS ? MC_OK : MC_WARN, "it %s",
                mc_control_problem_text(problem));
        return;
    }
    mc_control_read(&control, &state);
    mc_control_close(&control);
    if (state.state == MLF_CONTROL_STOPPED)
        mc_find(findings, MC_WARN, "its recording is over: %s",
                mc_control_stop_name(state.stop_reason));
    else if (state.state == MLF_CONTROL_PAUSED)
        mc_find(findings, MC_WARN, "it is paused, and records nothing; mlog ctl %d resume", pid);
    else
        mc_find(findings, MC_OK, "it is %s, %llu events so far, %llu lost; mlog ctl %d",
                mc_control_state_name(state.state), (unsigned long long)state.events,
                (unsigned long long)state.lost, pid);
}

static void look_at_status(struct mc_findings *findings, pid_t pid)
{
    size_t size;
    char *text = proc_file(pid, "status", &size);
    const char *mode = text ? strstr(text, "\nSeccomp:\t") : NULL;
    if (mode && mode[10] != '0')
        mc_find(findings, MC_WARN,
                "it runs behind a seccomp filter: what it set itself by prctl ends the recording "
                "(libmlog(7), Sandboxes); one that was there before it is no harm if it allows "
                "mmap and ftruncate");
    else if (mode)
        mc_find(findings, MC_OK, "no seccomp filter");
    free(text);
}

/* True if the environment that the process began with has the library. */
static bool was_preloaded(pid_t pid)
{
    size_t size;
    bool found = false;
    char *text = proc_file(pid, "environ", &size);
    for (const char *at = text; at && at < text + size && !found; at += strlen(at) + 1)
        found = strncmp(at, "LD_PRELOAD=", 11) == 0 && strstr(at, "libmlog.so");
    free(text);
    return found;
}

void mc_doctor_process(struct mc_findings *findings, pid_t pid)
{
    char link[64], path[PATH_MAX];
    struct stat st;
    size_t size;
    snprintf(link, sizeof link, "/proc/%d", pid);
    if (stat(link, &st) < 0) {
        mc_find(findings, MC_FAIL, "there is no process %d here", pid);
        return;
    }
    snprintf(link, sizeof link, "/proc/%d/exe", pid);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    char *maps = proc_file(pid, "maps", &size);
    if (n <= 0 || !maps || !size) {
        mc_find(findings, MC_FAIL,
                "process %d may not be looked at (%s): it is another user's, a kernel thread, or "
                "has ended; as root: sudo mlog doctor %d",
                pid, strerror(errno), pid);
        free(maps);
        return;
    }
    mc_find(findings, MC_OK, "process %d runs %s", pid, path);
    const bool loaded = strstr(maps, "libmlog.so") != NULL;
    free(maps);
    if (loaded)
        mc_find(findings, MC_OK, "libmlog.so is loaded in it");
    else
        mc_find(findings, MC_FAIL,
                "libmlog.so is not loaded in it%s: a running program cannot be traced; start it "
                "by mlog run",
                was_preloaded(pid) ? ", though LD_PRELOAD asked for it" : "");
    look_at_trace(findings, pid, loaded);
    if (loaded)
        look_at_control(findings, pid);
    look_at_status(findings, pid);
    if (!loaded) {
        snprintf(path, sizeof path, "/proc/%d/exe", pid);
        mc_doctor_program(findings, path);
    }
}
