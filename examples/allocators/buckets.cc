// SPDX-License-Identifier: MIT
//
// An allocator in C++ for mlog_allocator.h: a list of free blocks for each power of two,
// behind a lock that fork finds released. What is freed is kept for the next block of
// that size.
//
//     cc -shared -fPIC -O2 -fno-exceptions -fno-rtti buckets.cc
//         $(pkg-config --cflags --libs mlog-allocator) -o libbuckets.so
//     mlog-allocator-test ./libbuckets.so
//
// The first, which links without libstdc++, prints nothing, the second one "ok" for each promise of
// malloc.
#include <mlog_allocator.h>

#include <atomic>
#include <cstdint>
#include <sched.h>
#include <sys/mman.h>

namespace
{

// In front of each block.
struct Head {
    void *place; // where its bucket's block begins
    size_t bucket;
};

struct Free {
    Free *next;
};

constexpr size_t piece = size_t{1} << 20; // small blocks are cut from pieces of this size
constexpr size_t buckets = sizeof(size_t) * 8;

Free *lists[buckets];
char *cut, *cut_end;
std::atomic_flag locked = ATOMIC_FLAG_INIT;

void lock()
{
    while (locked.test_and_set(std::memory_order_acquire))
        sched_yield();
}

void unlock()
{
    locked.clear(std::memory_order_release);
}

void *map(size_t size)
{
    void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

void *take(size_t bucket)
{
    const size_t size = size_t{1} << bucket;
    if (Free *place = lists[bucket]) {
        lists[bucket] = place->next;
        return place;
    }
    if (size >= piece)
        return map(size);
    if (!cut || size > size_t(cut_end - cut)) {
        cut = static_cast<char *>(map(piece));
        cut_end = cut ? cut + piece : nullptr;
    }
    char *place = cut;
    cut = place ? place + size : nullptr;
    return place;
}

Head *head_of(const void *block)
{
    return static_cast<Head *>(const_cast<void *>(block)) - 1;
}

void *allocate(size_t alignment, size_t size)
{
    size_t bucket = 6;
    while ((size_t{1} << bucket) - sizeof(Head) - (alignment > 16 ? alignment : 0) < size ||
           (size_t{1} << bucket) < sizeof(Head) + alignment)
        if (++bucket == buckets)
            return nullptr;
    lock();
    void *place = take(bucket);
    unlock();
    if (!place)
        return nullptr;
    const uintptr_t at = reinterpret_cast<uintptr_t>(place) + sizeof(Head) + alignment - 1;
    void *block = reinterpret_cast<void *>(at & ~(alignment - 1));
    *head_of(block) = Head{place, bucket};
    return block;
}

void deallocate(void *block)
{
    const Head head = *head_of(block);
    Free *place = static_cast<Free *>(head.place);
    lock();
    place->next = lists[head.bucket];
    lists[head.bucket] = place;
    unlock();
}

size_t usable_size(const void *block)
{
    const Head *head = head_of(block);
    const char *end = static_cast<char *>(head->place) + (size_t{1} << head->bucket);
    return size_t(end - static_cast<const char *>(block));
}

constexpr struct mlog_allocator make()
{
    struct mlog_allocator made {
    };
    made.version = MLOG_ALLOCATOR_VERSION;
    made.name = "buckets";
    made.allocate = allocate;
    made.deallocate = deallocate;
    made.usable_size = usable_size;
    made.fork_prepare = lock;
    made.fork_parent = unlock;
    made.fork_child = unlock;
    return made;
}

} // namespace

extern "C" const struct mlog_allocator mlog_allocator = make();
