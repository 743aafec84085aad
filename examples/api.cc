/* SPDX-License-Identifier: MIT
 *
 * Purpose: mlog.h in C++: a guard that names a span of the trace and says how many bytes
 * its scope has kept.
 *
 * Command:
 *
 *     g++ -std=c++11 -g -o api api.cc
 *     LD_PRELOAD=libmlog.so ./api 1022>api.mlog
 *     mlog-analyze api.mlog --dump=text | grep '^#'
 *
 * Expected output: the program prints
 *
 *     load keeps 4008 bytes in 1 block
 *     forget keeps -4008 bytes in -1 block
 *
 * and the dump has "# BEGIN load", "# PRINT 1000 numbers" and "# END load" at their places.
 */
#include <mlog.h>

#include <cstdio>
#include <vector>

namespace
{

class span
{
  public:
    explicit span(const char *name) : name_(name)
    {
        mlog_begin(name_);
        mlog_stats(&before_);
    }
    ~span()
    {
        struct mlog_stats after;
        mlog_stats(&after);
        mlog_end(name_);
        const struct mlog_stats kept = mlog_stats_diff(&before_, &after);
        std::printf("%s keeps %lld bytes in %lld block\n", name_,
                    static_cast<long long>(kept.in_use),
                    static_cast<long long>(kept.in_use_blocks));
    }
    span(const span &) = delete;
    span &operator=(const span &) = delete;

  private:
    const char *name_;
    struct mlog_stats before_;
};

} // namespace

int main()
{
    std::setvbuf(stdout, nullptr, _IONBF, 0);
    std::vector<int> kept;
    {
        span load("load");
        kept.assign(1000, 7);
        mlog_printf("%zu numbers", kept.size());
    }
    {
        span forget("forget");
        kept = std::vector<int>();
    }
    return 0;
}
