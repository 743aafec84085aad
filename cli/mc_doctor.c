/* SPDX-License-Identifier: MIT
 *
 * `mlog doctor`: the findings on a program, a process, or this place alone.
 */
#include "mc_doctor.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mc_commands.h"
#include "mc_options.h"

static const struct mc_option options[] = {{0}};

void mc_find(struct mc_findings *findings, enum mc_level level, const char *format, ...)
{
    static const char *const words[] = {"ok  ", "warn", "FAIL"};
    va_list arguments;
    if (level > findings->worst)
        findings->worst = level;
    if (level < findings->least)
        return;
    findings->shown++;
    fprintf(findings->out, "%s%s", findings->prefix ? findings->prefix : words[level],
            findings->prefix ? " " : "  ");
    va_start(arguments, format);
    vfprintf(findings->out, format, arguments);
    va_end(arguments);
    fputc('\n', findings->out);
}

/* The number of a process, or 0: a file of that name is a program. */
static pid_t as_process(const char *text)
{
    struct stat st;
    char *end;
    long number = strtol(text, &end, 10);
    return number > 0 && number <= INT_MAX && !*end && text[0] != '+' && stat(text, &st) < 0
               ? (pid_t)number
               : 0;
}

static int doctor(int argc, char **argv)
{
    struct mc_findings findings = {.out = stdout};
    char path[PATH_MAX];
    int option = mc_option_next(&mc_verb_doctor, argc, argv);
    if (option == -3)
        return mc_flush();
    if (option < -1)
        return 2;
    if (argc - optind > 1)
        return mc_wrong(&mc_verb_doctor, "expected one program or process");
    const char *subject = argv[optind];
    if (!subject) {
        mc_doctor_place(&findings);
    } else if (as_process(subject)) {
        mc_doctor_process(&findings, as_process(subject));
    } else {
        mc_doctor_program(&findings, subject);
        if (mc_find_program(subject, path))
            mc_doctor_debug(&findings, path);
        mc_doctor_place(&findings);
    }
    if (findings.worst == MC_FAIL)
        puts("\nNo: this cannot be traced as it is.");
    else if (subject && !as_process(subject))
        printf("\nYes: mlog run %s\n", subject);
    return mc_flush() ? 1 : findings.worst == MC_FAIL;
}

const struct mc_verb mc_verb_doctor = {
    .name = "doctor",
    .summary = "can it be traced, and if not, why and what to do",
    .usage = "[PROG | PID]",
    .text =
        "Tell what would stand in the way of a trace, one line each: ok, warn or FAIL, with what\n"
        "to do. PROG is a program, PID a running process; without either, this machine, folder\n"
        "and shell are looked at. Nothing is run and nothing changed.",
    .after = "Exit status: 0, or 1 if there is a FAIL.",
    .options = options,
    .operand = MC_COMPLETE_PROCESS,
    .run = doctor,
};
