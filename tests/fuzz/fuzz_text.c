/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the small languages of text. The first byte chooses which:
 *
 *     s  a file of suppressions    f  values of filters, one option a line
 *     g  conditions of --fail-on   j  a report in JSON as baseline
 *     p  a perf map                d  names to demangle
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "ma_demangle.h"
#include "ma_metrics.h"
#include "ma_gate.h"
#include "ma_suppress.h"

static const char *const names[] = {"main", "std::vector<int>::push_back(int&&)", "", "a.so", "xx"};

static void suppressions(const char *text)
{
    struct ma_suppressions all = {0};
    struct ma_error error = {0};
    ma_suppress_parse(&all, text, "fuzz", &error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ma_frame frame = {.function = names[i],
                                 .linkage = text,
                                 .file = "/a/b.c",
                                 .module = "/lib/a.so",
                                 .number = (uint32_t)i};
        struct ma_suppression *found;
        ma_suppress_find(&all, &frame, 1, &found);
    }
    ma_suppress_free(&all);
    char *whole[2];
    if (ma_suppress_names(text, whole) == 0) {
        free(whole[0]);
        free(whole[1]);
    }
}

/* A line is the number of an option, as a letter from "a", and its value. */
static void filters(char *text)
{
    struct ma_filter_options spec = {0};
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        unsigned option = (unsigned char)*line - 'a';
        /* What glibc's regcomp makes of patterns is not ours to search. */
        if (option < MA_FILTER_FUNCTION || (option < MA_FILTER_OPTIONS && strlen(line) < 12))
            ma_filter_options_parse(&spec, (enum ma_filter_option)option, line + 1);
    }
    ma_filter_options_problem(&spec, "");
    ma_filter_options_looks_ahead(&spec);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ma_filter_options_thread(&spec, i, names[i]);
        ma_patterns_match(&spec.function, names[i]);
    }
    ma_filter_options_free(&spec);
}

static void gates(char *text)
{
    struct ma_condition conditions[MA_CONDITIONS_MAX];
    size_t n = 0;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        n += n < MA_CONDITIONS_MAX && !ma_condition_parse(&conditions[n], line);
    ma_conditions_need_baseline(conditions, n);
}

static void baseline(const uint8_t *data, size_t size)
{
    struct ma_metrics metrics = {0};
    struct ma_error error = {0};
    const char *path;
    int fd = fuzz_file(data, size, &path);
    ma_metrics_in_report(path);
    ma_metrics_read(path, &metrics, &error);
    close(fd);
}

static char folder[] = "/tmp/mlog-fuzz-XXXXXX", map[sizeof folder + sizeof "/perf-1.map"];

static void remove_folder(void)
{
    unlink(map);
    rmdir(folder);
}

static void perf_map(const uint8_t *data, size_t size)
{
    if (!map[0]) {
        if (!mkdtemp(folder))
            abort();
        snprintf(map, sizeof map, "%s/perf-1.map", folder);
        atexit(remove_folder);
    }
    FILE *file = fopen(map, "w");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    const struct ma_symbol_options options = {.perf_map_dir = folder, .demangle = true};
    const struct ma_object object = {.process = 1, .pid = 1, .generated = true, .here = true};
    struct ma_symbols *symbols = ma_symbols_open(&options);
    const struct ma_symbol *out;
    for (uint64_t at = 0; symbols && at < 256; at++)
        ma_symbols_resolve(symbols, &object, at * 16, at % 2, &out);
    ma_symbols_close(symbols);
}

static void demangle(char *text)
{
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        free(ma_demangle(line, true));
        free(ma_demangle(line, false));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    char *text = malloc(size);
    if (!text)
        abort();
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (*data) {
    case 's': suppressions(text); break;
    case 'f': filters(text); break;
    case 'g': gates(text); break;
    case 'j': baseline(data + 1, size - 1); break;
    case 'p': perf_map(data + 1, size - 1); break;
    case 'd': demangle(text); break;
    default: break;
    }
    free(text);
    return 0;
}

#ifdef FUZZING
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    (void)seed;
    if (size < 2)
        return LLVMFuzzerMutate(data, size, max_size);
    return 1 + LLVMFuzzerMutate(data + 1, size - 1, max_size - 1);
}
#endif
