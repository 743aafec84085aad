// SPDX-License-Identifier: MIT
//
// operator new in all its forms: over-aligned, array, nothrow, and sizes that
// cannot be had, which must throw and never return null. Leaks one Widget of
// 123 * 8 bytes from a templated function. Prints what happened.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <new>

namespace shop
{
struct Widget {
    long data[123];
};
template <typename T> [[gnu::noinline]] T *leak_one()
{
    return new T();
}
} // namespace shop

struct alignas(256) Aligned {
    char data[256];
};

static volatile std::size_t huge = std::numeric_limits<std::size_t>::max() / 2;
static void *volatile keep;

int main()
{
    keep = shop::leak_one<shop::Widget>();
    Aligned *aligned = new Aligned[3];
    std::printf("aligned: %d\n", reinterpret_cast<std::uintptr_t>(aligned) % 256 == 0);
    delete[] aligned;
    try {
        keep = ::operator new(huge);
        std::printf("no exception\n");
    } catch (const std::bad_alloc &) {
        std::printf("bad_alloc\n");
    }
    std::printf("nothrow: %d\n", ::operator new(huge, std::nothrow) == nullptr);
    int *array = new int[1000];
    keep = array;
    delete[] array;
    return 0;
}
