/* SPDX-License-Identifier: MIT
 *
 * The system calls that need more than one line; see lt_sys.h. Nothing here
 * keeps state but what memory is held, and where.
 */
#include "lt_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mlf_format.h"

/* What an allocator may ask for beyond what it was asked for. */
#define GRANULE (512u << 10)

static size_t memory_held;

/* Mappings of the library's own, for lt_unlock_memory; those that find no room
 * are not in it. */
#define MAPPINGS_MAX 256
static struct mapping {
    uintptr_t at; /* atomic; 0: free */
    size_t size;  /* atomic */
} mappings[MAPPINGS_MAX];
static bool locks_new; /* the program had all memory to come locked */

static void note_mapping(uintptr_t at, size_t size)
{
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        uintptr_t none = 0;
        if (!__atomic_compare_exchange_n(&mappings[i].at, &none, at, 0, __ATOMIC_RELAXED,
                                         __ATOMIC_RELAXED))
            continue;
        __atomic_store_n(&mappings[i].size, size, __ATOMIC_RELEASE);
        return;
    }
}

static void forget_mapping(uintptr_t at)
{
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        if (__atomic_load_n(&mappings[i].at, __ATOMIC_RELAXED) != at)
            continue;
        __atomic_store_n(&mappings[i].size, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&mappings[i].at, 0, __ATOMIC_RELEASE);
        return;
    }
}

void lt_unlock_memory(bool new_too)
{
    __atomic_store_n(&locks_new, new_too, __ATOMIC_RELAXED);
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        uintptr_t at = __atomic_load_n(&mappings[i].at, __ATOMIC_ACQUIRE);
        size_t size = __atomic_load_n(&mappings[i].size, __ATOMIC_ACQUIRE);
        if (at && size)
            lt_syscall2(SYS_munlock, at, size);
    }
}

uint64_t lt_soft_limit(int resource)
{
    uint64_t limit[2]; /* soft, hard */
    return lt_syscall4(SYS_prlimit64, 0, resource, 0, limit) ? UINT64_MAX : limit[0];
}

/* Written by whoever is refused, which is rare; what two threads wrote at once is told as
 * it came. */
static struct lt_met met;

void lt_met_note(int what, uint64_t limit, uint64_t held, uint64_t asked)
{
    met = (struct lt_met){(uint64_t)what, limit, held, asked};
}

struct lt_met lt_met_of(int reason)
{
    const uint64_t what = met.what;
    const bool of_memory = what == MLF_MET_AS || what == MLF_MET_DATA || what == MLF_MET_MEMLOCK;
    return what && ((reason == MLF_LOSS_MEMORY && of_memory) ||
                    (reason == MLF_LOSS_SINK_FULL && !of_memory))
               ? met
               : (struct lt_met){0, 0, 0, 0};
}

bool lt_memory_is_limited(void)
{
    return lt_soft_limit(RLIMIT_AS) != UINT64_MAX || lt_soft_limit(RLIMIT_DATA) != UINT64_MAX;
}

/* Address space and data of the process in pages, by the first and the sixth number of
 * statm; the stack is in the latter, though not in the limit. */
static bool pages_in_use(uint64_t *all, uint64_t *data)
{
    char text[128];
    uint64_t numbers[6] = {0};
    int fd = lt_open("/proc/self/statm", O_RDONLY, 0);
    if (fd < 0)
        return false;
    long n = lt_syscall3(SYS_read, fd, text, sizeof text - 1);
    lt_close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    const char *at = text;
    for (int i = 0; i < 6; i++, at += *at == ' ')
        numbers[i] = lt_get_decimal(&at);
    *all = numbers[0];
    *data = numbers[5];
    return true;
}

/* The program must find room where no hook of ours can make way: a stack that grows,
 * an object that is loaded. */
#define ROOM (1u << 20)

static bool leaves_room(uint64_t size)
{
    uint64_t space = lt_soft_limit(RLIMIT_AS), data = lt_soft_limit(RLIMIT_DATA), page, all,
             of_data;
    if ((space == UINT64_MAX && data == UINT64_MAX) || !pages_in_use(&all, &of_data))
        return true;
    page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (all * page + size + ROOM > space)
        lt_met_note(MLF_MET_AS, space, all * page, size + ROOM);
    else if (of_data * page + size + ROOM > data)
        lt_met_note(MLF_MET_DATA, data, of_data * page, size + ROOM);
    else
        return true;
    return false;
}

static bool is_short_of(uint64_t limit, uint64_t used, uint64_t size, uint64_t back)
{
    return limit != UINT64_MAX && used + size + GRANULE > limit && used + size < limit + back;
}

bool lt_memory_is_short(uint64_t size, uint64_t back)
{
    uint64_t space = lt_soft_limit(RLIMIT_AS), data = lt_soft_limit(RLIMIT_DATA), page, all,
             of_data;
    if ((space == UINT64_MAX && data == UINT64_MAX) || size > UINT64_MAX / 4 ||
        !pages_in_use(&all, &of_data))
        return false;
    page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (is_short_of(space, all * page, size, back))
        lt_met_note(MLF_MET_AS, space, all * page, size);
    else if (is_short_of(data, of_data * page, size, back + GRANULE))
        lt_met_note(MLF_MET_DATA, data, of_data * page, size);
    else
        return false;
    return true;
}

/* Zeroed memory or a file, readable and writable; 0 if refused. Where the program has all
 * memory locked, ours counts for a moment only, and without a page of it being there. */
static uintptr_t map(size_t size, int flags, int fd, uint64_t offset)
{
    bool locked = __atomic_load_n(&locks_new, __ATOMIC_RELAXED);
    int rights = PROT_READ | PROT_WRITE;
    if (!leaves_room(size))
        return 0;
    long at = lt_mmap(NULL, size, locked ? PROT_NONE : rights, flags, fd, offset);
    if (at == -EAGAIN) /* what is mapped is locked */
        lt_met_note(MLF_MET_MEMLOCK, lt_soft_limit(RLIMIT_MEMLOCK), 0, size);
    if (at < 0 && at > -4096)
        return 0;
    if (locked) {
        lt_syscall2(SYS_munlock, at, size);
        if (lt_syscall3(SYS_mprotect, at, size, rights)) {
            lt_syscall2(SYS_munmap, at, size);
            return 0;
        }
    }
    note_mapping((uintptr_t)at, size);
    return (uintptr_t)at;
}

void *lt_memory(size_t size)
{
    uintptr_t at = map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!at)
        return NULL;
    if (size >= (2u << 20)) /* a huge page costs more to clear than these tables save by it */
        lt_syscall3(SYS_madvise, at, size, MADV_NOHUGEPAGE);
    __atomic_fetch_add(&memory_held, size, __ATOMIC_RELAXED);
    return (void *)at;
}

void lt_memory_free(void *memory, size_t size)
{
    if (!memory)
        return;
    lt_unmap(memory, size);
    __atomic_fetch_sub(&memory_held, size, __ATOMIC_RELAXED);
}

void lt_memory_trim(void *memory, size_t from, size_t to, size_t page)
{
    from = (from + page - 1) & ~(page - 1);
    to &= ~(page - 1);
    if (from >= to)
        return;
    lt_syscall2(SYS_munmap, (char *)memory + from, to - from);
    __atomic_fetch_sub(&memory_held, to - from, __ATOMIC_RELAXED);
}

size_t lt_memory_held(void)
{
    return __atomic_load_n(&memory_held, __ATOMIC_RELAXED);
}

void *lt_map_file(int fd, uint64_t offset, size_t size)
{
    return (void *)map(size, MAP_SHARED, fd, offset);
}

void lt_unmap(void *memory, size_t size)
{
    forget_mapping((uintptr_t)memory);
    lt_syscall2(SYS_munmap, memory, size);
}

int lt_open_at(int folder, const char *path, int flags, int mode)
{
    long fd;
    do
        fd = lt_syscall4(SYS_openat, folder, path, flags | O_CLOEXEC, mode);
    while (fd == -EINTR);
    return (int)fd;
}

int lt_open(const char *path, int flags, int mode)
{
    return lt_open_at(AT_FDCWD, path, flags, mode);
}

void lt_name_of_fd(int fd, char *to, size_t size)
{
    static const char folder[] = "/proc/self/fd/";
    char link[sizeof folder + LT_DIGITS_MAX];
    memcpy(link, folder, sizeof folder - 1);
    *lt_put_decimal(link + sizeof folder - 1, (uint64_t)fd) = 0;
    long n = lt_syscall4(SYS_readlinkat, AT_FDCWD, link, to, size - 1);
    to[n > 0 ? n : 0] = 0;
}

void lt_close(int fd)
{
    lt_syscall1(SYS_close, fd);
}

int lt_move_fd(int fd, int lowest)
{
    long moved;
    do { /* lower where the limit of descriptors is */
        moved = lt_syscall3(LT_SYS_FCNTL, fd, F_DUPFD_CLOEXEC, lowest);
        lowest /= 2;
    } while ((moved == -EINVAL || moved == -EMFILE) && lowest > 2);
    lt_close(fd);
    return (int)moved;
}

char *lt_read_file(const char *path, size_t *size, size_t *capacity)
{
    int fd = lt_open(path, O_RDONLY, 0);
    if (fd < 0)
        return NULL;
    size_t room = 64 << 10, length = 0;
    char *text = lt_memory(room);
    while (text) {
        long got = lt_syscall3(SYS_read, fd, text + length, room - 1 - length);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
        if (length + 1 < room)
            continue;
        char *larger = lt_memory(room * 4);
        if (larger)
            memcpy(larger, text, length);
        lt_memory_free(text, room);
        text = larger;
        room *= 4;
    }
    lt_close(fd);
    *size = length;
    *capacity = room;
    return text;
}

int lt_fstat(int fd, struct stat *st)
{
    return (int)lt_syscall2(LT_SYS_FSTAT, fd, st); /* the kernel's layout is libc's */
}

int lt_getpid(void)
{
    return (int)lt_syscall1(SYS_getpid, 0);
}

int lt_getppid(void)
{
    return (int)lt_syscall1(SYS_getppid, 0);
}

int lt_gettid(void)
{
    return (int)lt_syscall1(SYS_gettid, 0);
}

bool lt_file_adopt(struct lt_file *file, int fd)
{
    struct stat st;
    if (lt_fstat(fd, &st) != 0)
        return false;
    file->fd = fd;
    file->device = st.st_dev;
    file->inode = st.st_ino;
    return true;
}

bool lt_file_is_ours(const struct lt_file *file)
{
    struct stat st;
    return lt_fstat(file->fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode;
}

uint64_t lt_get_decimal(const char **at)
{
    uint64_t number = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        number = number * 10 + (uint64_t)(**at - '0');
    return number;
}

char *lt_put_decimal(char *to, uint64_t number)
{
    char digits[LT_DIGITS_MAX];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

void lt_say(const char *text, const char *detail, long number)
{
    char line[400];
    size_t at = 0;
    const char *parts[] = {"mlog: ", text, detail ? " " : NULL, detail};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (const char *p = parts[i]; p && *p && at < sizeof line - 32; p++)
            line[at++] = *p >= ' ' && *p != 0x7f ? *p : '?';
    if (number) {
        static const char open[] = " (errno ";
        memcpy(line + at, open, sizeof open - 1);
        at += sizeof open - 1;
        at = (size_t)(lt_put_decimal(line + at, (uint64_t)(number < 0 ? -number : number)) - line);
        line[at++] = ')';
    }
    line[at++] = '\n';
    lt_syscall3(SYS_write, 2, line, at);
}
