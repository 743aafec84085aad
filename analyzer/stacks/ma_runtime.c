/* SPDX-License-Identifier: MIT
 *
 * The table of the runtimes' functions; see ma_runtime.h. A function stands here if
 * whatever it allocates stays the runtime's: never one whose result a program frees.
 */
#include "ma_runtime.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
    FEW = 8,    /* frames that tell most stacks for those of others */
    DEPTH = 64, /* the runtimes' own calls nest less deep */
};

/* Objects by the beginning of their names; '#' is a digit. */
static const char *const objects[] = {
    "libc.so",     "libc-#",          "libpthread.so", "libpthread-#",   "libdl.so",
    "libdl-#",     "librt.so",        "librt-#",       "libstdc++.so",   "libgcc_s.so",
    "libc++.so",   "libc++abi.so",    "libmlog.so",    "libc.musl-",     "libresolv.so",
    "libresolv-#", "libnss_files.so", "libnss_dns.so", "libnss_files-#",
};
static const char *const loaders[] = {"ld-linux", "ld-#", "ld.so", "ld-musl-", "ld64.so"};

/* Functions, without underscores in front; '*' at the end: all that begin so. */
static const struct {
    const char *name;
    unsigned most;      /* blocks of one process; 0: any number */
    bool in_any_object; /* the name says it all: it may be linked into the program */
} functions[] = {
    {.name = "IO_file_doallocate", .most = 3}, /* stdin, stdout, stderr */
    {.name = "IO_wfile_doallocate", .most = 3},
    {.name = "GLOBAL__sub_I_eh_alloc.cc", .most = 1, .in_any_object = true},
    /* threads and their storage: those alive at the end, and stacks kept for new ones */
    {.name = "pthread_create*", .most = 256},
    {.name = "dl_allocate_tls*", .most = 256},
    {.name = "allocate_dtv*", .most = 256},
    {.name = "tls_get_addr*"},
    {.name = "dl_tlsdesc_dynamic*"},
    {.name = "emutls_get_address"},
    /* the loader */
    {.name = "dlopen*"},
    {.name = "dlmopen*"},
    {.name = "dl_open*"},
    {.name = "libc_dlopen*"},
    {.name = "dlsym*"},
    {.name = "dlvsym*"},
    {.name = "dlclose*"},
    {.name = "dlerror*"},
    {.name = "libc_unwind_link_get"},
    {.name = "pthread_exit"},
    {.name = "pthread_cancel"},
    {.name = "backtrace"},
    {.name = "Unwind_*"},
    /* what runs at the end */
    {.name = "cxa_atexit*"},
    {.name = "cxa_thread_atexit*"},
    {.name = "cxa_at_quick_exit"},
    {.name = "internal_atexit"},
    {.name = "new_exitfn"},
    {.name = "atexit"},
    {.name = "at_quick_exit"},
    {.name = "on_exit"},
    {.name = "pthread_atfork"},
    {.name = "register_atfork"},
    /* the environment */
    {.name = "setenv"},
    {.name = "putenv"},
    {.name = "add_to_environ"},
    /* locales, messages, character sets */
    {.name = "setlocale"},
    {.name = "nl_*"},
    {.name = "textdomain"},
    {.name = "bindtextdomain"},
    {.name = "bind_textdomain_codeset"},
    {.name = "gettext"},
    {.name = "dgettext"},
    {.name = "dcgettext"},
    {.name = "dcigettext"},
    {.name = "ngettext"},
    {.name = "dngettext"},
    {.name = "dcngettext"},
    {.name = "gconv_load_*"},
    {.name = "gconv_read_conf*"},
    {.name = "gconv_find_shlib"},
    {.name = "wcsmbs_load_conv"},
    {.name = "mbrtowc"},
    {.name = "mbtowc"},
    {.name = "mbstowcs"},
    {.name = "mbsrtowcs"},
    {.name = "mbsnrtowcs"},
    {.name = "wcrtomb"},
    {.name = "wcstombs"},
    {.name = "wcsrtombs"},
    {.name = "wcsnrtombs"},
    {.name = "btowc"},
    {.name = "wctob"},
    {.name = "std::__use_cache*"},
    {.name = "std::locale::_Impl::_M_install_cache"},
    {.name = "std::ios_base::sync_with_stdio"},
    /* time zones */
    {.name = "tz*"},
    {.name = "localtime*"},
    {.name = "mktime*"},
    {.name = "timelocal*"},
    {.name = "ctime*"},
    {.name = "strftime*"},
    {.name = "wcsftime*"},
    /* texts and rows that the next call overwrites */
    {.name = "strerror*"},
    {.name = "strsignal"},
    {.name = "getpw*"},
    {.name = "getgr*"},
    {.name = "getsp*"},
    {.name = "gethostby*"},
    {.name = "getservby*"},
    {.name = "getprotoby*"},
    {.name = "getnetby*"},
    {.name = "nss_*"},
    {.name = "getlogin"},
    {.name = "ttyname"},
    {.name = "ptsname"},
    {.name = "syslog"},
    {.name = "openlog"},
    {.name = "vsyslog"},
};
#define N_FUNCTIONS (sizeof functions / sizeof *functions)

enum { NOT_ASKED, NO_SUCH, FOUND }; /* FOUND + index */

static_assert(N_FUNCTIONS + FOUND <= UCHAR_MAX, "the answer for a frame is a byte");

static bool begins(const char *name, const char *const *set, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *at = name, *want = set[i];
        while (*want && (*want == '#' ? isdigit((unsigned char)*at) : *at == *want)) {
            at++;
            want++;
        }
        if (!*want)
            return true;
    }
    return false;
}

static const char *base_name(const struct ma_object_entry *object)
{
    const char *slash = strrchr(object->path, '/');
    return slash ? slash + 1 : object->path;
}

static bool is_loader(const struct ma_object_entry *object)
{
    return object->known && begins(base_name(object), loaders, sizeof loaders / sizeof *loaders);
}

static bool is_runtime(const struct ma_object_entry *object)
{
    return object->known && (begins(base_name(object), objects, sizeof objects / sizeof *objects) ||
                             is_loader(object));
}

/* The function of that name, FOUND + its index, or NO_SUCH. */
static unsigned char find_function(const char *name)
{
    if (!name)
        return NO_SUCH;
    name += strspn(name, "_");
    if (strncmp(name, "GI_", 3) == 0)
        name += 3 + strspn(name + 3, "_");
    const size_t length = strcspn(name, "(<@");
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        size_t n = strlen(functions[i].name);
        bool open = functions[i].name[n - 1] == '*';
        n -= open;
        if ((open ? length >= n : length == n) && memcmp(name, functions[i].name, n) == 0)
            return (unsigned char)(FOUND + i);
    }
    return NO_SUCH;
}

/* The function of one of a return address's frames that keeps its blocks: FOUND + its index or
 * NO_SUCH, or -ENOMEM. */
static int ask_pc(struct ma_runtime *runtime, struct ma_stacks *stacks, uint32_t pc)
{
    const struct ma_frame *frames;
    long n = ma_stacks_pc(stacks, pc, &frames);
    int found = n < 0 ? -ENOMEM : NO_SUCH;
    for (long i = 0; i < n && found == NO_SUCH; i++) {
        const uint32_t number = frames[i].number;
        if (!MA_HOLDS(runtime->known, number, runtime->n))
            return -ENOMEM;
        if (runtime->known[number] == NOT_ASKED)
            runtime->known[number] = find_function(frames[i].function);
        found = runtime->known[number];
    }
    return found;
}

/* How many of these frames, from the innermost on, are of the runtimes' objects. */
static long run_of(const struct ma_stacks *stacks, const uint32_t *pcs, long n)
{
    long run = 0;
    while (run < n && is_runtime(&stacks->objects[stacks->pcs[pcs[run]].object]))
        run++;
    return run;
}

int ma_runtime_owns(struct ma_runtime *runtime, struct ma_stacks *stacks, uint32_t stack,
                    size_t *most)
{
    const uint32_t *pcs;
    long n = ma_stacks_pcs_within(stacks, stack, FEW, &pcs);
    bool shallow = n < FEW;
    if (n == FEW && run_of(stacks, pcs, n) == n)
        n = ma_stacks_pcs_within(stacks, stack, DEPTH, &pcs);
    if (n < 0)
        return -ENOMEM;
    const long run = run_of(stacks, pcs, n);
    *most = SIZE_MAX;
    if (n && run == n && n < DEPTH && ma_stacks_root(stacks, stack) == MLF_ROOT_WHOLE &&
        is_loader(&stacks->objects[stacks->pcs[pcs[n - 1]].object]))
        return 1;
    for (long i = 0; i < run || (i == 0 && n && shallow); i++) {
        int found = ask_pc(runtime, stacks, pcs[i]);
        if (found < 0)
            return found;
        if (found < FOUND || (i >= run && !functions[found - FOUND].in_any_object))
            continue;
        if (functions[found - FOUND].most)
            *most = functions[found - FOUND].most;
        return 1;
    }
    return 0;
}

void ma_runtime_free(struct ma_runtime *runtime)
{
    free(runtime->known);
    *runtime = (struct ma_runtime){0};
}
