/* SPDX-License-Identifier: MIT
 *
 * Leak or cache; see ma_trend.h. docs/leak-score.md tells the rules in words and
 * how often they are right.
 */
#include "ma_trend.h"

#include <math.h>
#include <string.h>

#define YOUNG_PART 16      /* the last instants: a 16th of the run */
#define YOUNG_SHARE 0.1    /* of the level was there before: it is not young */
#define YOUNG_BLOCKS 16    /* more of them, and others before that were freed: they turn over */
#define FEWEST_RISES 3     /* of one that grows */
#define MANY_RISES 8       /* from here on their sizes tell, before their distances */
#define WAVES 0.35         /* of their height: growth below them is seen */
#define LEAST_GROWN 1024.0 /* bytes: less is no leak, whatever its run */
#define MUCH_GROWN 16384.0 /* bytes: from here on neither run nor share matter */
#define LONG_RUN 1.0       /* seconds */
#define LEAST_SHARE 0.01   /* of the peak, unless it rises steadily: */
#define STEADY 0.75        /* of the intervals in which it rises */
#define SLOWED 0.4         /* of the rate before: it does not grow any more, by the wall's clock */
#define SLOWED_WORK 0.6    /* the same by the work, where a leak's rate is even */
#define SURE 2.0           /* standard deviations, of numbers of blocks */
#define LEAST_WORK 256.0   /* allocations elsewhere that make a clock, and */
#define LEAST_BESIDE 0.25  /* of those of the stack */
#define DRAINED 0.9        /* of what it held before the pause: some was given back in it */
#define EARLY_SHARE 0.1    /* of a leak's bytes are from the first quarter of its life */
#define PILED 0.1          /* of its level, in a quarter: growth that shows under any waves */
#define FREED 0.1          /* of what was ever allocated: the stack turns over */
#define WORK_SHARE 0.25    /* of the work lies in the stack's life: its clock is fine enough */
#define IDLE 0.2           /* of the usual rate of work */
#define LONGEST_PAUSE 0.45 /* of the run */
#define EVEN 0.3           /* quarters of a steady growth differ by less, of their mean */
#define FASTER 1.25        /* times the rate before: it grows ever faster by the wall's clock */
#define OLD_SHARE 0.05     /* of a leak's bytes are from the first half of its life */
#define TURNS 8.0          /* blocks; fewer do not turn over */
#define LONGER 1.25        /* times: blocks live that much longer than before, so they pile up */
#define CHANCE 0.05        /* of its bytes: more or less by chance */
#define PART_SURE 0.7      /* confidence where another meaning is possible */
#define SILENT 0.05        /* of the work was done since: that nothing changed tells little */

/* The part of a history that is judged. */
struct view {
    double floors[MA_SLOTS], kept[MA_SLOTS];
    unsigned from, end;           /* its first interval with something kept; the last one */
    unsigned rises, last, widest; /* number of rises; the last one; the widest gap between two */
};

static struct ma_trend answer(struct ma_trend trend, enum ma_trend_kind kind, enum ma_trend_why why,
                              double confidence)
{
    trend.kind = kind;
    trend.why = why;
    trend.confidence = confidence < 0 ? 0 : confidence > 0.99 ? 0.99 : confidence;
    return trend;
}

static double least_of(double a, double b)
{
    return a < b ? a : b;
}

/* The measure at a part (0 to 1) of the stack's life. */
static double at_part(const struct view *view, double part)
{
    double at = view->from + (view->end - view->from) * part;
    unsigned low = (unsigned)at;
    const double *kept = view->kept;
    return low >= view->end ? kept[view->end]
                            : kept[low] + (at - low) * (kept[low + 1] - kept[low]);
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

/* Look at the intervals up to `end` alone. */
static void cut_view(struct view *view, unsigned end)
{
    view->end = end;
    view->from = 0;
    while (view->from < end && view->kept[view->from + 1] <= 0)
        view->from++;
    view->rises = view->widest = 0;
    view->last = view->from;
    for (unsigned i = view->from + 1; i <= end; i++) {
        if (view->kept[i] <= view->kept[i - 1])
            continue;
        if (view->rises && i - view->last > view->widest)
            view->widest = i - view->last;
        view->rises++;
        view->last = i;
    }
}

static void make_view(struct view *view, const struct ma_trend_input *in)
{
    /* The last interval is not whole, and its floor too high: part of the one before. */
    const unsigned n = in->n - 1;
    memcpy(view->floors, in->floors, n * sizeof *view->floors);
    view->floors[n - 1] = least_of(in->floors[n], view->floors[n - 1]);
    double least = in->level;
    for (unsigned i = n; i-- > 0; view->kept[i] = least)
        least = least_of(view->floors[i], least);
    cut_view(view, n - 1);
}

/* Of the growth in three quarters of a life: that of the last, for the mean of the two before. */
struct quarters {
    double before, last;
};

/* True if it grew less in the last quarter than `share` of before, and not by chance. */
static bool has_slowed(const struct ma_trend_input *in, struct quarters grown, double share)
{
    const double block = in->blocks > 0 ? in->level / in->blocks : 1;
    const double before = grown.before / block, last = grown.last / block;
    return grown.last < share * grown.before &&
           (in->blocks < TURNS || before - last > SURE * sqrt(before / 2 + last));
}

static struct quarters quarters_by_time(const struct view *view)
{
    const double last = at_part(view, 0.75);
    return (struct quarters){.before = (last - at_part(view, 0.25)) / 2,
                             .last = view->kept[view->end] - last};
}

/* The work of the process up to the end of an interval: its allocations, but for the share
 * of the stack's own that stayed. So what the stack itself took and gave back is work, too. */
static double work_at(const struct ma_trend_input *in, unsigned i)
{
    const double made = in->made[in->n - 1];
    return in->work[i] - (made > 0 ? in->made[i] * least_of(1, in->blocks / made) : 0);
}

/* The same by the work. False if there is too little of it to be a clock. */
static bool quarters_by_work(const struct ma_trend_input *in, const struct view *view,
                             struct quarters *grown)
{
    const double from = work_at(in, view->from), to = work_at(in, view->end);
    if (to - from < LEAST_WORK || to - from < WORK_SHARE * work_at(in, in->n - 1))
        return false;
    double at[3];
    for (unsigned part = 0, i = view->from; part < 3; part++) {
        const double wanted = from + (to - from) * (part + 1) / 4;
        while (i < view->end && work_at(in, i + 1) < wanted)
            i++;
        const double step = i < view->end ? work_at(in, i + 1) - work_at(in, i) : 0;
        const double rest = step > 0 ? (wanted - work_at(in, i)) / step : 0;
        at[part] = view->kept[i] + (i < view->end ? rest * (view->kept[i + 1] - view->kept[i]) : 0);
    }
    *grown =
        (struct quarters){.before = (at[2] - at[0]) / 2, .last = view->kept[view->end] - at[2]};
    return true;
}

/* True if the last three quarters of its life added the same each. */
static bool is_even(const struct view *view)
{
    double at[4], mean;
    for (unsigned i = 0; i < 4; i++)
        at[i] = at_part(view, 0.25 * (i + 1));
    mean = (at[3] - at[0]) / 3;
    for (unsigned i = 0; i < 3; i++) {
        if (fabs(at[i + 1] - at[i] - mean) > EVEN * mean)
            return false;
    }
    return true;
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

/* Blocks that were there at the end and were allocated in a part of the view, in intervals. */
static double born(const float *births, double from, double to)
{
    double sum = 0;
    for (unsigned i = 0; i < MA_BIRTHS; i++) {
        const double begin = i << MA_BIRTH_SHIFT, end = (i + 1) << MA_BIRTH_SHIFT;
        const double inside = least_of(end, to) - (begin > from ? begin : from);
        sum += inside > 0 ? (double)births[i] * inside / (end - begin) : 0;
    }
    return sum;
}

/* True if what it grew by in each of the two middle quarters is there yet, whatever came
 * and went beside it; not if all of a wave before is gone. */
static bool has_piled_up(const struct ma_trend_input *in, const struct view *view)
{
    const double life = view->end - view->from;
    if (in->made[view->from] > PILED * in->made[view->end])
        return false;
    for (unsigned part = 1; part < 3; part++) {
        const double from = 0.25 * part, to = from + 0.25;
        const double grown = at_part(view, to) - at_part(view, from);
        if (grown < PILED * view->kept[view->end] ||
            born(in->births->bytes, view->from + from * life, view->from + to * life) < grown / 2)
            return false;
    }
    return true;
}

/* Confidence by the number of allocations: what happened a few times may have been chance. */
static double by_number(const struct ma_trend_input *in, const struct view *view)
{
    const double made = in->made[view->end] - in->made[view->from];
    return made > 4 ? 1 - 2 / sqrt(made) : 0;
}

/* By the form of the view alone. */
static struct ma_trend judge_form(const struct ma_trend_input *in, const struct view *view,
                                  struct ma_trend trend)
{
    const double *floors = view->floors, *kept = view->kept;
    const unsigned end = view->end, life = end - view->from, since = end - view->last;
    const unsigned middle = view->from + life / 2, n = end + 1;
    const bool silent = in->work[end] - in->work[view->last] < SILENT * in->work[end];
    const double settled =
        least_of(0.5 + 0.5 * (double)since / (life ? life : 1), silent ? PART_SURE : 1);
    double noise = 0, before = 0;
    for (unsigned i = middle; i <= end; i++)
        noise += (floors[i] - kept[i]) / (end - middle + 1);
    for (unsigned i = 0; i <= middle; i++)
        before = floors[i] > before ? floors[i] : before;
    struct quarters grown = quarters_by_time(view), by_work;
    trend.rises = view->rises;
    trend.intervals = life;
    trend.grown = kept[end] - kept[view->from];
    trend.settled = view->last * in->width;
    trend.slope = slope_of(floors + middle, end - middle + 1) / in->width;
    trend.last_quarter = in->level > 0 ? grown.last / in->level : 0;

    const bool recent = since <= 3 || since <= 2 * view->widest;
    if ((end < 2 || kept[end - 2] - before <= 2 * noise) && /* not of one interval alone */
        !rises_in_waves(floors, n) && !has_piled_up(in, view))
        return view->rises && since <= 3 && kept[end] < before
                   ? answer(trend, MA_TREND_PLATEAU, MA_WHY_BEFORE, 0.8)
                   : answer(trend, MA_TREND_PLATEAU, MA_WHY_PLAIN, settled);
    if (view->rises >= MANY_RISES && has_slowed(in, grown, SLOWED) &&
        !(recent && quarters_by_work(in, view, &by_work) && !has_slowed(in, by_work, SLOWED_WORK)))
        return since > 3
                   ? answer(trend, MA_TREND_PLATEAU, MA_WHY_PLAIN, settled)
                   : answer(trend, MA_TREND_PLATEAU, MA_WHY_SLOWED, 1 - grown.last / grown.before);
    if (recent && view->rises >= FEWEST_RISES) {
        const double sure = rising(floors + middle, end - middle + 1) * by_number(in, view);
        return answer(trend, MA_TREND_GROWING, MA_WHY_PLAIN,
                      sure * (1 - pow(0.5, view->rises)) * (since > life / 4 ? 0.7 : 1));
    }
    if (since >= n / 4)
        return answer(trend, MA_TREND_PLATEAU, MA_WHY_PLAIN, settled);
    return answer(trend, MA_TREND_UNCLEAR, MA_WHY_RARE, 0);
}

/* The last interval before the process had nothing more to do. */
static unsigned find_pause(const struct ma_trend_input *in, unsigned end)
{
    double usual = 0;
    const double all = work_at(in, end);
    if (all < LEAST_WORK || all < LEAST_BESIDE * in->made[end] || in->life < LONG_RUN)
        return end;
    for (unsigned i = 0; i <= end; i++)
        usual += sqrt(work_at(in, i) - (i ? work_at(in, i - 1) : 0)) / (end + 1);
    unsigned at = end;
    while (at > 0 && work_at(in, at) - work_at(in, at - 1) < IDLE * usual * usual)
        at--;
    return end - at <= LONGEST_PAUSE * (end + 1) ? at : end;
}

/* Where a pause gave back what comes and goes, only the age of what is left tells if it
 * piled up before: take that for the measure. */
static void look_at_ages(const struct ma_trend_input *in, struct view *view)
{
    unsigned first = 0;
    while (first < view->end && in->made[first] <= 0)
        first++;
    if (in->level >= DRAINED * view->floors[view->end - 1] ||
        born(in->births->bytes, 0, first + (view->end - first) / 4.0) < EARLY_SHARE * in->level)
        return;
    for (unsigned i = 0; i <= view->end; i++)
        view->floors[i] = view->kept[i] = born(in->births->bytes, 0, i + 1);
}

/* One that does not grow by the whole run may have grown until its threads ended, or until
 * there was no more work. Without work beside, a thread that fills a table looks the same. */
static struct ma_trend judge_cut(const struct ma_trend_input *in, struct view *view,
                                 struct ma_trend whole)
{
    const unsigned end = view->end, pause = find_pause(in, end);
    const bool ended = in->ended < end;
    const unsigned until = ended && in->ended < pause ? in->ended : pause;
    if (until == end || until < 4)
        return whole;
    struct view part = *view;
    part.end = until;
    look_at_ages(in, &part);
    cut_view(&part, until);
    struct ma_trend trend = judge_form(in, &part, (struct ma_trend){0});
    if (trend.kind != MA_TREND_GROWING)
        return whole;
    const bool by_thread = ended && until == in->ended;
    if (by_thread && in->thread_work < in->made[until] && in->ended < end / 2) {
        whole.confidence = least_of(whole.confidence, PART_SURE);
        return whole;
    }
    *view = part;
    return answer(trend, MA_TREND_GROWING, by_thread ? MA_WHY_ENDED : MA_WHY_PAUSED,
                  least_of(trend.confidence, PART_SURE));
}

/* Growth that healthy programs show, too: a name interned, a table extended. */
static bool is_tiny(const struct ma_trend_input *in, const struct ma_trend *trend)
{
    if (trend->grown < LEAST_GROWN || trend->grown >= MUCH_GROWN)
        return trend->grown < LEAST_GROWN;
    return in->life < LONG_RUN ||
           (trend->grown < LEAST_SHARE * in->peak && trend->rises < STEADY * trend->intervals);
}

/* A few objects that are made once each, when first asked for, are no leak; a few blocks
 * that grow by realloc may be one. */
static bool is_few(const struct ma_trend_input *in, const struct view *view, double grown)
{
    if (in->made[in->n - 1] >= 4 * in->blocks)
        return false;
    const double blocks = born(in->births->blocks, view->from + 1, in->n);
    return blocks < 8 || (blocks < 12 && grown < 1 << 20) || (blocks < 24 && grown < 1 << 16);
}

/* Mean bytes and the rate of allocation, in a part of the view. */
struct flow {
    double bytes, rate;
};

static struct flow flow_in(const struct ma_trend_input *in, const struct view *view, unsigned first,
                           unsigned last)
{
    struct flow flow = {0, 0};
    for (unsigned i = first + 1; i <= last; i++)
        flow.bytes += view->floors[i] / (last - first);
    if (last > first)
        flow.rate = (in->made[last] - in->made[first]) / (last - first);
    return flow;
}

/* True if what is there is young, and there is more of it than before because more is
 * allocated, not because blocks live longer. */
static bool turns_over(const struct ma_trend_input *in, const struct view *view)
{
    const double made = in->made[in->n - 1], half = (view->from + view->end) / 2.0;
    if (in->blocks < TURNS || made - in->blocks < FREED * made ||
        born(in->births->bytes, 0, half) >= OLD_SHARE * in->level)
        return false;
    unsigned end = find_pause(in, view->end);
    end -= end > 0 && end < view->end; /* part of it was idle */
    const unsigned quarter = end > view->from ? (end - view->from) / 4 : 0;
    const struct flow before = flow_in(in, view, end - 2 * quarter, end - quarter);
    const struct flow last = flow_in(in, view, end - quarter, end);
    if (before.bytes <= 0 || before.rate <= 0)
        return false;
    const double bytes = last.bytes / before.bytes, rate = last.rate / before.rate;
    return bytes < LONGER * rate && bytes - 1 < CHANCE + (rate > 1 ? 2 * (rate - 1) : 0);
}

/* What speaks against growth that the form shows. */
static struct ma_trend object(const struct ma_trend_input *in, const struct view *view,
                              struct ma_trend trend)
{
    const struct quarters by_time = quarters_by_time(view);
    struct quarters by_work;
    if (is_tiny(in, &trend))
        return answer(trend, MA_TREND_UNCLEAR, MA_WHY_TINY, 0);
    if (is_few(in, view, trend.grown))
        return answer(trend, MA_TREND_UNCLEAR, MA_WHY_FEW, 0);
    if (turns_over(in, view))
        return answer(trend, MA_TREND_PLATEAU, MA_WHY_TURNS, PART_SURE);
    if (trend.rises < MANY_RISES || is_even(view) || by_time.last > FASTER * by_time.before ||
        !quarters_by_work(in, view, &by_work) || !has_slowed(in, by_work, SLOWED_WORK))
        return trend;
    trend.last_quarter = in->level > 0 ? by_work.last / in->level : 0;
    return answer(trend, MA_TREND_PLATEAU, MA_WHY_SLOWED_WORK,
                  least_of(PART_SURE, 1 - by_work.last / by_work.before));
}

struct ma_trend ma_trend_judge(const struct ma_trend_input *in)
{
    struct ma_trend trend = {0};
    struct view view;
    if (in->n == 0 || in->n > MA_SLOTS)
        return answer(trend, MA_TREND_UNCLEAR, MA_WHY_UNKNOWN, 0);
    if (in->life < MA_TREND_SHORTEST || in->n < MA_SLOTS / 4)
        return answer(trend, MA_TREND_UNCLEAR, MA_WHY_SHORT, 0);
    make_view(&view, in);
    const unsigned n = in->n - 1, end = view.end, before = end - n / YOUNG_PART;
    if (in->last <= n / 4 && view.kept[end] > 0)
        return answer(trend, MA_TREND_STARTUP, MA_WHY_PLAIN,
                      least_of(0.5 + 0.5 * (double)(end - in->last) / end,
                               in->ended < end ? PART_SURE : 1)); /* or its leak, until then */
    if (view.kept[before] <= YOUNG_SHARE * in->level)
        return in->blocks >= YOUNG_BLOCKS && in->made[before] >= 2 * in->blocks
                   ? answer(trend, MA_TREND_PLATEAU, MA_WHY_TURNS, PART_SURE)
                   : answer(trend, MA_TREND_YOUNG, MA_WHY_PLAIN, 0);
    trend = judge_form(in, &view, trend);
    if (trend.kind != MA_TREND_GROWING)
        trend = judge_cut(in, &view, trend);
    return trend.kind == MA_TREND_GROWING ? object(in, &view, trend) : trend;
}

const char *ma_trend_name(enum ma_trend_kind kind)
{
    static const char *const names[MA_TRENDS] = {
        [MA_TREND_GROWING] = "growing", [MA_TREND_UNCLEAR] = "unclear", [MA_TREND_YOUNG] = "young",
        [MA_TREND_PLATEAU] = "plateau", [MA_TREND_STARTUP] = "startup",
    };
    return names[kind];
}
