/* SPDX-License-Identifier: MIT
 *
 * The control page from outside; see mc_control.h.
 */
#include "mc_control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mlf_format.h"

#define MOMENT_NS 1000000L /* between two looks at the page */
#define LOCK_MS 1000       /* that another command is waited for */

static void wait_a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = MOMENT_NS}, NULL);
}

uint64_t mc_control_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The pid by which a process knows itself: the last one of NSpid. 0: unknown. */
static uint32_t own_pid(pid_t pid)
{
    char path[64], line[256];
    long own = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *last = strncmp(line, "NSpid:", 6) == 0 ? strrchr(line, '\t') : NULL;
        if (last)
            own = atol(last + 1);
    }
    if (file)
        fclose(file);
    return (uint32_t)(own ? own : pid);
}

static bool has_library(pid_t pid)
{
    char path[64], *line = NULL;
    size_t size = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    while (file && !found && getline(&line, &size, file) > 0)
        found = strstr(line, "libmlog.so") || strstr(line, "/memfd:" MLF_CONTROL_NAME);
    if (file)
        fclose(file);
    free(line);
    return found;
}

static bool is_page(const struct mlf_control *page)
{
    return memcmp(page->magic, MLF_CONTROL_MAGIC, sizeof page->magic) == 0 &&
           page->version == MLF_CONTROL_VERSION && page->size >= sizeof *page;
}

/* Map what the descriptor stands for, if it is the page of the process itself. */
static enum mc_control_problem try_descriptor(struct mc_control *control, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES || errno == EPERM ? MC_CONTROL_DENIED : MC_CONTROL_CLOSED;
    struct mlf_control *page = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size >= MLF_CONTROL_BYTES)
        page = mmap(NULL, MLF_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    enum mc_control_problem problem = MC_CONTROL_FOREIGN;
    if (page != MAP_FAILED && is_page(page))
        problem = page->pid == own_pid(control->pid)   ? MC_CONTROL_FOUND
                  : page->state == MLF_CONTROL_STOPPED ? MC_CONTROL_OVER
                                                       : MC_CONTROL_PARENTS;
    if (problem == MC_CONTROL_FOUND) {
        control->fd = fd;
        control->page = page;
        return problem;
    }
    if (page != MAP_FAILED)
        munmap(page, MLF_CONTROL_BYTES);
    close(fd);
    return problem;
}

static void read_name(struct mc_control *control)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", control->pid);
    FILE *file = fopen(path, "re");
    if (file && fgets(control->name, sizeof control->name, file))
        control->name[strcspn(control->name, "\n")] = 0;
    if (file)
        fclose(file);
    for (char *p = control->name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

enum mc_control_problem mc_control_open(struct mc_control *control, pid_t pid)
{
    static const char wanted[] = "/memfd:" MLF_CONTROL_NAME;
    char folder[64], path[384], link[sizeof wanted];
    *control = (struct mc_control){.pid = pid, .fd = -1};
    snprintf(folder, sizeof folder, "/proc/%d/fd", pid);
    DIR *all = opendir(folder);
    if (!all)
        return errno == ENOENT ? MC_CONTROL_NO_PROCESS : MC_CONTROL_DENIED;
    read_name(control);
    enum mc_control_problem problem = MC_CONTROL_CLOSED;
    for (struct dirent *one; problem != MC_CONTROL_FOUND && (one = readdir(all));) {
        snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
        ssize_t n = readlink(path, link, sizeof link);
        if (n == sizeof link && memcmp(link, wanted, sizeof wanted - 1) == 0)
            problem = try_descriptor(control, path);
    }
    closedir(all);
    if (problem == MC_CONTROL_CLOSED && !has_library(pid))
        problem = MC_CONTROL_UNTRACED;
    return problem;
}

void mc_control_close(struct mc_control *control)
{
    munmap(control->page, MLF_CONTROL_BYTES);
    close(control->fd);
    control->page = NULL;
    control->fd = -1;
}

const char *mc_control_problem_text(enum mc_control_problem problem)
{
    static const char *const texts[] = {
        [MC_CONTROL_NO_PROCESS] = "does not exist",
        [MC_CONTROL_DENIED] = "may not be looked at: it is another user's; as root: sudo mlog ctl",
        [MC_CONTROL_UNTRACED] = "is not traced: libmlog.so is not loaded in it; start it by mlog "
                                "run (--paused, if it is to cost nothing until asked)",
        [MC_CONTROL_CLOSED] = "has no control page that can be reached: it closed the descriptor, "
                              "as programs do that close all they do not know, or made none; what "
                              "it records goes on as before",
        [MC_CONTROL_PARENTS] = "has made no event since it was forked: it gets a control page of "
                               "its own at its next allocation",
        [MC_CONTROL_OVER] = "was forked by a process whose recording was over: it records nothing",
        [MC_CONTROL_FOREIGN] = "has a control page of another version, or a damaged one; use the "
                               "mlog that it was started with",
    };
    return texts[problem];
}

/* Text of the page without what a terminal would obey. */
static void copy_text(char *to, const char *from, size_t size)
{
    size_t n = 0;
    for (; n < size && from[n]; n++)
        to[n] = (unsigned char)from[n] < ' ' || from[n] == 0x7f ? '?' : from[n];
    to[n] = 0;
}

static void copy_state(const struct mlf_control *page, struct mc_control_state *state)
{
    *state = (struct mc_control_state){
        .state = page->state,
        .stop_reason = page->stop_reason,
        .stop_errno = page->stop_errno,
        .layout = page->layout,
        .paused_by = page->paused_by,
        .sampling = page->sampling,
        .events = page->events,
        .bytes = page->bytes,
        .lost = page->lost,
        .pauses = page->pauses,
        .paused_ns = page->paused_ns,
        .since_ns = page->since_ns,
        .taken_ns = page->taken_ns,
        .started_ns = page->started_ns,
    };
    copy_text(state->writer, page->writer, sizeof page->writer);
    copy_text(state->target, page->target, sizeof page->target);
}

void mc_control_read(const struct mc_control *control, struct mc_control_state *state)
{
    const struct mlf_control *page = control->page;
    for (int tries = 0; tries < 100; tries++) {
        uint32_t before = __atomic_load_n(&page->snapshot, __ATOMIC_ACQUIRE);
        copy_state(page, state);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && before == __atomic_load_n(&page->snapshot, __ATOMIC_RELAXED))
            return;
        wait_a_moment();
    }
}

static bool lock_page(const struct mc_control *control)
{
    for (int ms = 0; ms < LOCK_MS; ms++) {
        if (flock(control->fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        wait_a_moment();
    }
    return false;
}

static bool is_answered(const struct mlf_control *page, uint32_t number)
{
    return (int32_t)(__atomic_load_n(&page->answered, __ATOMIC_ACQUIRE) - number) >= 0;
}

static bool is_over(const struct mlf_control *page)
{
    return __atomic_load_n(&page->state, __ATOMIC_ACQUIRE) == MLF_CONTROL_STOPPED;
}

/* Put the request into its slot. Returns whether it was. */
static bool put_request(const struct mc_control *control, unsigned command, const char *text,
                        uint32_t *number)
{
    struct mlf_control *page = control->page;
    bool room = false;
    if (!lock_page(control))
        return false;
    *number = __atomic_load_n(&page->asked, __ATOMIC_RELAXED) + 1;
    if (is_answered(page, *number - MLF_CONTROL_SLOTS)) {
        struct mlf_control_request *slot = &page->requests[*number % MLF_CONTROL_SLOTS];
        size_t length = text ? strnlen(text, MLF_CONTROL_TEXT - 1) : 0;
        slot->command = command;
        slot->result = 0;
        slot->length = (uint32_t)length;
        if (length)
            memcpy(slot->text, text, length);
        __atomic_store_n(&page->asked, *number, __ATOMIC_RELEASE);
        room = true;
    }
    flock(control->fd, LOCK_UN);
    return room;
}

enum mc_control_outcome mc_control_ask(const struct mc_control *control, unsigned command,
                                       const char *text, uint32_t *number)
{
    if (is_over(control->page))
        return MC_CONTROL_ENDED;
    return put_request(control, command, text, number) ? MC_CONTROL_WAITS : MC_CONTROL_BUSY;
}

enum mc_control_outcome mc_control_await(const struct mc_control *control, uint32_t number,
                                         uint64_t until, int *result)
{
    const struct mlf_control *page = control->page;
    unsigned patience = 50; /* moments: who stops says so before it answers */
    while (!is_answered(page, number)) {
        if (is_over(page) && !patience--)
            return MC_CONTROL_ENDED;
        if (mc_control_now() >= until)
            return MC_CONTROL_WAITS;
        wait_a_moment();
    }
    *result = __atomic_load_n(&page->requests[number % MLF_CONTROL_SLOTS].result, __ATOMIC_RELAXED);
    return MC_CONTROL_ANSWERED;
}

const char *mc_control_state_name(uint32_t state)
{
    static const char *const names[] = {
        [MLF_CONTROL_RECORDING] = "recording",
        [MLF_CONTROL_PAUSED] = "paused",
        [MLF_CONTROL_STOPPED] = "stopped",
    };
    return state < sizeof names / sizeof *names && names[state] ? names[state] : "unknown";
}

const char *mc_control_stop_name(uint32_t reason)
{
    static const char *const names[] = {
        [MLF_LOSS_MEMORY] = "no memory was left for tracing",
        [MLF_LOSS_SINK_FULL] = "no space was left for the trace",
        [MLF_LOSS_SINK_GONE] = "the trace's file or reader went away",
        [MLF_LOSS_SANDBOX] = "the program's sandbox forbids it",
        [MLF_LOSS_ASKED] = "it was asked to stop",
    };
    return reason < sizeof names / sizeof *names && names[reason] ? names[reason]
                                                                  : "for an unknown reason";
}
