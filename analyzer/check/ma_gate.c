/* SPDX-License-Identifier: MIT
 *
 * Parsing and judging of conditions; see ma_gate.h.
 */
#include "ma_gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_audit.h"
#include "ma_text.h"

static const struct {
    const char *text;
    const char *allowed; /* the contrary, in words */
} relations[] = {
    [MA_GT] = {">", "at most"},    [MA_GE] = {">=", "less than"},    [MA_LT] = {"<", "at least"},
    [MA_LE] = {"<=", "more than"}, [MA_EQ] = {"==", "anything but"}, [MA_NE] = {"!=", "exactly"},
};

static const struct suffix {
    const char *text;
    enum ma_unit unit;
    long double factor;
} suffixes[] = {
    {"B", MA_BYTES, 1},
    {"K", MA_BYTES, 1024.0L},
    {"KiB", MA_BYTES, 1024.0L},
    {"M", MA_BYTES, 1048576.0L},
    {"MiB", MA_BYTES, 1048576.0L},
    {"G", MA_BYTES, 1073741824.0L},
    {"GiB", MA_BYTES, 1073741824.0L},
    {"T", MA_BYTES, 1099511627776.0L},
    {"TiB", MA_BYTES, 1099511627776.0L},
    {"K", MA_COUNT, 1e3L},
    {"M", MA_COUNT, 1e6L},
    {"G", MA_COUNT, 1e9L},
    {"ns", MA_NANOSECONDS, 1},
    {"us", MA_NANOSECONDS, 1e3L},
    {"ms", MA_NANOSECONDS, 1e6L},
    {"s", MA_NANOSECONDS, 1e9L},
    {"min", MA_NANOSECONDS, 60e9L},
    {"h", MA_NANOSECONDS, 3600e9L},
};

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static bool parse_relation(const char **at, enum ma_relation *relation)
{
    static const enum ma_relation longest_first[] = {MA_GE, MA_LE, MA_EQ, MA_NE, MA_GT, MA_LT};
    for (size_t i = 0; i < sizeof longest_first / sizeof *longest_first; i++) {
        const char *text = relations[longest_first[i]].text;
        if (strncmp(*at, text, strlen(text)) == 0) {
            *relation = longest_first[i];
            *at += strlen(text);
            return true;
        }
    }
    return false;
}

/* A decimal number without sign, exponent or locale. */
static bool parse_number(const char **at, long double *number)
{
    const char *start = *at;
    long double value = 0, place = 1;
    for (; **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + (**at - '0');
    if (**at == '.') {
        for (++*at; **at >= '0' && **at <= '9'; ++*at)
            value += (**at - '0') * (place /= 10);
    }
    *number = value;
    return *at > start && (*at)[-1] != '.' && value < 1e30L;
}

static bool parse_suffix(const char *text, struct ma_condition *condition)
{
    size_t length = strcspn(text, " \t");
    if (*skip_blanks(text + length))
        return false;
    if (length == 1 && *text == '%') {
        condition->percent = true;
        return true;
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (suffixes[i].unit == ma_metric_table[condition->metric].unit &&
            strlen(suffixes[i].text) == length && strncmp(suffixes[i].text, text, length) == 0) {
            condition->limit *= suffixes[i].factor;
            return true;
        }
    }
    return length == 0;
}

const char *ma_condition_parse(struct ma_condition *out, const char *text)
{
    static char why[512];
    struct ma_condition condition = {.text = text};
    const char *at = skip_blanks(text);
    size_t length = strcspn(at, " \t<>=!");
    condition.metric = ma_metric_find(at, length);
    if (condition.metric < 0) {
        snprintf(why, sizeof why,
                 "expected NAME, a relation and a number, as in 'leaked_bytes>0'; NAME "
                 "is one of %s",
                 ma_metric_names());
        return why;
    }
    at = skip_blanks(at + length);
    if (!*at && strcmp(ma_metric_table[condition.metric].name, "growth") == 0) {
        condition.relation = MA_GT; /* than nothing */
        *out = condition;
        return NULL;
    }
    if (!parse_relation(&at, &condition.relation)) {
        snprintf(why, sizeof why, "expected one of > >= < <= == != behind %s",
                 ma_metric_table[condition.metric].name);
        return why;
    }
    at = skip_blanks(at);
    bool minus = *at == '-';
    condition.growth = minus || *at == '+';
    at += condition.growth;
    if (!parse_number(&at, &condition.limit)) {
        snprintf(why, sizeof why,
                 "expected a number behind %s, as in 'leaked_bytes>0', "
                 "'peak_bytes>200M' or 'peak_bytes>+5%%'",
                 relations[condition.relation].text);
        return why;
    }
    if (!parse_suffix(skip_blanks(at), &condition)) {
        snprintf(why, sizeof why, "\"%s\" is no unit of %s: expected %s or %%", at,
                 ma_metric_table[condition.metric].name,
                 ma_metric_table[condition.metric].unit == MA_BYTES   ? "K, M, G, T (KiB, MiB …)"
                 : ma_metric_table[condition.metric].unit == MA_COUNT ? "K, M, G"
                                                                      : "ns, us, ms, s, min, h");
        return why;
    }
    if (minus)
        condition.limit = -condition.limit;
    *out = condition;
    return NULL;
}

bool ma_conditions_need_baseline(const struct ma_condition *conditions, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (conditions[i].growth || conditions[i].percent)
            return true;
    }
    return false;
}

static const char *human(char buffer[MA_HUMAN_SIZE], enum ma_unit unit, long double number)
{
    uint64_t value = number < 0 ? 0 : number >= 0x1p64L ? UINT64_MAX : (uint64_t)number;
    return unit == MA_BYTES         ? ma_human_bytes(buffer, value)
           : unit == MA_NANOSECONDS ? ma_human_time(buffer, value)
                                    : ma_human_count(buffer, value);
}

static bool holds(enum ma_relation relation, long double value, long double limit)
{
    switch (relation) {
    case MA_GT: return value > limit;
    case MA_GE: return value >= limit;
    case MA_LT: return value < limit;
    case MA_LE: return value <= limit;
    case MA_EQ: return value == limit;
    default: return value != limit;
    }
}

static void judge_condition(const struct ma_condition *condition, long double value,
                            long double old, struct ma_judgement *judged)
{
    const struct ma_metric *metric = &ma_metric_table[condition->metric];
    const char *allowed = relations[condition->relation].allowed;
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE], limit[MA_HUMAN_SIZE + 16], percent[48] = "";
    bool relative = condition->growth || condition->percent;
    /* Percents without a division: exact, also where the baseline is 0. */
    long double left = condition->growth ? value - old : value;
    long double right = condition->limit;
    if (condition->percent) {
        left *= 100;
        right *= old;
        snprintf(limit, sizeof limit, condition->growth ? "%+Lg %%" : "%Lg %%", condition->limit);
    } else {
        snprintf(
            limit, sizeof limit, "%s%s",
            !condition->growth     ? ""
            : condition->limit < 0 ? "-"
                                   : "+",
            human(a, metric->unit, condition->limit < 0 ? -condition->limit : condition->limit));
    }
    judged->failed = holds(condition->relation, left, right);
    const char *verb = judged->failed ? "allowed is" : "as allowed:";
    if (!relative) {
        snprintf(judged->sentence, sizeof judged->sentence, "%s is %s, %s %s %s", metric->name,
                 human(a, metric->unit, value), verb, allowed, limit);
        return;
    }
    if (old > 0)
        snprintf(percent, sizeof percent, " (%+.1Lf %%)", 100 * (value - old) / old);
    snprintf(judged->sentence, sizeof judged->sentence, "%s went from %s to %s%s, %s %s %s%s",
             metric->name, human(a, metric->unit, old), human(b, metric->unit, value), percent,
             verb, allowed, limit, condition->growth ? "" : " of the baseline");
}

int ma_gate_judge(struct ma_gate *gate, const struct ma_metrics *metrics,
                  const struct ma_metrics *baseline, struct ma_error *error)
{
    gate->n_failed = 0;
    for (size_t i = 0; i < gate->n; i++) {
        const struct ma_condition *condition = &gate->conditions[i];
        int metric = condition->metric;
        bool relative = condition->growth || condition->percent;
        if (relative && !(baseline && baseline->known[metric]))
            return ma_fail(error, -EINVAL, "--fail-on '%s': the baseline does not tell %s",
                           condition->text, ma_metric_table[metric].name);
        if (!metrics->known[metric] && ma_metric_table[metric].kind &&
            !*ma_metric_table[metric].kind)
            return ma_fail(error, -EINVAL,
                           "--fail-on '%s': the program asserts nothing that could be judged: "
                           "MLOG_SAVEPOINT and MLOG_ASSERT_NO_GROWTH of mlog.h do",
                           condition->text);
        judge_condition(condition, (long double)metrics->value[metric],
                        relative ? (long double)baseline->value[metric] : 0, &gate->judged[i]);
        gate->n_failed += gate->judged[i].failed;
    }
    return 0;
}

bool ma_gate_doubts(const struct ma_audit *audit, char *sentence, size_t size)
{
    if (ma_audit_is_damaged(audit, sentence, size))
        return true;
    if (!audit->lost_events)
        return false;
    snprintf(sentence, size, "%llu events were lost while it was recorded",
             (unsigned long long)audit->lost_events);
    return true;
}
