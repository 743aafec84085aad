/* SPDX-License-Identifier: MIT
 *
 * A flame graph as one SVG document. The frames are drawn here for a width of
 * 1200, so that a viewer without scripts shows them too; ma_flame.js lays them
 * out anew for the window it finds. Each frame's place is kept as a fraction of
 * the whole (data-x, data-w), its words in its <title>: a line each
 * for name, place (if known) and value.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ma_flame_assets.h"
#include "ma_flame_tree.h"

enum {
    WIDTH = 1200, /* pixels, as all below */
    PAD = 10,
    HEADER = 74,
    FOOTER = 26,
    ROW = 17,
    MAX_ROWS = 1800, /* browsers draw pictures up to some 32,000 high */
    SHADES = 6,
};

/* Of a differential graph: from no change to all changed, in each direction. */
enum { STEPS = 8 };

static const double least = 0.1;   /* narrower frames are left out */
static const double letter = 6.93; /* width of one */

/* Two kinds of frames, told apart by lightness alone, so that eyes that see no hues
 * and printers without colours tell them apart as well. The shades of a kind, which tell
 * neighbours apart, lie far from those of the other. */
enum kind { KIND_OTHER, KIND_OWN, KINDS };

static const struct {
    const char *says;
    double hue, saturation, lightness, lightness_step;
} kinds[KINDS] = {
    [KIND_OTHER] = {"libraries, allocation", 40, 0.38, 0.905, 0.007},
    [KIND_OWN] = {"the program's own", 34, 0.62, 0.56, 0.012},
};

static unsigned shade_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return (hash ^ hash >> 15) % SHADES;
}

static unsigned channel(double hue, double saturation, double lightness, double offset)
{
    /* HSL to RGB as in CSS Color Module Level 4, section 7.1. */
    double k = offset + hue / 30,
           spread = saturation * (lightness < 0.5 ? lightness : 1 - lightness);
    while (k >= 12)
        k -= 12;
    double ramp = k - 3 < 9 - k ? k - 3 : 9 - k;
    ramp = ramp > 1 ? 1 : ramp < -1 ? -1 : ramp;
    return (unsigned)(255 * (lightness - spread * ramp) + 0.5);
}

static void write_colours(FILE *out)
{
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned shade = 0; shade < SHADES; shade++) {
            double hue = kinds[kind].hue;
            double light =
                kinds[kind].lightness + (shade * 5 % SHADES) * kinds[kind].lightness_step;
            fprintf(out, ".k%us%u rect{fill:#%02x%02x%02x}\n", kind, shade,
                    channel(hue, kinds[kind].saturation, light, 0),
                    channel(hue, kinds[kind].saturation, light, 8),
                    channel(hue, kinds[kind].saturation, light, 4));
        }
}

static void write_diff_colours(FILE *out)
{
    fputs(".same rect{fill:#e8e4dc}\n", out);
    for (unsigned step = 0; step < STEPS; step++) {
        double light = 0.90 - 0.05 * step;
        fprintf(out, ".grew%u rect{fill:#%02x%02x%02x}\n.shrank%u rect{fill:#%02x%02x%02x}\n", step,
                channel(4, 0.85, light, 0), channel(4, 0.85, light, 8), channel(4, 0.85, light, 4),
                step, channel(216, 0.75, light, 0), channel(216, 0.75, light, 8),
                channel(216, 0.75, light, 4));
    }
}

static void write_escaped(const char *text, size_t n, FILE *out)
{
    for (; n-- > 0; text++) {
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        case '\'': fputs("&#39;", out); break;
        default: putc(*text, out);
        }
    }
}

static void write_text(const char *text, FILE *out)
{
    write_escaped(text, strlen(text), out);
}

/* Prints with commas between thousands. */
static void print_grouped(char *to, size_t room, uint64_t value)
{
    char digits[24];
    size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, value), at = 0;
    for (size_t i = 0; i < n && at + 2 < room; i++) {
        if (i && (n - i) % 3 == 0)
            to[at++] = ',';
        to[at++] = digits[i];
    }
    to[at] = 0;
}

static void print_value(char *to, size_t room, const struct ma_flame *flame, uint64_t value)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    static const char *const counted[] = {
        [MA_FLAME_BYTES] = "byte", [MA_FLAME_BLOCKS] = "block", [MA_FLAME_CALLS] = "call"};
    if (flame->unit == MA_FLAME_BYTES && value >= 1024) {
        double scaled = (double)value;
        unsigned unit = 0;
        for (; scaled >= 1023.95 && unit < 6; unit++)
            scaled /= 1024;
        snprintf(to, room, "%.*f %s", scaled < 10 ? 2 : 1, scaled, units[unit]);
    } else {
        char digits[32];
        print_grouped(digits, sizeof(digits), value);
        snprintf(to, room, "%s %s%s", digits, counted[flame->unit], value == 1 ? "" : "s");
    }
}

/* "a::b<c<d>, e>::f<g>" as "a::b<…>::f<…>" into `to`; as it is if the brackets are uneven. */
static void fold(const char *name, char *to)
{
    char *at = to;
    unsigned depth = 0;
    for (const char *c = name; *c; c++) {
        bool operator=(c - name >= 8 && !strncmp(c - 8, "operator", 8)) ||
            (c - name >= 9 && !strncmp(c - 9, "operator<", 9));
        if (*c == '<' && !depth && (c == name || operator)) {
            *at++ = *c;
        } else if (*c == '<') {
            if (!depth++)
                at = stpcpy(at, "<\xe2\x80\xa6");
        } else if (*c == '>' && depth && c[-1] != '-') {
            if (!--depth)
                *at++ = '>';
        } else if (!depth) {
            *at++ = *c;
        }
    }
    *at = 0;
    if (depth)
        strcpy(to, name);
}

static size_t count_letters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The name as it fits into `pixels`; nothing where fewer than three letters do. */
static void write_label(const char *name, char *scratch, double x, double y, double pixels,
                        FILE *out)
{
    if (pixels < 6 + 3 * letter)
        return;
    size_t room = (size_t)((pixels - 6) / letter);
    if (count_letters(name) > room && strchr(name, '<')) {
        fold(name, scratch);
        name = scratch;
    }
    size_t n = strlen(name);
    bool cut = count_letters(name) > room;
    if (cut) {
        size_t letters = 0;
        for (n = 0; name[n]; n++)
            if (((unsigned char)name[n] & 0xc0) != 0x80 && ++letters == room)
                break;
    }
    fprintf(out, "<text x=\"%.2f\" y=\"%.0f\">", x + 3, y + ROW - 5);
    write_escaped(name, n, out);
    fputs(cut ? "\xe2\x80\xa6</text>" : "</text>", out);
}

struct picture {
    const struct ma_flame *flame;
    uint32_t *order;
    size_t n;
    double *left;      /* by node: where its next child starts, in the flame's unit */
    char *scratch;     /* for the longest name */
    unsigned rows;     /* that are drawn, the root's included */
    size_t thin, deep; /* frames left out */
    bool icicle, differential;
    uint64_t widest_change; /* of a frame against the old table */
    size_t gone;            /* frames that only the old table has */
    unsigned height;
    const char *note; /* ASCII, ours */
};

static double share(const struct picture *picture, double value)
{
    double total = (double)picture->flame->nodes[0].total;
    return total > 0 ? value / total : 1;
}

static bool is_drawn(struct picture *picture, const struct ma_flame_node *node)
{
    return share(picture, (double)node->total) * (WIDTH - 2 * PAD) >= least &&
           node->depth < MAX_ROWS;
}

static uint64_t change_of(const struct ma_flame_node *node)
{
    return node->total > node->old_total ? node->total - node->old_total
                                         : node->old_total - node->total;
}

/* Colour by the change's share of the largest one. */
static void write_change_class(const struct picture *picture, const struct ma_flame_node *node,
                               FILE *out)
{
    uint64_t change = change_of(node);
    if (!change) {
        fputs("<g class=\"same\"", out);
        return;
    }
    double part = (double)change / (double)picture->widest_change;
    unsigned step = (unsigned)(part * STEPS);
    fprintf(out, "<g class=\"%s%u\"", node->total > node->old_total ? "grew" : "shrank",
            step < STEPS ? step : STEPS - 1);
}

/* ", before 3.2 KiB (+1.1 KiB)" */
static void write_change(const struct picture *picture, const struct ma_flame_node *node, FILE *out)
{
    char before[64], change[64];
    print_value(before, sizeof(before), picture->flame, node->old_total);
    print_value(change, sizeof(change), picture->flame, change_of(node));
    fprintf(out, ", before %s (%s%s)", before,
            node->total > node->old_total   ? "+"
            : node->total < node->old_total ? "-"
                                            : "",
            change);
}

/* A line of its own, if the place is known. */
static void write_place(const struct ma_flame *flame, const struct ma_flame_node *node, FILE *out)
{
    if (node->file == MA_FLAME_NO_FILE)
        return;
    putc('\n', out);
    write_text(flame->names[node->file], out);
    if (node->line)
        fprintf(out, ":%u", node->line);
    if (node->several)
        fputs(" and others", out);
}

static void write_frame(struct picture *picture, uint32_t number, const char *name, double start,
                        FILE *out)
{
    const struct ma_flame_node *node = &picture->flame->nodes[number];
    double x = share(picture, start), w = share(picture, (double)node->total);
    double px = PAD + x * (WIDTH - 2 * PAD), pw = w * (WIDTH - 2 * PAD);
    unsigned row = picture->icicle ? node->depth : picture->rows - 1 - node->depth;
    double y = HEADER + (double)row * ROW;
    char value[64];
    print_value(value, sizeof(value), picture->flame, node->total);
    if (picture->differential)
        write_change_class(picture, node, out);
    else if (number)
        fprintf(out, "<g class=\"k%us%u\"", node->own ? KIND_OWN : KIND_OTHER, shade_of(name));
    else
        fputs("<g class=\"k0s0\"", out);
    fprintf(out, " data-x=\"%.10g\" data-w=\"%.10g\" data-d=\"%u\"><title>", x, w, node->depth);
    write_text(name, out);
    write_place(picture->flame, node, out);
    fprintf(out, "\n%s, %.2f %%", value, 100 * w);
    if (picture->differential)
        write_change(picture, node, out);
    fprintf(out, "</title><rect x=\"%.2f\" y=\"%.0f\" width=\"%.2f\" height=\"%d\"/>", px, y,
            pw > 3 ? pw - 0.6 : pw, ROW - 1);
    write_label(name, picture->scratch, px, y, pw, out);
    fputs("</g>\n", out);
}

static void write_frames(struct picture *picture, FILE *out)
{
    const struct ma_flame_node *nodes = picture->flame->nodes;
    fputs(
        "<g id=\"frames\" role=\"tree\" aria-label=\"Frames of the stacks. Arrow keys move, Enter "
        "zooms, Escape goes back, slash searches.\">\n",
        out);
    write_frame(picture, 0, "all", 0, out);
    for (size_t i = 0; i < picture->n; i++) {
        uint32_t number = picture->order[i];
        const struct ma_flame_node *node = &nodes[number];
        /* Depth first: the parent's place is known, and its earlier children are past. */
        double start = picture->left[node->parent];
        picture->left[number] = start;
        picture->left[node->parent] += (double)node->total;
        if (is_drawn(picture, node))
            write_frame(picture, number, picture->flame->names[node->name], start, out);
    }
    fputs("</g>\n", out);
}

static void write_button(const char *id, const char *says, int width, bool off, FILE *out)
{
    fprintf(out,
            "<g id=\"%s\" class=\"button%s\" role=\"button\" tabindex=\"0\" "
            "aria-label=\"%s\"><rect width=\"%d\" height=\"22\"/>"
            "<text class=\"plain\" x=\"%d\" y=\"15\">%s</text></g>\n",
            id, off ? " off" : "", says, width, width / 2, says);
}

static void write_bar(const struct picture *picture, const char *subtitle, FILE *out)
{
    char value[64];
    print_value(value, sizeof(value), picture->flame, picture->flame->nodes[0].total);
    fprintf(out,
            "<g id=\"bar\"><rect class=\"paper\" width=\"%d\" height=\"%d\" fill=\"#fffdf8\"/>\n"
            "<text class=\"title\" x=\"%d\" y=\"24\">",
            WIDTH, HEADER - 6, PAD);
    write_text(picture->flame->title, out);
    fprintf(out, "</text>\n<text class=\"plain faint\" x=\"%d\" y=\"43\">", PAD);
    write_text(subtitle, out);
    fprintf(out, "</text>\n<text id=\"details\" aria-live=\"polite\" x=\"%d\" y=\"62\">%s%s%s", PAD,
            picture->n ? "" : "nothing to show: ", value, picture->n ? " in all" : "");
    if (picture->differential)
        write_change(picture, &picture->flame->nodes[0], out);
    fputs("</text>\n", out);
    fprintf(out,
            "<text id=\"matched\" aria-live=\"polite\" class=\"right\" x=\"%d\" y=\"62\"></text>\n",
            WIDTH - PAD);
    write_button("find", "Search", 70, false, out);
    write_button("clear", "Clear search", 96, true, out);
    write_button("reset", "Reset zoom", 90, true, out);
    fputs("</g>\n", out);
}

/* A colour and what it means; returns where the next one goes. */
static double write_key(const char *class, const char *says, double x, double y, FILE *out)
{
    fprintf(out,
            "<g class=\"%s\"><rect x=\"%.0f\" y=\"%.0f\" width=\"10\" height=\"10\"/>"
            "<text class=\"plain faint\" x=\"%.0f\" y=\"%.0f\">%s</text></g>\n",
            class, x, y - 9, x + 14, y, says);
    return x + 14 + 7 * (double)strlen(says) + 18;
}

static void write_footer(const struct picture *picture, FILE *out)
{
    double y = picture->height - 8, x = PAD;
    if (picture->differential) {
        x = write_key("grew6", "grew", x, y, out);
        x = write_key("shrank6", "shrank", x, y, out);
        x = write_key("same", "as before", x, y, out);
    }
    for (unsigned kind = 0; kind < KINDS && !picture->differential; kind++) {
        char class[16];
        snprintf(class, sizeof(class), "k%us1", kind);
        x = write_key(class, kinds[kind].says, x, y, out);
    }
    if (picture->gone)
        fprintf(out,
                "<text class=\"plain faint right\" x=\"%d\" y=\"%.0f\">gone since: %zu frame%s"
                "</text>\n",
                WIDTH - PAD, y, picture->gone, picture->gone == 1 ? "" : "s");
    if (picture->note) {
        fprintf(out, "<text class=\"plain faint\" x=\"%.0f\" y=\"%.0f\">%s</text>\n", x + 10, y,
                picture->note);
        x += 10 + 7 * (double)strlen(picture->note);
    }
    if (picture->thin || picture->deep)
        fprintf(out, "<text class=\"plain faint\" x=\"%.0f\" y=\"%.0f\">not drawn: ", x + 10, y);
    if (picture->thin)
        fprintf(out, "%zu frames narrower than %.1f pixels%s", picture->thin, least,
                picture->deep ? ", " : "</text>\n");
    if (picture->deep)
        fprintf(out, "%zu frames deeper than %d</text>\n", picture->deep, MAX_ROWS);
}

static int prepare(struct picture *picture)
{
    const struct ma_flame *flame = picture->flame;
    size_t longest = 3;
    picture->order = ma_flame_order(flame, false, &picture->n);
    picture->left = calloc(flame->n_nodes, sizeof(*picture->left));
    for (size_t i = 0; i < flame->n_names; i++)
        if (strlen(flame->names[i]) > longest)
            longest = strlen(flame->names[i]);
    /* Folding may put three bytes in the place of one. */
    picture->scratch = malloc(4 * longest + 8);
    if (!picture->order || !picture->left || !picture->scratch)
        return -ENOMEM;
    picture->rows = 1;
    picture->widest_change = 1;
    for (size_t i = 0; i < flame->n_nodes && picture->differential; i++) {
        uint64_t change = change_of(&flame->nodes[i]);
        picture->gone += flame->nodes[i].old_total && !flame->nodes[i].total;
        if (change > picture->widest_change)
            picture->widest_change = change;
    }
    for (size_t i = 0; i < picture->n; i++) {
        const struct ma_flame_node *node = &flame->nodes[picture->order[i]];
        if (node->depth >= MAX_ROWS)
            picture->deep++;
        else if (!is_drawn(picture, node))
            picture->thin++;
        else if (node->depth + 1 > picture->rows)
            picture->rows = node->depth + 1;
    }
    picture->height = HEADER + picture->rows * ROW + FOOTER;
    return 0;
}

int ma_flame_write_svg(struct ma_flame *flame, const struct ma_flame_look *look, FILE *out)
{
    ma_flame_sum_up(flame);
    struct picture picture = {.flame = flame,
                              .icicle = look && look->icicle,
                              .differential = look && look->differential,
                              .note = look ? look->note : NULL};
    char *subtitle = ma_flame_clean(look && look->subtitle ? look->subtitle : "");
    errno = 0;
    int error = subtitle ? prepare(&picture) : -ENOMEM;
    if (error)
        goto out;
    fprintf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\" width=\"%d\" height=\"%u\""
        " data-row=\"%d\" data-pad=\"%d\" data-height=\"%u\"%s>\n<title>",
        WIDTH, picture.height, WIDTH, picture.height, ROW, PAD, picture.height,
        picture.icicle ? " data-icicle=\"\"" : "");
    write_text(flame->title, out);
    fputs("</title>\n<style>\n", out);
    fputs(ma_flame_css, out);
    if (picture.differential)
        write_diff_colours(out);
    else
        write_colours(out);
    fprintf(out, "</style>\n<rect class=\"paper\" width=\"%d\" height=\"%u\" fill=\"#fffdf8\"/>\n",
            WIDTH, picture.height);
    write_frames(&picture, out);
    write_footer(&picture, out);
    write_bar(&picture, subtitle, out);
    fprintf(out, "<script><![CDATA[\n%s]]></script>\n</svg>\n", ma_flame_js);
    if (fflush(out) != 0 || ferror(out))
        error = errno ? -errno : -EIO;
out:
    free(subtitle);
    free(picture.order);
    free(picture.left);
    free(picture.scratch);
    return error;
}
