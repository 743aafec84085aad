/* SPDX-License-Identifier: MIT
 *
 * The bare cost of one call: COUNT times malloc and free of a block of SIZE
 * bytes, or a chain that grows a block by realloc from SIZE to 4 x SIZE and
 * frees it. Or COUNT times malloc, and free of one of the LIVE latest blocks.
 * Prints how many events that makes. Called by bench.py.
 *
 *     pairs malloc SIZE COUNT
 *     pairs realloc SIZE COUNT
 *     pairs live LIVE COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(void)
{
    fputs("usage: pairs malloc|realloc|live SIZE COUNT\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail();
    size_t size = strtoul(argv[2], NULL, 10);
    unsigned long count = strtoul(argv[3], NULL, 10);
    if (!strcmp(argv[1], "malloc")) {
        for (unsigned long i = 0; i < count; i++)
            free(malloc(size));
        printf("%lu\n", 2 * count);
    } else if (!strcmp(argv[1], "realloc")) {
        for (unsigned long i = 0; i < count; i++) {
            void *block = NULL;
            for (size_t n = 1; n <= 4; n++) {
                void *grown = realloc(block, n * size);
                if (!grown)
                    exit(1);
                block = grown;
            }
            free(block);
        }
        printf("%lu\n", 5 * count);
    } else if (!strcmp(argv[1], "live")) {
        void **blocks = calloc(size, sizeof *blocks);
        if (!blocks || !size)
            exit(1);
        size_t random = 1;
        for (unsigned long i = 0; i < count; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t at = i < size ? i : (random >> 20) % size;
            free(blocks[at]);
            blocks[at] = malloc(16 + (random >> 60) * 16);
        }
        printf("%lu\n", 2 * count);
    } else {
        fail();
    }
    return 0;
}
