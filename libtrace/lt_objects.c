/* SPDX-License-Identifier: MIT
 *
 * See lt_objects.h. libc's function is looked up in libc's own table of symbols:
 * dlsym would find that of any library before it.
 */
#include "lt_objects.h"

#include <dlfcn.h>

#include "lt_elf.h"
#include "lt_libc.h"

typedef int (*iterate_function)(int (*)(struct dl_phdr_info *, size_t, void *), void *);

static iterate_function find_of_libc(void)
{
    static struct lt_elf elf;
    ElfW(Sym) symbol;
    Dl_info libc;
    uint32_t number;
    if (!lt_in_libc || !dladdr((const void *)lt_in_libc, &libc) ||
        !lt_elf_open(&elf, (uintptr_t)libc.dli_fbase, true) ||
        !lt_elf_find(&elf, "dl_iterate_phdr", &symbol, &number))
        return dl_iterate_phdr;
    return (iterate_function)(elf.bias + symbol.st_value);
}

int lt_objects_each(int (*visit)(struct dl_phdr_info *, size_t, void *), void *data)
{
    static iterate_function iterate; /* found before there is a second thread */
    if (!iterate)
        iterate = find_of_libc();
    return iterate(visit, data);
}
