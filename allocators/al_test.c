/* SPDX-License-Identifier: MIT
 *
 * mlog-allocator-test LIBRARY [CASE]...: does a preloaded allocator keep what the C
 * library promises? Executes itself with the library preloaded, runs each case
 * (al_test_cases.c) in a process of its own, and prints TAP: a line a case, with the
 * reason where one fails. Ends with 0 if all pass, 1 if one does not, 2 if there is no
 * such library or case.
 */
#include "al_test.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 60 /* for one case: against hanging */
#define INNER "MLOG_ALLOCATOR_TEST"

static char problem[300];

const char *al_problem(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    return problem;
}

/* True if malloc is that of the library. */
static bool is_replaced(const char *library)
{
    char real[PATH_MAX];
    Dl_info info;
    return dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) && realpath(info.dli_fname, real) &&
           strcmp(real, library) == 0;
}

/* In a child: the reason, if there is one, goes to the pipe. */
static void be_case(const struct al_case *one, int out)
{
    alarm(SECONDS);
    const char *why = one->run();
    size_t size = why ? strlen(why) : 0;
    _exit(why && write(out, why, size) == (ssize_t)size ? 1 : !!why);
}

static bool run_case(const struct al_case *one, unsigned number)
{
    int ends[2], status = 0;
    char why[300] = "";
    fflush(stdout);
    if (pipe(ends) != 0) {
        perror("mlog-allocator-test: pipe");
        exit(2);
    }
    const pid_t child = fork();
    if (child == 0)
        be_case(one, ends[1]);
    close(ends[1]);
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("mlog-allocator-test: fork");
        exit(2);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
        ssize_t size = read(ends[0], why, sizeof why - 1);
        why[size > 0 ? size : 0] = 0;
    } else if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, WTERMSIG(status) == SIGALRM ? "hangs" : "killed by signal %d",
                 WTERMSIG(status));
    } else if (status) {
        snprintf(why, sizeof why, "ended with status %d", WEXITSTATUS(status));
    }
    close(ends[0]);
    printf("%sok %u - %s\n", status ? "not " : "", number, one->name);
    if (status)
        printf("# %s: %s\n", one->name, why);
    return status == 0;
}

static const struct al_case *find_case(const char *name)
{
    for (size_t i = 0; i < al_case_count; i++)
        if (strcmp(al_cases[i].name, name) == 0)
            return &al_cases[i];
    return NULL;
}

static int run_cases(const char *library, char **names)
{
    unsigned run = 0, failed = 0;
    if (!is_replaced(library)) {
        printf("not ok 1 - replaces-malloc\n# replaces-malloc: malloc is not that of %s: is it "
               "built with libmlog-allocator?\n1..1\n",
               library);
        return 1;
    }
    for (size_t i = 0; *names ? names[i] != NULL : i < al_case_count; i++)
        failed += !run_case(*names ? find_case(names[i]) : &al_cases[i], ++run);
    printf("1..%u\n", run);
    if (failed)
        printf("# %u of %u cases failed\n", failed, run);
    return failed > 0;
}

static int help(FILE *out, int status)
{
    fprintf(out, "Usage: mlog-allocator-test LIBRARY [CASE]...\n"
                 "Test an allocator that is preloaded, case by case (TAP). Cases:\n");
    for (size_t i = 0; i < al_case_count; i++)
        fprintf(out, "  %s\n", al_cases[i].name);
    return status;
}

int main(int argc, char **argv)
{
    char library[PATH_MAX], self[PATH_MAX];
    if (argc < 2)
        return help(stderr, 2);
    if (strcmp(argv[1], "--help") == 0)
        return help(stdout, 0);
    if (!realpath(argv[1], library)) {
        fprintf(stderr, "mlog-allocator-test: %s: %s\n", argv[1], strerror(errno));
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (!find_case(argv[i])) {
            fprintf(stderr, "mlog-allocator-test: there is no case %s; --help lists them\n",
                    argv[i]);
            return 2;
        }
    }
    if (getenv(INNER))
        return run_cases(library, argv + 2);
    setenv(INNER, "1", 1);
    setenv("LD_PRELOAD", library, 1);
    const ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = 0;
    execv(self, argv);
    perror("mlog-allocator-test: exec");
    return 2;
}
