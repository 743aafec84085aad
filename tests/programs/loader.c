/* SPDX-License-Identifier: MIT
 *
 * Plug-ins, loaded in every way the loader knows: `loader CASE PLUGIN...`. Of a
 * plug-in (loader_plugin.c) plugin_take allocates and plugin_give frees, by
 * the malloc and free that it is bound to. Prints what happened.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plugin {
    void *handle;
    void *(*take)(size_t size);
    void (*give)(void *p);
};

static int open_plugin(struct plugin *p, const char *path, int flags, int namespace)
{
    p->handle = namespace ? dlmopen(LM_ID_NEWLM, path, flags) : dlopen(path, flags);
    if (!p->handle) {
        printf("%s\n", dlerror());
        return 0;
    }
    p->take = (void *(*)(size_t))dlsym(p->handle, "plugin_take");
    p->give = (void (*)(void *))dlsym(p->handle, "plugin_give");
    return p->take && p->give;
}

static void *volatile keep;

/* Blocks big enough to be mappings of their own may cross from one libc to
 * another; their ends then stand in the trace without their beginnings. */
static void *across(const struct plugin *plugin, size_t size)
{
    char *theirs = plugin->take(size), *mine = malloc(size);
    memset(theirs, 1, size);
    memset(mine, 2, size);
    free(theirs);
    plugin->give(mine);
    plugin->give(plugin->take(17 * 8));
    return malloc(19 * 8);
}

static int single(const char *path, int flags, int namespace)
{
    struct plugin plugin;
    if (!open_plugin(&plugin, path, flags, namespace))
        return 1;
    keep = across(&plugin, 4 << 20);
    printf("%d\n", dlclose(plugin.handle));
    if (!open_plugin(&plugin, path, flags, namespace))
        return 1;
    keep = across(&plugin, 5 << 20);
    return 0;
}

/* Two threads load and unload, two allocate; each keeps what it can name. */

#define ROUNDS 300
static volatile int loading;

static void *load_often(void *path)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct plugin plugin;
        if (!open_plugin(&plugin, path, RTLD_NOW, 0))
            exit(1);
        void *p = plugin.take(41);
        plugin.give(plugin.take(43));
        if (i % 100)
            free(p);
        dlclose(plugin.handle);
    }
    __atomic_sub_fetch(&loading, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void *allocate(void *unused)
{
    (void)unused;
    void *blocks[64] = {0};
    for (unsigned i = 0; __atomic_load_n(&loading, __ATOMIC_ACQUIRE); i++) {
        free(blocks[i * 7 % 64]);
        blocks[i * 7 % 64] = malloc(i % 500);
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    return NULL;
}

static int storm(char **paths)
{
    pthread_t threads[4];
    loading = 2;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, i < 2 ? load_often : allocate, i < 2 ? paths[i] : NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* The first leaks 45 bytes, the second 47 while the unloading is under way, and 49
 * after it. */

static sem_t start, unloaded, go_on;

void loader_has_unloaded(void);
void loader_has_unloaded(void)
{
    sem_post(&unloaded);
    sem_wait(&go_on);
}

static void *unload(void *handle)
{
    free(malloc(1)); /* whatever memory a thread needs, it has */
    sem_wait(&start);
    dlclose(*(void **)handle);
    return NULL;
}

static int held(char **paths)
{
    struct plugin plugins[2];
    pthread_t thread;
    if (!open_plugin(&plugins[0], paths[0], RTLD_NOW, 0))
        return 1;
    pthread_create(&thread, NULL, unload, &plugins[0].handle);
    for (int i = 0; i < 3; i++) {
        keep = plugins[i > 0].take(45 + 2 * (size_t)i);
        if (i == 0) {
            sem_post(&start);
            sem_wait(&unloaded);
            if (!open_plugin(&plugins[1], paths[1], RTLD_NOW, 0))
                return 1;
        } else if (i == 1) {
            sem_post(&go_on);
            pthread_join(thread, NULL);
        }
    }
    printf("%td\n", (char *)plugins[1].take - (char *)plugins[0].take);
    return 0;
}

int main(int argc, char **argv)
{
    int result = 2;
    if (argc == 3 && !strcmp(argv[1], "deepbind"))
        result = single(argv[2], RTLD_NOW | RTLD_DEEPBIND, 0);
    else if (argc == 3 && !strcmp(argv[1], "namespace"))
        result = single(argv[2], RTLD_NOW, 1);
    else if (argc == 3 && !strcmp(argv[1], "plain"))
        result = single(argv[2], RTLD_NOW, 0);
    else if (argc == 4 && !strcmp(argv[1], "storm"))
        result = storm(argv + 2);
    else if (argc == 4 && !strcmp(argv[1], "held"))
        result = held(argv + 2);
    printf("%s %d\n", argv[1], result);
    return result;
}
