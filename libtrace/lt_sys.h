/* SPDX-License-Identifier: MIT
 *
 * System calls of the library, made directly: they return a negative errno,
 * never touch errno, are no cancellation points and cannot be interposed.
 * Safe in any context, a signal handler and a vfork child included.
 */
#ifndef LT_SYS_H
#define LT_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#define LT_EXPORT __attribute__((visibility("default"))) /* and named in libmlog.map */
#define LT_LIKELY(x) __builtin_expect(!!(x), 1)
#define LT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LT_NOINLINE __attribute__((noinline))
#define LT_COLD __attribute__((noinline, cold))
/* Order of the compiler's stores as a signal handler of this thread sees them. */
#define LT_SIGNAL_FENCE() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#if defined(__x86_64__)
static inline long lt_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long lt_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}
#elif defined(__i386__)
/* ebp carries the sixth argument and may be a frame pointer, without which no one
 * finds the way out of the signal that interrupts us: touched only where needed. */
static inline long lt_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    if (__builtin_constant_p(f) && f == 0)
        __asm__ volatile("int $0x80"
                         : "=a"(result)
                         : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                         : "memory");
    else
        __asm__ volatile("pushl %7\n\tpushl %%ebp\n\tmovl 4(%%esp), %%ebp\n\tint $0x80\n\t"
                         "popl %%ebp\n\taddl $4, %%esp"
                         : "=a"(result)
                         : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "g"(f)
                         : "memory");
    return result;
}
#else
#include <errno.h>
#include <unistd.h>
static inline long lt_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long result = syscall(n, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}
#endif

#define lt_syscall1(n, a) lt_syscall6((n), (long)(a), 0, 0, 0, 0, 0)
#define lt_syscall2(n, a, b) lt_syscall6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define lt_syscall3(n, a, b, c) lt_syscall6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define lt_syscall4(n, a, b, c, d)                                                                 \
    lt_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define lt_syscall5(n, a, b, c, d, e)                                                              \
    lt_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* Calls with 64-bit arguments or results, as each ABI has them: on 32-bit machines
 * a file offset is two arguments, and the older calls know no large files. */
#if UINTPTR_MAX > 0xffffffffu
#define LT_OFFSET_ARGS(v) (long)(v), 0
#define LT_SYS_FSTAT SYS_fstat
#define LT_SYS_FCNTL SYS_fcntl
#else
#define LT_OFFSET_ARGS(v) (long)(uint32_t)(v), (long)((uint64_t)(v) >> 32)
#define LT_SYS_FSTAT SYS_fstat64
#define LT_SYS_FCNTL SYS_fcntl64
#endif
static inline long lt_call_with_offset(long n, int fd, const void *memory, long count, long low,
                                       long high)
{
    return lt_syscall6(n, fd, (long)memory, count, low, high, 0);
}
#define lt_pread(fd, memory, size, offset)                                                         \
    lt_call_with_offset(SYS_pread64, fd, memory, (long)(size), LT_OFFSET_ARGS(offset))
#define lt_pwrite(fd, memory, size, offset)                                                        \
    lt_call_with_offset(SYS_pwrite64, fd, memory, (long)(size), LT_OFFSET_ARGS(offset))
#define lt_pwritev(fd, parts, count, offset)                                                       \
    lt_call_with_offset(SYS_pwritev, fd, parts, (long)(count), LT_OFFSET_ARGS(offset))
static inline long lt_fallocate(int fd, uint64_t from, uint64_t size)
{
#if UINTPTR_MAX > 0xffffffffu
    return lt_syscall6(SYS_fallocate, fd, 0, (long)from, (long)size, 0, 0);
#else
    return lt_syscall6(SYS_fallocate, fd, 0, LT_OFFSET_ARGS(from), LT_OFFSET_ARGS(size));
#endif
}
static inline long lt_ftruncate(int fd, uint64_t size)
{
#if UINTPTR_MAX > 0xffffffffu
    return lt_syscall6(SYS_ftruncate, fd, (long)size, 0, 0, 0, 0);
#else
    return lt_syscall6(SYS_ftruncate64, fd, LT_OFFSET_ARGS(size), 0, 0, 0);
#endif
}
struct statfs;
static inline long lt_fstatfs(int fd, struct statfs *to, size_t size)
{
#if UINTPTR_MAX > 0xffffffffu
    (void)size;
    return lt_syscall6(SYS_fstatfs, fd, (long)to, 0, 0, 0, 0);
#else
    return lt_syscall6(SYS_fstatfs64, fd, (long)size, (long)to, 0, 0, 0);
#endif
}
/* An address, or a negative errno above -4096. */
static inline long lt_mmap(void *at, size_t size, int protection, int flags, int fd,
                           uint64_t offset)
{
#if UINTPTR_MAX > 0xffffffffu
    return lt_syscall6(SYS_mmap, (long)at, (long)size, protection, flags, fd, (long)offset);
#else /* counted in 4096 bytes, whatever the page */
    return lt_syscall6(SYS_mmap2, (long)at, (long)size, protection, flags, fd,
                       (long)(offset >> 12));
#endif
}

/* Zeroed private memory, or NULL. Never from malloc. The caller gives it back
 * by lt_memory_free or keeps it for the life of the process. */
void *lt_memory(size_t size);
void lt_memory_free(void *memory, size_t size);
/* Give back the whole pages between two offsets. */
void lt_memory_trim(void *memory, size_t from, size_t to, size_t page);
/* Bytes that lt_memory has given and not got back: for the COUNTERS record. */
size_t lt_memory_held(void);
/* What setrlimit(2) set; UINT64_MAX: nothing, or it is not told. */
uint64_t lt_soft_limit(int resource);
/* The process has a limit of address space or of data (RLIMIT_AS, RLIMIT_DATA). */
bool lt_memory_is_limited(void);
/* True if such a limit leaves no room for `size` more bytes, and would if `back` bytes
 * were given back. */
bool lt_memory_is_short(uint64_t size, uint64_t back);

/* The latest limit that the library or the program met, by an enum mlf_met: what it is
 * set to, what of it was in use, what more was asked for, in bytes; 0: not known. */
struct lt_met {
    uint64_t what, limit, held, asked;
};
void lt_met_note(int what, uint64_t limit, uint64_t held, uint64_t asked);
/* The same, if it is one that can be the cause of this enum mlf_loss; else zeros. */
struct lt_met lt_met_of(int reason);

/* Map size bytes of fd at offset, shared and writable; NULL if refused. */
void *lt_map_file(int fd, uint64_t offset, size_t size);
void lt_unmap(void *memory, size_t size);
/* The program had its memory locked (mlockall): take ours out of it, and, with
 * `new_too`, what is mapped from now on as well. */
void lt_unlock_memory(bool new_too);

int lt_open(const char *path, int flags, int mode); /* descriptor or -errno, retried on EINTR */
int lt_open_at(int folder, const char *path, int flags, int mode);
void lt_close(int fd);
/* The absolute name of what fd refers to, or "", from /proc. */
void lt_name_of_fd(int fd, char *to, size_t size);
/* Move fd to a number of at least `lowest`, or as high as the limit of
 * descriptors lets it, close-on-exec; the new number or -errno, with fd closed
 * in either case. */
int lt_move_fd(int fd, int lowest);
/* Read a whole file of /proc into memory of lt_memory; *size gets its length,
 * *capacity what to give back. NULL on failure. A NUL follows the text. */
char *lt_read_file(const char *path, size_t *size, size_t *capacity);
struct stat;
int lt_fstat(int fd, struct stat *st); /* 0 or -errno */
int lt_getpid(void);
int lt_getppid(void);
int lt_gettid(void);

/* Own descriptors are moved to this number or above. */
#define LT_LOWEST_FD 1000

/* A descriptor of ours, checked before use: programs close descriptors that
 * they do not know, and the number may by then be somebody else's file. */
struct lt_file {
    int fd;
    uint64_t device, inode;
};
bool lt_file_adopt(struct lt_file *file, int fd); /* remember what fd refers to now */
bool lt_file_is_ours(const struct lt_file *file);

/* The decimal digits of `number` go to `to`, which has room for LT_DIGITS_MAX bytes;
 * returns their end. No NUL. */
#define LT_DIGITS_MAX 20
char *lt_put_decimal(char *to, uint64_t number);
/* The number whose digits stand at *at, which then points behind them; 0 if none do. */
uint64_t lt_get_decimal(const char **at);

/* One line to standard error, "mlog: " before it; see lt_config for when. */
void lt_say(const char *text, const char *detail, long number);

#endif
