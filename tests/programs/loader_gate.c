/* SPDX-License-Identifier: MIT
 *
 * Preloaded behind libmlog.so: whoever unloads a plug-in of loader.c tells it so,
 * and waits, before dlclose returns.
 */
#include <dlfcn.h>

void loader_has_unloaded(void);

int dlclose(void *handle)
{
    int (*next)(void *) = (int (*)(void *))dlsym(RTLD_NEXT, "dlclose");
    int result = next(handle);
    loader_has_unloaded();
    return result;
}
