/* SPDX-License-Identifier: MIT
 *
 * generated DIRECTORY: makes two functions at run time, tells of them in
 * DIRECTORY/perf-PID.map as just-in-time compilers do, and leaks 984 bytes
 * through the first and 1,968 through the second. Before them the map has an
 * older function at the place of both.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FUNCTION = 64 };

/* Calls malloc from a frame of its own. */
static void generate(unsigned char *to)
{
    void *(*function)(size_t) = malloc;
#if defined(__x86_64__)
    static const unsigned char head[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8},
                               tail[] = {0xff, 0xd0, 0x5d, 0xc3};
#elif defined(__aarch64__)
    static const uint32_t head[] = {0xa9bf7bfd, 0x910003fd, 0x58000090,
                                    0xd63f0200, 0xa8c17bfd, 0xd65f03c0};
    static const unsigned char tail[1] = {0};
#else
#error "add the machine code of this architecture"
#endif
    memcpy(to, head, sizeof(head));
    memcpy(to + sizeof(head), &function, sizeof(function));
    memcpy(to + sizeof(head) + sizeof(function), tail, sizeof(tail));
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc < 2)
        return 2;
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    generate(code);
    generate(code + FUNCTION);
    if (mprotect(code, 4096, PROT_READ | PROT_EXEC) != 0)
        return 1;
    __builtin___clear_cache((char *)code, (char *)code + 2 * FUNCTION);
    snprintf(path, sizeof(path), "%s/perf-%d.map", argv[1], (int)getpid());
    FILE *map = fopen(path, "w");
    if (!map)
        return 1;
    fprintf(map, "%lx %x replaced\n", (unsigned long)code, 4096);
    fprintf(map, "not a line of a map\n%lx nonsense\n", (unsigned long)code);
    fprintf(map, "%lx %x jit_first\n", (unsigned long)code, FUNCTION);
    fprintf(map, "%lx %x Script:~second with spaces /a/file.js:7\n", (unsigned long)code + FUNCTION,
            FUNCTION);
    fclose(map);
    void *(*first)(size_t) = (void *(*)(size_t))(uintptr_t)code;
    void *(*second)(size_t) = (void *(*)(size_t))(uintptr_t)(code + FUNCTION);
    void *volatile kept[] = {first(123 * 8), second(123 * 16)};
    printf("%d\n", (int)getpid());
    return !kept[0] || !kept[1];
}
