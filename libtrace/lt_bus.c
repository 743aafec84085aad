/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS; see lt_bus.h.
 */
#include "lt_bus.h"

#include <signal.h>
#include <sys/mman.h>

#include "lt_guard.h"
#include "lt_trace.h"

static struct {
    uintptr_t header;
    size_t header_size;
    bool struck; /* atomic */
} bus;

static bool is_in(uintptr_t at, const struct lt_writer *writer)
{
    uintptr_t chunk = (uintptr_t)__atomic_load_n(&writer->chunk, __ATOMIC_ACQUIRE);
    return chunk && at - chunk < writer->size;
}

static bool is_of_trace(uintptr_t at)
{
    if (at - bus.header < bus.header_size)
        return true;
    for (const struct lt_context *c = lt_process.contexts; c; c = c->next)
        if (is_in(at, &c->events) || is_in(at, &c->definitions))
            return true;
    return false;
}

static bool on_bus(siginfo_t *info, const struct lt_frame_start *at, bool dies)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    (void)at, (void)dies;
    if (info->si_code <= 0 || !is_of_trace(address))
        return false;
    uintptr_t page = address & ~(uintptr_t)(lt_process.page_size - 1);
    __atomic_store_n(&bus.struck, true, __ATOMIC_RELEASE);
    long got = lt_mmap((void *)page, lt_process.page_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return got == (long)page;
}

bool lt_bus_struck(void)
{
    return __atomic_load_n(&bus.struck, __ATOMIC_ACQUIRE);
}

void lt_bus_guard(void *header, size_t size)
{
    bus.header = (uintptr_t)header;
    bus.header_size = size;
    lt_guard(SIGBUS, on_bus);
}
