/* SPDX-License-Identifier: MIT
 *
 * Leak or cache; see ma_trend.h. docs/leak-score.md tells the rules in words and
 * how often they are right.
 */
#include "ma_trend.h"

#include <math.h>
#include <string.h>

#include "ma_history.h"

#define YOUNG_PART 16      /* the last instants: a 16th of the run */
#define YOUNG_SHARE 0.1    /* of the level was there before: it is not young */
#define FEWEST_RISES 3     /* of one that grows */
#define MANY_RISES 8       /* from here on their sizes tell, before their distances */
#define WAVES 0.35         /* of their height: growth below them is seen */
#define LEAST_GROWN 1024.0 /* bytes: less is no leak, whatever its run */
#define MUCH_GROWN 16384.0 /* bytes: from here on neither run nor share matter */
#define LONG_RUN 1.0       /* seconds */
#define LEAST_SHARE 0.01   /* of the peak, unless it rises steadily: */
#define STEADY 0.75        /* of the intervals in which it rises */
#define SLOWED 0.4         /* of the rate before: it does not grow any more */

/* Share of the measure at a part (0 to 1) of the stack's life. */
static double at_part(const double *kept, unsigned from, unsigned to, double part)
{
    double at = from + (to - from) * part;
    unsigned low = (unsigned)at;
    return low >= to ? kept[to] : kept[low] + (at - low) * (kept[low + 1] - kept[low]);
}

/* Least squares; bytes per interval. */
static double slope_of(const double *y, unsigned n)
{
    double middle = (n - 1) / 2.0, sum = 0, squares = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += (i - middle) * y[i];
        squares += (i - middle) * (i - middle);
    }
    return squares > 0 ? sum / squares : 0;
}

/* The probability that a series rises, by the test of Mann and Kendall, with its
 * correction for equal values. */
static double rising(const double *y, unsigned n)
{
    double s = 0, variance = n * (n - 1.0) * (2.0 * n + 5);
    for (unsigned i = 0; i < n; i++) {
        unsigned equal = 0, earlier = 0;
        for (unsigned k = 0; k < n; k++) {
            equal += y[k] == y[i];
            earlier += k < i && y[k] == y[i];
            if (k > i)
                s += (y[k] > y[i]) - (y[k] < y[i]);
        }
        if (!earlier)
            variance -= equal * (equal - 1.0) * (2.0 * equal + 5);
    }
    if (variance <= 0)
        return 0.5;
    return 0.5 * erfc(-(s - (s > 0) + (s < 0)) / sqrt(variance / 18) / sqrt(2));
}

static struct ma_trend answer(struct ma_trend trend, enum ma_trend_kind kind, enum ma_trend_why why,
                              double confidence)
{
    trend.kind = kind;
    trend.why = why;
    trend.confidence = confidence < 0 ? 0 : confidence > 0.99 ? 0.99 : confidence;
    return trend;
}

/* The rises in a part of the history. */
struct rises {
    unsigned n, last, widest; /* their number; the last one; the widest gap between two */
};

static struct rises find_rises(const double *kept, unsigned from, unsigned to)
{
    struct rises rises = {0, from, 0};
    for (unsigned i = from + 1; i <= to; i++) {
        if (kept[i] <= kept[i - 1])
            continue;
        if (rises.n && i - rises.last > rises.widest)
            rises.widest = i - rises.last;
        rises.n++;
        rises.last = i;
    }
    return rises;
}

/* True if both the lowest and the highest values of the last quarter lie above
 * those of the second by a good part of what either spans: growth that waves hide. */
static bool rises_in_waves(const double *y, unsigned n)
{
    double low[2], high[2];
    for (unsigned part = 0; part < 2; part++) {
        const unsigned from = n * (2 * part + 1) / 4, to = n * (2 * part + 2) / 4;
        low[part] = high[part] = y[from];
        for (unsigned i = from; i < to; i++) {
            low[part] = y[i] < low[part] ? y[i] : low[part];
            high[part] = y[i] > high[part] ? y[i] : high[part];
        }
    }
    const double span = (high[0] - low[0] + high[1] - low[1]) / 2;
    return low[1] - low[0] > WAVES * span && high[1] - high[0] > WAVES * span;
}

/* Growth that healthy programs show, too: a name interned, a table extended. */
static bool is_tiny(const struct ma_trend_input *in, const struct ma_trend *trend)
{
    if (trend->grown < LEAST_GROWN || trend->grown >= MUCH_GROWN)
        return trend->grown < LEAST_GROWN;
    return in->life < LONG_RUN ||
           (trend->grown < LEAST_SHARE * in->peak && trend->rises < STEADY * trend->intervals);
}

struct ma_trend ma_trend_judge(const struct ma_trend_input *in)
{
    struct ma_trend trend = {0};
    double floors[MA_SLOTS], kept[MA_SLOTS];
    if (in->n == 0 || in->n > MA_SLOTS)
        return answer(trend, MA_TREND_UNCLEAR, MA_WHY_UNKNOWN, 0);
    if (in->life < MA_TREND_SHORTEST || in->n < MA_SLOTS / 4)
        return answer(trend, MA_TREND_UNCLEAR, MA_WHY_SHORT, 0);
    /* The last interval is not whole, and its floor too high: part of the one before. */
    const unsigned n = in->n - 1;
    memcpy(floors, in->floors, n * sizeof *floors);
    floors[n - 1] = in->floors[n] < floors[n - 1] ? in->floors[n] : floors[n - 1];

    double least = in->level;
    for (unsigned i = n; i-- > 0; kept[i] = least)
        least = floors[i] < least ? floors[i] : least;
    const unsigned end = n - 1;
    unsigned from = 0;
    while (from < end && kept[from + 1] <= 0)
        from++;
    const struct rises rises = find_rises(kept, from, end);
    const unsigned since = end - rises.last, life = end - from;
    trend.rises = rises.n;
    trend.intervals = life;
    trend.grown = kept[end] - kept[from];
    trend.settled = rises.last * in->width;

    if (in->last <= n / 4 && kept[end] > 0)
        return answer(trend, MA_TREND_STARTUP, MA_WHY_PLAIN,
                      0.5 + 0.5 * (double)(end - in->last) / end);
    unsigned instants = n / YOUNG_PART;
    if (kept[end - instants] <= YOUNG_SHARE * in->level)
        return answer(trend, MA_TREND_YOUNG, MA_WHY_PLAIN, 0);

    const unsigned middle = from + life / 2;
    double noise = 0, before = 0;
    for (unsigned i = middle; i <= end; i++)
        noise += (floors[i] - kept[i]) / (end - middle + 1);
    for (unsigned i = 0; i <= middle; i++)
        before = floors[i] > before ? floors[i] : before;
    double second = at_part(kept, from, end, 0.5) - at_part(kept, from, end, 0.25);
    double third = at_part(kept, from, end, 0.75) - at_part(kept, from, end, 0.5);
    double fourth = kept[end] - at_part(kept, from, end, 0.75);
    trend.slope = slope_of(floors + middle, end - middle + 1) / in->width;
    trend.last_quarter = in->level > 0 ? fourth / in->level : 0;

    bool recent = since <= 3 || since <= 2 * rises.widest;
    if (kept[end - 2] - before <= 2 * noise && /* not of one interval alone */
        !rises_in_waves(floors, n))
        return rises.n && since <= 3 && kept[end] < before
                   ? answer(trend, MA_TREND_PLATEAU, MA_WHY_BEFORE, 0.8)
                   : answer(trend, MA_TREND_PLATEAU, MA_WHY_PLAIN,
                            0.5 + 0.5 * (double)since / (life ? life : 1));
    if (rises.n >= MANY_RISES && fourth < SLOWED * (second + third) / 2)
        return since > 3
                   ? answer(trend, MA_TREND_PLATEAU, MA_WHY_PLAIN, 0.5 + 0.5 * (double)since / life)
                   : answer(trend, MA_TREND_PLATEAU, MA_WHY_SLOWED,
                            1 - fourth / ((second + third) / 2));
    if (recent && rises.n >= FEWEST_RISES) {
        if (is_tiny(in, &trend))
            return answer(trend, MA_TREND_UNCLEAR, MA_WHY_TINY, 0);
        double sure = rising(floors + middle, end - middle + 1);
        return answer(trend, MA_TREND_GROWING, MA_WHY_PLAIN,
                      sure * (1 - pow(0.5, rises.n)) * (since > life / 4 ? 0.7 : 1));
    }
    if (since >= n / 4)
        return answer(trend, MA_TREND_PLATEAU, MA_WHY_PLAIN, 0.5 + 0.5 * (double)since / life);
    return answer(trend, MA_TREND_UNCLEAR, MA_WHY_RARE, 0);
}

const char *ma_trend_name(enum ma_trend_kind kind)
{
    static const char *const names[MA_TRENDS] = {
        [MA_TREND_GROWING] = "growing", [MA_TREND_UNCLEAR] = "unclear", [MA_TREND_YOUNG] = "young",
        [MA_TREND_PLATEAU] = "plateau", [MA_TREND_STARTUP] = "startup",
    };
    return names[kind];
}
