/* SPDX-License-Identifier: MIT
 *
 * The flame graph: merging, order, escapes, units, what is left out of the
 * picture, and that the picture is well-formed XML with nothing to fetch (by
 * xmllint, where it is installed).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ma_flame.h"
#include "tap.h"

typedef void count_function(struct ma_flame *flame, uint32_t node, uint64_t value);

static int add_stack(struct ma_flame *flame, const char *const *names, size_t n, uint64_t value,
                     count_function *count)
{
    uint32_t node = 0, name;
    for (size_t i = 0; i < n; i++) {
        if (ma_flame_name(flame, names[i], &name) != 0 ||
            ma_flame_node(flame, node, name, &node) != 0)
            return -ENOMEM;
    }
    count(flame, node, value);
    return 0;
}

static int add(struct ma_flame *flame, uint64_t value, const char *a, const char *b, const char *c)
{
    const char *names[] = {a, b, c};
    return add_stack(flame, names, c ? 3 : b ? 2 : 1, value, ma_flame_count);
}

/* The folded graph, as a string to free. */
static char *folded(struct ma_flame *flame)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (ma_flame_write_folded(flame, out) != 0)
        abort();
    fclose(out);
    return text;
}

static char *svg(struct ma_flame *flame, const struct ma_flame_look *look)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (ma_flame_write_svg(flame, look, out) != 0)
        abort();
    fclose(out);
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    while ((text = strstr(text, what))) {
        text += strlen(what);
        n++;
    }
    return n;
}

static bool is_well_formed(const char *text)
{
    FILE *lint = popen("xmllint --noout - 2>&1", "w");
    if (!lint)
        return false;
    fputs(text, lint);
    return pclose(lint) == 0;
}

static void test_merge(void)
{
    struct ma_flame *flame = ma_flame_begin("Leaks", MA_FLAME_BYTES), *other;
    add(flame, 123, "main", "parse", "malloc_row");
    add(flame, 7, "main", "parse", NULL);
    add(flame, 456, "main", "load", "malloc_row");
    add(flame, 1, "main", "parse", "malloc_row");
    add(flame, 0, "main", "nothing", NULL);
    CHECK(ma_flame_total(flame) == 587, "the total is the sum of what was added");
    char *text = folded(flame);
    CHECK(!strcmp(text, "main;load;malloc_row 456\nmain;parse 7\nmain;parse;malloc_row 124\n"),
          "equal stacks are one line, in order, with their own value");
    other = ma_flame_begin(NULL, MA_FLAME_BYTES);
    add(other, 7, "main", "parse", NULL);
    add(other, 456, "main", "load", "malloc_row");
    add(other, 124, "main", "parse", "malloc_row");
    char *again = folded(other);
    CHECK(!strcmp(text, again), "the order of additions does not show");
    free(text);
    free(again);
    ma_flame_free(flame);
    ma_flame_free(other);
}

static void test_escapes(void)
{
    struct ma_flame *flame = ma_flame_begin("<b>\x01 & \"\xff\"", MA_FLAME_BYTES);
    add(flame, 10, "a;b\nc\td", "\xc3\xa9 \xff\xc0\x80 \xed\xa0\x80", "x<y> & \"z\" '\x7f'");
    add(flame, 1, "evil \xe2\x80\xae name", "]]><script>", "\xf0\x9f\x94\xa5");
    const char *none[] = {NULL, "", "cut \xe2\x82"};
    add_stack(flame, none, 3, 5, ma_flame_count);
    char *text = folded(flame);
    CHECK(strstr(text, "a:b c d;\xc3\xa9 \xef\xbf\xbd") && count(text, "\n") == 3,
          "separators and control characters do not reach a folded name");
    CHECK(strstr(text, "??;??;cut \xef\xbf\xbd"), "unknown and cut names are told as such");
    CHECK(!strstr(text, "\xe2\x80\xae") && !strchr(text, (char)0xff),
          "neither direction marks nor invalid bytes get through");
    free(text);
    text = svg(flame, &(struct ma_flame_look){.subtitle = "a<b \x02"});
    CHECK(strstr(text, "x&lt;y&gt; &amp; &quot;z&quot; &#39; &#39;"), "names are escaped in XML");
    CHECK(count(text, "<script>") == 1 && count(text, "]]>") == 1 && count(text, "]]&gt;") >= 1,
          "a name cannot open or close the script");
    if (system("command -v xmllint >/dev/null 2>&1") == 0)
        CHECK(is_well_formed(text), "the picture is well-formed");
    else
        CHECK(true, "the picture is well-formed # SKIP no xmllint");
    free(text);
    ma_flame_free(flame);
}

static int add_old(struct ma_flame *flame, uint64_t value, const char *a, const char *b)
{
    const char *names[] = {a, b};
    return add_stack(flame, names, 2, value, ma_flame_count_old);
}

static void test_differential(void)
{
    struct ma_flame *flame = ma_flame_begin("Leaks", MA_FLAME_BYTES);
    const struct ma_flame_look look = {.differential = true};
    char *text = svg(flame, &look);
    CHECK(strstr(text, "nothing to show"), "an empty comparison says so");
    free(text);
    add(flame, 300, "main", "grows", NULL);
    add(flame, 100, "main", "shrinks", NULL);
    add(flame, 55, "main", "stays", NULL);
    add_old(flame, 100, "main", "grows");
    add_old(flame, 110, "main", "shrinks");
    add_old(flame, 55, "main", "stays");
    add_old(flame, 77, "main", "gone");
    CHECK(ma_flame_total(flame) == 455 && ma_flame_total_old(flame) == 342,
          "the tables have their own totals");
    size_t size;
    FILE *out = open_memstream(&text, &size);
    CHECK(ma_flame_write_folded_diff(flame, out) == 0 && fclose(out) == 0, "folded in pairs");
    CHECK(!strcmp(text, "main;gone 77 0\nmain;grows 100 300\nmain;shrinks 110 100\n"
                        "main;stays 55 55\n"),
          "old and new value, also of what is gone");
    free(text);
    text = folded(flame);
    CHECK(!strstr(text, "gone"), "the new table alone does not know what is gone");
    free(text);
    text = svg(flame, &look);
    CHECK(strstr(text, "<g class=\"grew7\"") && strstr(text, "<g class=\"shrank0\"") &&
              strstr(text, "<g class=\"same\""),
          "growth, shrinking and neither have their colours, by their share of the change");
    CHECK(strstr(text, "grows\n300 bytes, 65.93 %, before 100 bytes (+200 bytes)") &&
              strstr(text, "shrinks\n100 bytes, 21.98 %, before 110 bytes (-10 bytes)"),
          "both values are told");
    CHECK(strstr(text, "gone since: 1 frame<") && !strstr(text, "<title>gone"),
          "what is gone is counted and not drawn");
    free(text);
    ma_flame_free(flame);
}

static void test_svg(void)
{
    struct ma_flame *flame = ma_flame_begin("Leaks", MA_FLAME_BYTES);
    char *text = svg(flame, NULL);
    CHECK(strstr(text, "nothing to show") && count(text, "<title>all") == 1,
          "an empty graph says so");
    free(text);
    add(flame, 3 << 20, "main", "shop::stock::put<std::map<int, int>, 7>", NULL);
    add(flame, 1 << 20, "main", "libz.so.1+0x123", NULL);
    add(flame, 8, "main", "thin", "thinner");
    text = svg(flame, NULL);
    CHECK(strstr(text,
                 "<title>shop::stock::put&lt;std::map&lt;int, int&gt;, 7&gt;\n3.00 MiB, 75.00 %"),
          "a tooltip has the whole name, the value and the share");
    CHECK(strstr(text, "not drawn: 2 frames narrower than 0.1 pixels"),
          "frames too thin to see are counted");
    CHECK(!strstr(text, "http://") || count(text, "http://") == count(text, "http://www.w3.org/"),
          "nothing is fetched");
    CHECK(strstr(text, "viewBox=\"0 0 1200 "), "it scales");
    free(text);
    ma_flame_free(flame);

    flame = ma_flame_begin("Calls", MA_FLAME_CALLS);
    add(flame, 1234567, "main", "a", NULL);
    add(flame, 1, "main", "b", NULL);
    text = svg(flame, &(struct ma_flame_look){.icicle = true});
    CHECK(strstr(text, "1,234,567 calls") && strstr(text, "data-icicle"), "units and icicles");
    free(text);
    ma_flame_free(flame);
}

/* The frames' lightness is in their class: k0 of others, k1 the program's own. */
static void test_own_frames_and_places(void)
{
    struct ma_flame *flame = ma_flame_begin("Leaks", MA_FLAME_BYTES);
    uint32_t name, file, other_file, own, library;
    ma_flame_name(flame, "src/<a>.c", &file);
    ma_flame_name(flame, "src/b.c", &other_file);
    ma_flame_name(flame, "parse", &name);
    ma_flame_node(flame, 0, name, &own);
    ma_flame_tell(flame, own, true, file, 12);
    ma_flame_name(flame, "g_hash_insert", &name);
    ma_flame_node(flame, own, name, &library);
    ma_flame_tell(flame, library, false, other_file, 34);
    ma_flame_tell(flame, library, false, other_file, 56);
    ma_flame_count(flame, library, 123 * 8);
    char *text = svg(flame, NULL);
    CHECK(count(text, "<g class=\"k1") == 2, "the program's own frame is of the dark kind");
    CHECK(strstr(text, "<title>parse\nsrc/&lt;a&gt;.c:12\n984 bytes"), "a tooltip has the place");
    CHECK(strstr(text, "<title>g_hash_insert\nsrc/b.c:34 and others\n"), "and tells of others");
    CHECK(strstr(text, "role=\"tree\" aria-label=") && strstr(text, "tabindex=\"0\""),
          "it can be used without a mouse");
    free(text);
    ma_flame_free(flame);
}

static void test_bound(void)
{
    struct ma_flame *flame = ma_flame_begin("Leaks", MA_FLAME_BYTES);
    uint32_t name, node, deeper;
    ma_flame_bound(flame, 3);
    add(flame, 100, "malloc", "first", NULL);
    ma_flame_name(flame, "malloc", &name);
    CHECK(ma_flame_node(flame, 0, name, &node) == 0, "a frame that is there is found");
    ma_flame_name(flame, "second", &name);
    CHECK(ma_flame_node(flame, node, name, &deeper) == 1, "one more is not told apart");
    ma_flame_count(flame, deeper, 20);
    ma_flame_name(flame, "third", &name);
    CHECK(ma_flame_node(flame, node, name, &deeper) == 1, "nor the next");
    ma_flame_count(flame, deeper, 3);
    char *text = folded(flame);
    CHECK(!strcmp(text, "malloc;(more frames) 23\nmalloc;first 100\n"), "they are united");
    free(text);
    text = svg(flame, &(struct ma_flame_look){.note = "2 stacks are united"});
    CHECK(strstr(text, ">2 stacks are united<"), "and the picture says so");
    free(text);
    ma_flame_free(flame);
}

static void test_large(void)
{
    enum { DEEP = 5000, MANY = 50000 };
    static const char *names[DEEP];
    struct ma_flame *flame = ma_flame_begin("Deep", MA_FLAME_BLOCKS);
    for (int i = 0; i < DEEP; i++)
        names[i] = i % 2 ? "odd" : "even";
    int error = add_stack(flame, names, DEEP, 1000, ma_flame_count);
    for (int i = 0; i < MANY; i++) {
        char leaf[32];
        snprintf(leaf, sizeof(leaf), "leaf_%d", i);
        error |= add(flame, 1, "wide", leaf, NULL);
    }
    CHECK(!error, "deep and wide graphs are taken");
    char *text = folded(flame);
    CHECK(count(text, "\n") == MANY + 1, "every stack is written");
    free(text);
    text = svg(flame, NULL);
    CHECK(strstr(text, "frames deeper than"), "frames beyond the picture's height are counted");
    free(text);
    ma_flame_free(flame);

    flame = ma_flame_begin("Sum", MA_FLAME_BYTES);
    add(flame, UINT64_MAX - 5, "a", NULL, NULL);
    add(flame, 100, "a", NULL, NULL);
    CHECK(ma_flame_total(flame) == UINT64_MAX, "sums stop at the largest number");
    text = svg(flame, NULL);
    CHECK(strstr(text, "16.0 EiB"), "and can be shown");
    free(text);
    ma_flame_free(flame);
}

static void test_errors(void)
{
    struct ma_flame *flame = ma_flame_begin("Full", MA_FLAME_BYTES);
    add(flame, 1, "a", "b", NULL);
    FILE *full = fopen("/dev/full", "w");
    CHECK(full && ma_flame_write_svg(flame, NULL, full) == -ENOSPC, "a full disk is an error");
    fclose(full);
    full = fopen("/dev/full", "w");
    CHECK(full && ma_flame_write_folded(flame, full) == -ENOSPC, "for folded stacks too");
    fclose(full);
    ma_flame_free(flame);
    ma_flame_free(NULL);
}

int main(void)
{
    test_merge();
    test_escapes();
    test_differential();
    test_svg();
    test_own_frames_and_places();
    test_bound();
    test_large();
    test_errors();
    return TAP_DONE();
}
