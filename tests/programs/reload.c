/* SPDX-License-Identifier: MIT
 *
 * Loads a plug-in, lets it leak, unloads it and loads another at the same
 * address: blame must fall on the right one. Arguments: two libraries, each
 * with a function `plugin_run`. Prints "same" if the addresses were equal.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

static uintptr_t run(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 0;
    }
    void (*entry)(void) = (void (*)(void))dlsym(library, "plugin_run");
    entry();
    uintptr_t address = (uintptr_t)entry;
    dlclose(library);
    return address;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    uintptr_t first = run(argv[1]), second = run(argv[2]);
    printf("%s\n", first && first == second ? "same" : "different");
    return !first || !second;
}
