/* SPDX-License-Identifier: MIT
 *
 * The conformance program for the C interface of allocation: see conform.h for
 * what it writes. Arguments: functions that the allocator below does not bring
 * and that are therefore not called. `conform --only CASE` runs one of the cases
 * that end the program or leave the accounts unbalanced.
 */
#include "conform.h"

#include <limits.h>

void *__libc_malloc(size_t size);
void __libc_free(void *p);

static char **skipped;

static int has(const char *function)
{
    for (char **name = skipped; name && *name; name++)
        if (!strcmp(*name, function))
            return 0;
    return 1;
}

/* Each call with an errno of its own before it, and its account. */

static void *do_malloc(size_t size)
{
    errno = 77;
    void *p = malloc(size);
    return conform_allocated("malloc", p, size, 0);
}

static void do_free(void *p)
{
    if (p) {
        LOG("free free %p\n", p);
        conform_drop(p);
    }
    errno = 78;
    free(p);
    SHOW("free: errno %d\n", errno);
}

static void *do_calloc(size_t n, size_t size)
{
    size_t bytes;
    errno = 79;
    unsigned char *p = calloc(n, size);
    if (__builtin_mul_overflow(n, size, &bytes))
        bytes = SIZE_MAX;
    size_t dirty = 0;
    for (size_t i = 0; p && i < bytes; i++)
        dirty += p[i];
    SHOW("calloc: sum %zu\n", dirty);
    return conform_allocated("calloc", p, bytes, 0);
}

static void *do_realloc(void *old, size_t size)
{
    errno = 80;
    void *p = realloc(old, size);
    return old ? conform_resized("realloc", old, p, size)
               : conform_allocated("realloc", p, size, 0);
}

static void *do_reallocarray(void *old, size_t n, size_t size)
{
    size_t bytes;
    errno = 81;
    void *p = reallocarray(old, n, size);
    if (__builtin_mul_overflow(n, size, &bytes))
        bytes = SIZE_MAX;
    return old ? conform_resized("reallocarray", old, p, bytes)
               : conform_allocated("reallocarray", p, bytes, 0);
}

static void *do_posix_memalign(size_t alignment, size_t size)
{
    void *p = (void *)0x1230;
    errno = 82;
    int error = posix_memalign(&p, alignment, size);
    SHOW("posix_memalign: error %d untouched %d\n", error, p == (void *)0x1230);
    return conform_allocated("posix_memalign", error ? NULL : p, size, alignment);
}

static void *do_memalign(size_t alignment, size_t size)
{
    errno = 83;
    void *p = memalign(alignment, size);
    return conform_allocated("memalign", p, size, alignment);
}

static void *do_aligned_alloc(size_t alignment, size_t size)
{
    errno = 84;
    void *p = aligned_alloc(alignment, size);
    return conform_allocated("aligned_alloc", p, size, alignment);
}

static void *do_valloc(size_t size)
{
    errno = 85;
    void *p = valloc(size);
    return conform_allocated("valloc", p, size, 0);
}

static void *do_pvalloc(size_t size)
{
    errno = 86;
    void *p = pvalloc(size);
    return conform_allocated("pvalloc", p, size, 0);
}

static void check_sizes(void)
{
    static const size_t small[] = {0,    1,    7,     8,      15,     16,      23,
                                   24,   25,   40,    41,     123,    1000,    1032,
                                   1033, 4096, 65536, 131072, 135000, 1 << 20, 33 << 20};
    void *blocks[sizeof small / sizeof *small];
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        blocks[i] = do_malloc(small[i]);
    for (size_t i = 0; i < sizeof small / sizeof *small; i += 2)
        do_free(blocks[i]);
    for (size_t i = 1; i < sizeof small / sizeof *small; i += 2)
        do_free(blocks[i]);
    do_free(NULL);
    const size_t huge[] = {all, all - 1, all - 4096, half + 1, half, half - 1, half - 4096};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        do_malloc(huge[i]);
        do_calloc(huge[i], 1);
        do_calloc(1, huge[i]);
        do_realloc(NULL, huge[i]);
        do_memalign(64, huge[i]);
        do_posix_memalign(64, huge[i]);
        do_aligned_alloc(64, huge[i]);
    }
    do_calloc(third, 4);
    do_calloc(half, 3);
    do_calloc(half + 1, 2);
    do_free(do_calloc(zero, 10));
    do_free(do_calloc(10, zero));
    do_free(do_calloc(3, 41));
    do_free(do_calloc(300, 4100));
}

static void check_realloc(void)
{
    void *p = do_realloc(NULL, 321);
    for (size_t size = 10; size < 40000000; size *= 7)
        p = do_realloc(p, size);
    for (size_t size = 30000000; size > 10; size /= 9)
        p = do_realloc(p, size);
    SHOW("kept %d\n", *(unsigned char *)p);
    const size_t huge[] = {all, half + 1, half - 4096};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++)
        do_realloc(p, huge[i]);
    SHOW("kept after failures %d\n", *(unsigned char *)p);
    do_reallocarray(p, third, 4);
    do_reallocarray(NULL, half, 4);
    do_reallocarray(p, half, 2);
    p = do_reallocarray(p, 30, 41);
    void *q = do_reallocarray(NULL, 7, 11);
    void *r = do_realloc(p, zero);
    if (r)
        do_free(r);
    r = do_reallocarray(q, zero, 12);
    if (r)
        do_free(r);
    do_free(do_realloc(NULL, zero));
    do_free(do_reallocarray(NULL, zero, zero));
}

static void check_alignments(void)
{
    static const size_t alignments[] = {0,  1,  2,  3,   4,   7,    8,     16,
                                        24, 32, 64, 100, 128, 4096, 65536, 1 << 20};
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        size_t alignment = alignments[i];
        int power = alignment && !(alignment & (alignment - 1));
        void *a = do_posix_memalign(alignment, 123 * 8);
        if (power || has("odd-alignments")) {
            do_free(do_memalign(alignment, 123 * 8));
            do_free(do_aligned_alloc(alignment, alignment * 2));
        }
        if (a)
            a = do_realloc(a, 5000);
        do_free(a);
        if (alignment >= 8 && power)
            do_free(do_posix_memalign(alignment, zero));
    }
    do_free(do_valloc(10));
    do_valloc(all);
    if (has("pvalloc")) {
        do_free(do_pvalloc(10));
        do_free(do_pvalloc(4097));
        if (has("pvalloc-overflow"))
            do_pvalloc(all - 10);
    }
}

/* Blocks that libc allocates and the program frees. */
static void check_libc(void)
{
    char *text = strdup("distinct");
    SHOW("strdup %s usable %zu\n", text, malloc_usable_size(text));
    LOG("alloc malloc %p %zu %zu 0\n", (void *)text, sizeof "distinct", malloc_usable_size(text));
    conform_hold(text, sizeof "distinct");
    do_free(text);
    text = strndup("distinct", 4);
    LOG("alloc malloc %p %zu %zu 0\n", (void *)text, (size_t)5, malloc_usable_size(text));
    conform_hold(text, 5);
    do_free(text);
}

/* The same, of functions whose sizes are libc's own business: outside the
 * account; they leave nothing behind. */
static void check_libc_freely(void)
{
    char *text = NULL, *path;
    SHOW("asprintf %d\n", asprintf(&text, "%d %s", 4711, "words"));
    free(text);
    path = getcwd(NULL, 0);
    SHOW("getcwd %d\n", path[0] == '/');
    free(path);
    path = realpath("/proc/../proc", NULL);
    SHOW("realpath %s\n", path);
    free(path);
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen("/etc/passwd", "r");
    SHOW("getline %d\n", getline(&line, &size, file) > 0);
    fclose(file);
    free(line);
    FILE *memory = open_memstream(&text, &size);
    fprintf(memory, "%*d", 5000, 7);
    fclose(memory);
    SHOW("open_memstream %zu\n", size);
    free(text);
}

static void check_others(void)
{
    SHOW("mallopt %d\n", mallopt(M_MMAP_THRESHOLD, 1 << 20));
    malloc_trim(0);
    struct mallinfo2 before = mallinfo2();
    void *p = malloc(123 * 8), *q = malloc(4 << 20);
    struct mallinfo2 after = mallinfo2();
    SHOW("mallinfo2 %zu %zu\n", after.uordblks - before.uordblks, after.hblkhd - before.hblkhd);
    free(p);
    free(q);
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    SHOW("malloc_info %d\n", malloc_info(0, memory));
    fclose(memory);
    SHOW("malloc_info wrote %d\n", strstr(text, "<malloc version") != NULL);
    free(text);
}

static int only(const char *name)
{
    char local[64];
    static char *volatile foreign;
    if (!strcmp(name, "free-of-the-stack")) {
        foreign = local + 16;
        free(foreign);
    } else if (!strcmp(name, "double-free")) {
        foreign = malloc(2000);
        void *volatile barrier = malloc(2000);
        free(foreign);
        free(foreign);
        free(barrier);
    } else if (!strcmp(name, "libc-malloc")) {
        foreign = __libc_malloc(17 * 8); /* unseen */
        free(foreign);
        foreign = malloc(19 * 8);
        __libc_free(foreign);     /* unseen */
        foreign = malloc(19 * 8); /* the same address again */
        free(foreign);
    } else if (!strcmp(name, "pvalloc")) {
        foreign = pvalloc(10);
        SHOW("pvalloc %d\n", foreign != NULL);
    } else if (!strcmp(name, "reallocarray")) {
        SHOW("reallocarray %d\n", (foreign = reallocarray(NULL, 30, 40)) != NULL);
        SHOW("reallocarray %d\n", (foreign = reallocarray(foreign, 300, 40)) != NULL);
        free(foreign);
    } else {
        return 2;
    }
    SHOW("%s is over\n", name);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--only"))
        return only(argv[2]);
    skipped = argv + 1;
    conform_begin();
    check_sizes();
    check_realloc();
    check_alignments();
    check_libc();
    do_malloc(17 * 8); /* what the end must find: these three */
    do_free(do_malloc(18 * 8));
    do_realloc(do_calloc(3, 41), 19 * 8);
    do_posix_memalign(256, 21 * 8);
    conform_end();
    check_libc_freely();
    if (has("mallinfo"))
        check_others();
    return 0;
}
