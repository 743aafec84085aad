/* SPDX-License-Identifier: MIT
 *
 * Signs of an allocator that is linked into an executable, whose blocks no hook of the C
 * library's names need see: the symbols that only it has. Used by the analyser, to say what
 * a trace lacks, and by the command, to say so before a run.
 */
#ifndef MLF_ALLOCATORS_H
#define MLF_ALLOCATORS_H

#include <stddef.h>
#include <string.h>

struct mlf_allocator_sign {
    const char *symbol; /* "…*": any that begins so */
    const char *name;   /* of the allocator */
};

/* The sign that the name of a symbol is, or NULL. */
static inline const struct mlf_allocator_sign *mlf_allocator_sign(const char *symbol)
{
    static const struct mlf_allocator_sign signs[] = {
        {"je_malloc", "jemalloc"},
        {"_rjem_malloc", "jemalloc"},
        {"_rjem_mallocx", "jemalloc"},
        {"je_mallocx", "jemalloc"},
        {"mi_malloc", "mimalloc"},
        {"_mi_malloc_generic", "mimalloc"},
        {"tc_malloc", "tcmalloc"},
        {"TCMallocInternalMalloc", "tcmalloc"},
        {"_ZN8tcmalloc*", "tcmalloc"},
        {"rpmalloc", "rpmalloc"},
        {"_ZN8snmalloc*", "snmalloc"},
        {"_ZN5scudo*", "scudo"},
        {"_ZN15partition_alloc*", "PartitionAlloc"},
        {"GC_malloc", "the Boehm collector"},
        {"runtime.mallocgc", "the Go runtime"},
        {"dlmalloc", "dlmalloc"},
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        const char *sign = signs[i].symbol;
        const size_t n = strlen(sign);
        if (sign[n - 1] == '*' ? strncmp(sign, symbol, n - 1) == 0 : strcmp(sign, symbol) == 0)
            return &signs[i];
    }
    return NULL;
}

#endif
