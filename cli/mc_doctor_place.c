/* SPDX-License-Identifier: MIT
 *
 * Findings on this machine, folder and shell; see mc_doctor.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mc_commands.h"
#include "mc_doctor.h"
#include "mc_trace.h"

#define SPACE_MIN ((uint64_t)256 << 20)
#define ADDRESS_MIN ((uint64_t)1 << 30)

/* Whether the library maps traces there (libmlog(7), "Where a trace can go"). */
enum mapping { NEVER, ALWAYS, BENEATH /* if it finds the disk of an overlay */ };

static const char *file_system(const char *folder, enum mapping *mapped)
{
    static const struct {
        const char *name;
        uint32_t type;
        enum mapping mapped;
    } known[] = {{"ext4", 0xef53, ALWAYS},      {"XFS", 0x58465342, ALWAYS},
                 {"tmpfs", 0x01021994, ALWAYS}, {"ramfs", 0x858458f6, ALWAYS},
                 {"f2fs", 0xf2f52010, ALWAYS},  {"overlayfs", 0x794c7630, BENEATH},
                 {"btrfs", 0x9123683e, NEVER},  {"NFS", 0x6969, NEVER},
                 {"FUSE", 0x65735546, NEVER},   {"ZFS", 0x2fc12fc1, NEVER},
                 {"9p", 0x01021997, NEVER},     {"CIFS", 0xff534d42, NEVER},
                 {"vfat", 0x4d44, NEVER}};
    struct statfs fs;
    *mapped = NEVER;
    if (statfs(folder, &fs) < 0)
        return "a file system that does not answer";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].type == (uint32_t)fs.f_type) {
            *mapped = known[i].mapped;
            return known[i].name;
        }
    }
    return "a file system that mlog does not know";
}

static void look_at_folder(struct mc_findings *findings)
{
    char path[PATH_MAX];
    struct statvfs fs;
    enum mapping mapped;
    if (!realpath(".", path)) {
        mc_find(findings, MC_FAIL, ".: %s: go to another folder", strerror(errno));
        return;
    }
    if (access(path, W_OK) != 0) {
        mc_find(findings, MC_WARN,
                "the trace cannot be written here, in %s: mlog run -o /tmp/%%c-%%p.mlog", path);
        return;
    }
    const char *name = file_system(path, &mapped);
    if (mapped == BENEATH)
        mc_find(findings, MC_WARN,
                "%s is on %s: a trace there survives SIGKILL where the disk beneath is a local one "
                "that the library finds, else a killed program loses the last 64 KiB of each "
                "thread; -o on a volume or /dev/shm is sure",
                path, name);
    else if (mapped == ALWAYS)
        mc_find(findings, MC_OK, "%s is on %s: a trace there survives even SIGKILL", path, name);
    else
        mc_find(findings, MC_WARN,
                "%s is on %s, where traces are written and not mapped: a killed program loses the "
                "last 64 KiB of each thread; -o on a local disk or /dev/shm loses nothing",
                path, name);
    if (statvfs(path, &fs) == 0) {
        uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        mc_find(findings, free_bytes < SPACE_MIN ? MC_WARN : MC_OK,
                "%llu MiB are free there, for some %llu million events%s",
                (unsigned long long)(free_bytes >> 20),
                (unsigned long long)(free_bytes / 5 / 1000000),
                free_bytes < SPACE_MIN ? ": --compress needs a tenth" : "");
    }
}

static void look_at_limits(struct mc_findings *findings)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        if (limit.rlim_max <= MC_TRACE_FD && geteuid() != 0)
            mc_find(findings, MC_WARN,
                    "the hard limit of descriptors is %llu, below the 1023 that a pipe or socket "
                    "needs: files work (ulimit -Hn)",
                    (unsigned long long)limit.rlim_max);
        else
            mc_find(findings, MC_OK, "%llu descriptors are allowed%s",
                    (unsigned long long)limit.rlim_cur,
                    limit.rlim_cur <= MC_TRACE_FD ? "; mlog run gets past that, 1022>file does not"
                                                  : "");
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        mc_find(findings, MC_WARN,
                "files may be %llu KiB long at most: recording stops there (ulimit -f unlimited)",
                (unsigned long long)limit.rlim_cur >> 10);
    else
        mc_find(findings, MC_OK, "the size of files is not limited");
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        mc_find(
            findings, limit.rlim_cur < ADDRESS_MIN ? MC_WARN : MC_OK,
            "the address space is limited to %llu MiB, of which the library takes some, and stops "
            "where the program needs it "
            "(ulimit -v unlimited)",
            (unsigned long long)limit.rlim_cur >> 20);
}

static void look_at_descriptor(struct mc_findings *findings)
{
    char path[PATH_MAX];
    struct stat st;
    const char *out = getenv("MLOG_OUT");
    if (fstat(MC_TRACE_FD, &st) == 0) {
        ssize_t n = readlink("/proc/self/fd/1022", path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
        mc_find(findings, MC_OK, "descriptor 1022 is open here: traces go to %s", path);
    } else if (out && *out) {
        mc_find(findings, MC_OK, "MLOG_OUT is set here: traces go to %s", out);
    } else {
        mc_find(findings, MC_OK,
                "descriptor 1022 is closed here: mlog run opens a trace for its program");
    }
}

void mc_doctor_place(struct mc_findings *findings)
{
    char path[PATH_MAX];
    if (access("/proc/self/maps", R_OK) == 0)
        mc_find(findings, MC_OK, "/proc is there");
    else
        mc_find(findings, MC_FAIL,
                "/proc is not mounted: frames would have no modules; mount -t proc proc /proc");
    if (mc_find_command("mlog-analyze", path))
        mc_find(findings, MC_OK, "the analyser is %s", path);
    else
        mc_find(findings, MC_WARN,
                "mlog-analyze is not installed: traces are recorded, and read on a machine that "
                "has it");
    look_at_folder(findings);
    look_at_limits(findings);
    look_at_descriptor(findings);
}
