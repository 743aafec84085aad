// SPDX-License-Identifier: MIT
//
// The conformance program for operator new and delete in all their forms: see
// conform.h for what it writes. Sizes that cannot be had must throw, call the
// new_handler or return null; what is allocated is accounted as malloc's or
// aligned_alloc's, which is what the run-time library calls. With an argument
// nothing fails: an allocator may end the program then.
#include "conform.h"

#include <new>

static const std::align_val_t wide{256};

static void *seen(const char *form, void *p, size_t size, size_t alignment)
{
    SHOW("%s: %s\n", form, p ? "block" : "null");
    errno = 0;
    return conform_allocated(alignment ? "aligned_alloc" : "malloc", p, size, alignment);
}

static void *going(void *p)
{
    LOG("free free %p\n", p);
    conform_drop(p);
    return p;
}

static int handled;

static void handler()
{
    if (++handled % 3 == 0)
        std::set_new_handler(nullptr);
}

template <typename Function> static void must_throw(const char *form, Function function)
{
    for (int with_handler = 0; with_handler < 2; with_handler++) {
        std::set_new_handler(with_handler ? handler : nullptr);
        handled = 0;
        try {
            void *volatile p = function();
            SHOW("%s: %s after %d\n", form, p ? "block" : "null", handled);
        } catch (const std::bad_alloc &problem) {
            SHOW("%s: throws %s after %d\n", form, problem.what(), handled);
        }
    }
}

static void check_failures()
{
    must_throw("new huge", [] { return ::operator new(half - 1); });
    must_throw("new[] huge", [] { return ::operator new[](half - 1); });
    must_throw("nothrow huge", [] { return ::operator new(half - 1, std::nothrow); });
    must_throw("nothrow[] huge", [] { return ::operator new[](half - 1, std::nothrow); });
    must_throw("aligned huge", [] { return ::operator new(half - 255, wide); });
    must_throw("aligned nothrow huge",
               [] { return ::operator new[](half - 255, wide, std::nothrow); });
}

int main(int argc, char **)
{
    conform_begin();
    ::operator delete(going(seen("new", ::operator new(123 * 8), 123 * 8, 0)));
    ::operator delete(going(seen("new sized", ::operator new(124 * 8), 124 * 8, 0)), 124 * 8);
    ::operator delete[](going(seen("new[]", ::operator new[](125 * 8), 125 * 8, 0)));
    ::operator delete[](going(seen("new[] sized", ::operator new[](126 * 8), 126 * 8, 0)), 126 * 8);
    ::operator delete(going(seen("nothrow", ::operator new(127 * 8, std::nothrow), 127 * 8, 0)),
                      std::nothrow);
    ::operator delete[](
        going(seen("nothrow[]", ::operator new[](128 * 8, std::nothrow), 128 * 8, 0)),
        std::nothrow);
    ::operator delete(going(seen("aligned", ::operator new(1024, wide), 1024, 256)), wide);
    ::operator delete(going(seen("aligned sized", ::operator new(1280, wide), 1280, 256)), 1280,
                      wide);
    ::operator delete[](going(seen("aligned[]", ::operator new[](1536, wide), 1536, 256)), wide);
    ::operator delete[](going(seen("aligned[] sized", ::operator new[](1792, wide), 1792, 256)),
                        1792, wide);
    ::operator delete(
        going(seen("aligned nothrow", ::operator new(2048, wide, std::nothrow), 2048, 256)), wide,
        std::nothrow);
    ::operator delete[](
        going(seen("aligned[] nothrow", ::operator new[](2304, wide, std::nothrow), 2304, 256)),
        wide, std::nothrow);
    ::operator delete(static_cast<void *>(nullptr));
    ::operator delete[](static_cast<void *>(nullptr));
    ::operator delete(static_cast<void *>(nullptr), 10);
    seen("kept", ::operator new(99 * 8), 99 * 8, 0);
    seen("kept too", ::operator new[](1024, wide), 1024, 256);
    conform_end();
    if (argc == 1)
        check_failures();
    return 0;
}
