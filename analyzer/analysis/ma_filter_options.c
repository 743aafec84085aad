/* SPDX-License-Identifier: MIT
 *
 * Parsing of filters; see ma_filter_options.h.
 */
#include "ma_filter_options.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ma_filter_names[MA_FILTER_OPTIONS] = {
    [MA_FILTER_FROM] = "from",         [MA_FILTER_TO] = "to",
    [MA_FILTER_PID] = "pid",           [MA_FILTER_TID] = "tid",
    [MA_FILTER_MIN_SIZE] = "min-size", [MA_FILTER_MAX_SIZE] = "max-size",
    [MA_FILTER_MIN_AGE] = "min-age",   [MA_FILTER_FUNCTION] = "function",
    [MA_FILTER_MODULE] = "module",     [MA_FILTER_EXCLUDE] = "exclude",
};

struct unit {
    const char *name;
    uint64_t factor;
};

/* A number, with a fraction or not, and a unit: to units of the factors. */
static bool parse_quantity(const char *text, const struct unit *units, uint64_t *value)
{
    char digits[64];
    size_t n = strspn(text, "0123456789.");
    char *end;
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    long double number = strtold(digits, &end);
    if (*end || end == digits)
        return false;
    for (; units->name; units++) {
        if (strcmp(units->name, text + n) != 0)
            continue;
        number = number * (long double)units->factor + 0.5L;
        if (number >= 9e18L)
            return false;
        *value = (uint64_t)number;
        return true;
    }
    return false;
}

static bool parse_duration(const char *text, uint64_t *ns)
{
    static const struct unit units[] = {
        {"", 1000000000}, {"s", 1000000000},  {"ms", 1000000},      {"us", 1000},
        {"ns", 1},        {"m", 60000000000}, {"h", 3600000000000}, {NULL, 0},
    };
    return parse_quantity(text, units, ns);
}

bool ma_parse_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1},          {"B", 1},       {"K", 1 << 10},   {"k", 1 << 10},
        {"KiB", 1 << 10}, {"M", 1 << 20}, {"m", 1 << 20},   {"MiB", 1 << 20},
        {"G", 1 << 30},   {"g", 1 << 30}, {"GiB", 1 << 30}, {NULL, 0},
    };
    return parse_quantity(text, units, bytes);
}

const char *ma_filter_options_bytes(const char *text, uint64_t *bytes)
{
    return ma_parse_size(text, bytes)
               ? NULL
               : "expected bytes, with K, M or G if you like: 4096, 64K, 1.5M";
}

static bool parse_number(const char *text, uint64_t *number)
{
    size_t n = strlen(text);
    if (n == 0 || n > 18 || strspn(text, "0123456789") != n)
        return false;
    *number = strtoull(text, NULL, 10);
    return true;
}

static bool parse_moment(const char *text, struct ma_moment *moment)
{
    static const struct unit percent[] = {{"%", 1000000}, {NULL, 0}};
    uint64_t number;
    *moment = (struct ma_moment){.kind = MA_MOMENT_MARK, .mark = text};
    if (strncmp(text, "mark:", 5) == 0) {
        moment->mark += 5;
        return moment->mark[0] != '\0';
    }
    if (parse_quantity(text, percent, &number)) {
        moment->kind = MA_MOMENT_PERCENT;
        moment->percent = (double)number / 1e6;
        return number <= 100000000;
    }
    if (parse_duration(text, &moment->ns)) {
        moment->kind = MA_MOMENT_NS;
        return true;
    }
    /* Text that begins like a number is a wrong number, not a name. */
    const char *first = text + (*text == '-' || *text == '+');
    return *text && !isdigit((unsigned char)*first) && *first != '.';
}

_Static_assert(MA_FILTER_MANY == 32, "the sentence");
static const char too_many[] = "expected 32 of this option at most";

static const char *add_pattern(struct ma_patterns *patterns, const char *text)
{
    static char problem[192];
    struct ma_pattern *pattern = &patterns->all[patterns->n];
    if (patterns->n == MA_FILTER_MANY)
        return too_many;
    pattern->text = text;
    int result = text[0] ? regcomp(&pattern->regex, text, REG_EXTENDED | REG_NOSUB) : 0;
    if (!text[0])
        return "expected a regular expression (POSIX extended), such as '^parse_'";
    if (result) {
        char why[100];
        regerror(result, &pattern->regex, why, sizeof why);
        snprintf(problem, sizeof problem,
                 "expected a regular expression (POSIX extended), such as '^parse_': %s", why);
        return problem;
    }
    patterns->n++;
    return NULL;
}

const char *ma_filter_options_parse(struct ma_filter_options *spec, enum ma_filter_option option,
                                    const char *value)
{
    static const char moment[] = "expected a moment: seconds since the start (1.5, 200ms, 2m), "
                                 "percent of the duration (50%) or a mark (mark:NAME)";
    spec->active = true;
    switch (option) {
    case MA_FILTER_FROM: return parse_moment(value, &spec->from) ? NULL : moment;
    case MA_FILTER_TO: return parse_moment(value, &spec->to) ? NULL : moment;
    case MA_FILTER_PID:
        if (spec->n_pids == MA_FILTER_MANY)
            return too_many;
        return parse_number(value, &spec->pids[spec->n_pids++])
                   ? NULL
                   : "expected the number of a process, as \"processes\" of --json lists them";
    case MA_FILTER_TID:
        if (spec->n_threads == MA_FILTER_MANY)
            return too_many;
        spec->threads[spec->n_threads++] = value;
        return value[0] ? NULL : "expected the number of a thread or a name, such as 'worker*'";
    case MA_FILTER_MIN_SIZE: return ma_filter_options_bytes(value, &spec->min_size);
    case MA_FILTER_MAX_SIZE:
        spec->has_max_size = true;
        return ma_filter_options_bytes(value, &spec->max_size);
    case MA_FILTER_MIN_AGE:
        return parse_duration(value, &spec->min_age)
                   ? NULL
                   : "expected a duration: seconds, or with a unit (1.5, 200ms, 2m)";
    case MA_FILTER_FUNCTION: return add_pattern(&spec->function, value);
    case MA_FILTER_MODULE: return add_pattern(&spec->module, value);
    case MA_FILTER_EXCLUDE: return add_pattern(&spec->exclude, value);
    case MA_FILTER_OPTIONS: break;
    }
    return NULL;
}

const char *ma_filter_options_problem(const struct ma_filter_options *spec, const char *of)
{
    static char problem[160];
    const struct ma_moment *from = &spec->from, *to = &spec->to;
    if ((from->kind == MA_MOMENT_NS && to->kind == MA_MOMENT_NS && from->ns >= to->ns) ||
        (from->kind == MA_MOMENT_PERCENT && to->kind == MA_MOMENT_PERCENT &&
         from->percent >= to->percent)) {
        snprintf(problem, sizeof problem,
                 "--%sfrom and --%sto: expected a window that begins before it ends, as in "
                 "--%sfrom 1.5 --%sto 3",
                 of, of, of, of);
        return problem;
    }
    if (spec->has_max_size && spec->min_size > spec->max_size)
        return "--min-size and --max-size: expected the smaller size first, as in "
               "--min-size 1K --max-size 1M";
    return NULL;
}

static bool is_number(const char *text)
{
    return text[0] && strspn(text, "0123456789") == strlen(text);
}

bool ma_filter_options_looks_ahead(const struct ma_filter_options *spec)
{
    bool ahead = spec->from.kind > MA_MOMENT_NS || spec->to.kind > MA_MOMENT_NS || spec->min_age;
    for (size_t i = 0; i < spec->n_threads; i++)
        ahead |= !is_number(spec->threads[i]); /* a thread's last name is known at its end */
    return ahead;
}

bool ma_filter_options_thread(const struct ma_filter_options *spec, uint64_t tid, const char *name)
{
    for (size_t i = 0; i < spec->n_threads; i++) {
        const char *wanted = spec->threads[i];
        if (is_number(wanted) ? strtoull(wanted, NULL, 10) == tid
                              : name && fnmatch(wanted, name, 0) == 0)
            return true;
    }
    return spec->n_threads == 0;
}

bool ma_patterns_match(const struct ma_patterns *patterns, const char *text)
{
    for (size_t i = 0; text && i < patterns->n; i++) {
        if (regexec(&patterns->all[i].regex, text, 0, NULL, 0) == 0)
            return true;
    }
    return false;
}

static void free_patterns(struct ma_patterns *patterns)
{
    while (patterns->n)
        regfree(&patterns->all[--patterns->n].regex);
}

void ma_filter_options_free(struct ma_filter_options *spec)
{
    free_patterns(&spec->function);
    free_patterns(&spec->module);
    free_patterns(&spec->exclude);
}
