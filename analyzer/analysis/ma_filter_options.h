/* SPDX-License-Identifier: MIT
 *
 * The choice of what a report is about: the values of the options --from, --to,
 * --pid, --tid, --min-size, --max-size, --min-age, --function, --module and
 * --exclude, as the user typed them. ma_filter.h applies them.
 */
#ifndef MA_FILTER_OPTIONS_H
#define MA_FILTER_OPTIONS_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ma_filter_option {
    MA_FILTER_FROM,
    MA_FILTER_TO,
    MA_FILTER_PID,
    MA_FILTER_TID,
    MA_FILTER_MIN_SIZE,
    MA_FILTER_MAX_SIZE,
    MA_FILTER_MIN_AGE,
    MA_FILTER_FUNCTION,
    MA_FILTER_MODULE,
    MA_FILTER_EXCLUDE,
    MA_FILTER_OPTIONS
};

enum ma_moment_kind { MA_MOMENT_NONE, MA_MOMENT_NS, MA_MOMENT_PERCENT, MA_MOMENT_MARK };

struct ma_moment {
    enum ma_moment_kind kind;
    uint64_t ns;      /* since the start of the trace */
    double percent;   /* of its duration */
    const char *mark; /* a name */
};

#define MA_FILTER_MANY 32 /* values of one option */

struct ma_pattern {
    const char *text;
    regex_t regex;
};

struct ma_patterns {
    struct ma_pattern all[MA_FILTER_MANY];
    size_t n;
};

/* All zero: everything. */
struct ma_filter_options {
    bool active; /* an option was given */
    struct ma_moment from, to;
    uint64_t min_size, max_size, min_age; /* bytes, bytes, ns */
    bool has_max_size;
    uint64_t pids[MA_FILTER_MANY];
    size_t n_pids;
    const char *threads[MA_FILTER_MANY]; /* number or glob */
    size_t n_threads;
    struct ma_patterns function, module, exclude; /* POSIX extended */
};

/* The options' names, without dashes. */
extern const char *const ma_filter_names[MA_FILTER_OPTIONS];

/* Take the value of an option, which must outlive spec. Returns NULL, or what
 * was expected as the end of a sentence that begins with the option and its value;
 * valid until the next call. */
const char *ma_filter_options_parse(struct ma_filter_options *spec, enum ma_filter_option option,
                                    const char *value);

/* The fault of the options together, as a sentence, or NULL. `of` stands before the names
 * of the window's options: "", or "old-". Valid until the next call. */
const char *ma_filter_options_problem(const struct ma_filter_options *spec, const char *of);

/* True if it cannot be applied before the end of the trace has been seen. */
bool ma_filter_options_looks_ahead(const struct ma_filter_options *spec);

/* True if a thread's number, with its name (NULL: unknown), is one of those wanted. */
bool ma_filter_options_thread(const struct ma_filter_options *spec, uint64_t tid, const char *name);

bool ma_patterns_match(const struct ma_patterns *patterns, const char *text);

void ma_filter_options_free(struct ma_filter_options *spec);

/* Parse bytes with or without a unit (K, M, G, KiB …). Returns false, with *bytes
 * untouched, if text is none. */
bool ma_parse_size(const char *text, uint64_t *bytes);

/* The same: returns NULL, or what was expected as the end of a sentence. */
const char *ma_filter_options_bytes(const char *text, uint64_t *bytes);

#endif
