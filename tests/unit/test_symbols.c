/* SPDX-License-Identifier: MIT
 *
 * Symbols, against binutils' addr2line as the judge: programs are compiled
 * here, in a temporary directory, and every call instruction in them is looked
 * up by both. Then where objects and debug files are found, what is turned
 * down. Needs cc, c++ and binutils; tries rustc.
 */
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <libelf.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma_demangle.h"
#include "ma_symbols.h"
#include "tap.h"

static char home[PATH_MAX]; /* the temporary directory, without symbolic links */

static const char c_source[] =
    "#include <stdlib.h>\n"
    "static inline __attribute__((always_inline)) void *inner(size_t n) { return malloc(n); }\n"
    "static inline __attribute__((always_inline)) void *middle(size_t n) {\n"
    "  void *p = inner(n + 1);\n"
    "  if (!p) abort();\n"
    "  return p;\n"
    "}\n"
    "__attribute__((noinline)) void *outer(int n) { free(middle(n * 2)); return middle(n); }\n"
    "extern void *alias(int n) __attribute__((alias(\"outer\")));\n"
    "extern void *__alias(int n) __attribute__((alias(\"outer\")));\n"
    "static __attribute__((noinline)) int hidden(int n) { return outer(n) != 0; }\n"
    "int main(int c, char **v) { (void)v; return hidden(c) + hidden(c + 1) == 1; }\n";

static const char cxx_source[] =
    "#include <map>\n#include <memory>\n#include <string>\n#include <vector>\n"
    "namespace { template <class T> struct Box { T v; ~Box() { free(std::malloc(3)); } }; }\n"
    "namespace shop { template <class K, class V> V &put(std::map<K, V> &m, K k) { return m[k]; } "
    "}\n"
    "int main(int c, char **) {\n"
    "  std::map<std::string, std::vector<Box<int>>> m;\n"
    "  for (int i = 0; i < c; i++) shop::put(m, std::to_string(i)).emplace_back(Box<int>{i});\n"
    "  auto f = [&](int z) { return std::make_unique<std::string>(z, 'x'); };\n"
    "  return f(c)->size() + m.size() == 3;\n"
    "}\n";

static const char rust_source[] =
    "mod shop { pub fn go<T: Clone>(t: &[T]) -> Vec<T> { t.iter().cloned().collect() } }\n"
    "fn main() { println!(\"{}\", shop::go(&[String::from(\"a\")]).len()); }\n";

__attribute__((format(printf, 1, 2))) static bool run(const char *format, ...)
{
    char command[3 * PATH_MAX];
    int n = snprintf(command, sizeof(command), "cd '%s' && ( ", home);
    va_list arguments;
    va_start(arguments, format);
    n += vsnprintf(command + n, sizeof(command) - (size_t)n, format, arguments);
    va_end(arguments);
    snprintf(command + n, sizeof(command) - (size_t)n, " ) >/dev/null 2>&1");
    return system(command) == 0;
}

static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", home, name);
    FILE *out = fopen(path, "w");
    if (!out)
        abort();
    fputs(text, out);
    fclose(out);
}

/* An object in the temporary directory, as a trace would name it. */
struct fixture {
    char path[PATH_MAX + 64];
    unsigned char id[64];
    struct ma_object object;
};

static struct fixture *fixture(const char *name)
{
    static struct fixture pool[64];
    static unsigned used;
    struct fixture *it = &pool[used++ % 64];
    snprintf(it->path, sizeof(it->path), "%s/%s", home, name);
    it->object = (struct ma_object){.path = it->path};
    elf_version(EV_CURRENT);
    int fd = open(it->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
    const void *id;
    ssize_t size = elf ? dwelf_elf_gnu_build_id(elf, &id) : 0;
    if (size > 0 && (size_t)size <= sizeof(it->id)) {
        memcpy(it->id, id, (size_t)size);
        it->object.build_id = it->id;
        it->object.build_id_size = (size_t)size;
    }
    elf_end(elf);
    if (fd >= 0)
        close(fd);
    return it;
}

static struct ma_symbols *open_with(const char *sysroot, const char *debug_dir, bool full)
{
    const char *dirs[] = {debug_dir};
    struct ma_symbol_options options = {.sysroot = sysroot,
                                        .debug_dirs = dirs,
                                        .n_debug_dirs = debug_dir != NULL,
                                        .inlines = true,
                                        .demangle = true,
                                        .full_names = full};
    return ma_symbols_open(&options);
}

static struct ma_symbols *open_all(const char *sysroot, const char *debug_dir)
{
    return open_with(sysroot, debug_dir, true);
}

/* The address of a symbol by nm, 0 if there is none. */
static uint64_t address_of(const char *file, const char *symbol)
{
    char command[PATH_MAX + 128], line[64] = "";
    snprintf(command, sizeof(command), "nm '%s/%s' | awk '$3 == \"%s\" { print $1 }'", home, file,
             symbol);
    FILE *in = popen(command, "r");
    if (!in || !fgets(line, sizeof(line), in))
        line[0] = 0;
    if (in)
        pclose(in);
    return strtoull(line, NULL, 16);
}

/* "a//b", "a/./b" and "a/c/../b" as "a/b", and no "(discriminator 3)". */
static void normalise(char *path)
{
    char *at;
    if ((at = strstr(path, " (discriminator")))
        *at = 0;
    while ((at = strstr(path, "/./")))
        memmove(at, at + 2, strlen(at + 2) + 1);
    while ((at = strstr(path, "/../")) && at > path) {
        char *end = at + 3;
        while (at > path && at[-1] != '/')
            at--;
        memmove(at - 1, end, strlen(end) + 1);
    }
}

/*
 * The judge gives an inlined C++ function its name alone, or none, or the
 * name of the symbol around it; parameters and clones (".cold") may differ.
 */
static bool same_name(const char *theirs, const char *ours, const char *outermost)
{
    return !strcmp(theirs, "??") || strstr(ours, theirs) || !strncmp(theirs, ours, strlen(ours)) ||
           !strncmp(theirs, outermost, strlen(outermost));
}

struct comparison {
    size_t calls, depths, places, names, inlined;
};

/* Looks up each call instruction of a program, and compares. */
static struct comparison compare(const char *name, bool full)
{
    struct comparison sum = {0};
    char command[3 * PATH_MAX], line[16384];
    struct fixture *it = fixture(name);
    struct ma_symbols *symbols = open_with(NULL, NULL, full);
    snprintf(
        command, sizeof(command),
        "objdump -d --no-show-raw-insn '%s' | sed -n 's/^ *\\([0-9a-f]*\\):\\t\\(call\\|bl\\).*"
        "/0x\\1/p' | addr2line -a -i -f -C -e '%s'",
        it->path, it->path);
    FILE *in = popen(command, "r");
    const struct ma_symbol *told = NULL;
    size_t n = 0, at = 0;
    bool places = true, names = true, known = false;
    for (bool more = true; more;) {
        more = in && fgets(line, sizeof(line), in);
        line[strcspn(line, "\n")] = 0;
        if (!more || (!strncmp(line, "0x", 2) && !strpbrk(line, " :"))) {
            /* Code without a source line is the C runtime's own. */
            if (told && known) {
                sum.calls++;
                sum.depths += at == n;
                sum.places += at == n && places;
                sum.names += at == n && names;
                sum.inlined += n > 1;
            }
            if (more)
                n = ma_symbols_resolve(symbols, &it->object, strtoull(line, NULL, 16), true, &told);
            at = 0;
            places = names = true;
            known = false;
            continue;
        }
        char place[16384], ours[16384];
        if (!fgets(place, sizeof(place), in))
            break;
        place[strcspn(place, "\n")] = 0;
        normalise(place);
        known |= place[0] == '/' && !strstr(place, "/csu/");
        if (!full)
            ma_demangle_shorten(line);
        if (at < n) {
            snprintf(ours, sizeof(ours), "%s:%u", told[at].file ? told[at].file : "??",
                     told[at].line);
            normalise(ours);
            size_t colon = strcspn(place, "?");
            places &= !strcmp(ours, place) || place[colon] == '?';
            names &= told[at].function && told[n - 1].function &&
                     same_name(line, told[at].function, told[n - 1].function);
        }
        at++;
    }
    if (in)
        pclose(in);
    ma_symbols_close(symbols);
    return sum;
}

static void test_against_judge(const char *name, bool full, double agreement)
{
    struct comparison sum = compare(name, full);
    double wanted = agreement * (double)sum.calls;
    CHECK(sum.calls > 3 && sum.inlined > 0 && (double)sum.depths >= wanted &&
              (double)sum.places >= wanted && (double)sum.names >= wanted,
          "%s: of %zu calls, %zu in inlined code: %zu depths, %zu places and %zu names agree", name,
          sum.calls, sum.inlined, sum.depths, sum.places, sum.names);
}

/* Asks about a function's first byte. */
static const struct ma_symbol *ask(struct ma_symbols *symbols, const struct fixture *it,
                                   uint64_t address)
{
    const struct ma_symbol *told;
    size_t n = ma_symbols_resolve(symbols, &it->object, address, true, &told);
    return &told[n - 1];
}

static bool told_is(const struct ma_symbol *told, const char *function, bool line)
{
    return told->function && !strcmp(told->function, function) && (told->line > 0) == line;
}

static void test_answers(void)
{
    struct fixture *it = fixture("c");
    struct ma_symbols *symbols = open_all(NULL, NULL);
    uint64_t address = address_of("c", "hidden");
    const struct ma_symbol *one, *two;
    size_t n = ma_symbols_resolve(symbols, &it->object, address, true, &one);
    size_t m = ma_symbols_resolve(symbols, &it->object, address + 1, false, &two);
    CHECK(n == m && one == two, "a return address is looked up one byte before");
    CHECK(told_is(one, "hidden", true) && !one->inlined, "the last entry is not inlined");
    CHECK(ma_symbols_resolve(symbols, &it->object, 1, true, &one) == 1 && !one->function &&
              !one->file && !one->line,
          "an address outside all code is unknown");
    CHECK(ma_symbols_resolve(symbols, &it->object, 0, false, &one) == 1 && !one->function,
          "and so is one before the first");
    ma_symbols_close(symbols);

    struct ma_symbol_options plain = {0};
    symbols = ma_symbols_open(&plain);
    it = fixture("c++");
    n = ma_symbols_resolve(symbols, &it->object, address_of("c++", "main"), true, &one);
    CHECK(n == 1 && told_is(one, "main", true) && strstr(one->file, "fixture.cc"),
          "without inlined frames a function keeps its own file and line");
    ma_symbols_close(symbols);
    ma_symbols_close(NULL);
}

static void test_refusals(void)
{
    struct ma_symbols *symbols = open_all(NULL, NULL);
    struct fixture *it = fixture("c");
    uint64_t address = address_of("c", "outer");
    const struct ma_symbol *told;

    it->id[3] ^= 1;
    CHECK(ma_symbols_object_state(symbols, &it->object) == MA_OBJECT_MISMATCH,
          "another build is recognised");
    CHECK(ma_symbols_resolve(symbols, &it->object, address, true, &told) == 1 && !told->function,
          "and not used");
    CHECK(!strcmp(ma_symbols_object_file(symbols, &it->object), it->path), "its file is named");
    struct ma_object nameless = {.path = it->path};
    CHECK(ma_symbols_object_state(symbols, &nameless) == MA_OBJECT_MISMATCH,
          "a file with build-id does not serve a trace without");

    struct ma_object text = fixture("fixture.c")->object;
    CHECK(ma_symbols_object_state(symbols, &text) == MA_OBJECT_NOT_ELF, "a text is no ELF object");
    if (!run("mkfifo fifo && ln -s c link && head -c 200 c > cut && cp c unreadable"))
        abort();
    CHECK(ma_symbols_object_state(symbols, &fixture("cut")->object) == MA_OBJECT_MISMATCH ||
              ma_symbols_object_state(symbols, &fixture("cut")->object) == MA_OBJECT_NO_SYMBOLS ||
              ma_symbols_object_state(symbols, &fixture("cut")->object) == MA_OBJECT_NOT_ELF,
          "a truncated object does no harm");
    CHECK(ma_symbols_object_state(symbols, &fixture("nothing")->object) == MA_OBJECT_NOT_FOUND,
          "a missing file is missing");
    struct ma_object odd = {.build_id = it->id, .build_id_size = 20};
    static const char *const paths[] = {"fifo", "."};
    for (unsigned i = 0; i < 2; i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof(path), "%s/%s", home, paths[i]);
        odd.path = path;
        CHECK(ma_symbols_object_state(symbols, &odd) == MA_OBJECT_NOT_REGULAR, "%s is left closed",
              paths[i]);
    }
    odd.path = "/dev/zero";
    CHECK(ma_symbols_object_state(symbols, &odd) == MA_OBJECT_NOT_REGULAR, "so is a device");
    odd.path = "c";
    CHECK(ma_symbols_object_state(symbols, &odd) == MA_OBJECT_NOT_FOUND,
          "a relative name is not looked for");
    odd.path = NULL;
    CHECK(ma_symbols_object_state(symbols, &odd) == MA_OBJECT_NOT_FOUND, "nor is none");
    struct ma_object vdso = {.path = "[vdso]", .vdso = true};
    CHECK(ma_symbols_object_state(symbols, &vdso) == MA_OBJECT_VDSO, "the kernel's object");
    bool texts = true;
    for (int state = 0; state <= MA_OBJECT_STATES; state++)
        texts &= ma_object_state_text((enum ma_object_state)state) != NULL;
    CHECK(texts, "every state has words");
    ma_symbols_close(symbols);
}

static void test_places(void)
{
    char directory[PATH_MAX + 64], id[64] = "";
    struct fixture *it = fixture("c");
    uint64_t outer = address_of("c", "outer"), hidden = address_of("c", "hidden");
    for (size_t i = 1; i < it->object.build_id_size && i < 30; i++)
        sprintf(id + 2 * (i - 1), "%02x", it->id[i]);
    bool ready = run(
        "objcopy --only-keep-debug c c.debug && mkdir -p root/opt root/real dirs ids/.build-id/%02x"
        " && cp c.debug ids/.build-id/%02x/%s.debug"
        " && strip -o bare c && objcopy --add-gnu-debuglink=c.debug bare linked"
        " && cp c root/real/prog && ln -s /real/prog root/opt/prog && cp bare dirs/bare"
        " && strip -g -o symbols c && cp c 'c (deleted)'",
        it->id[0], it->id[0], id);
    if (!ready)
        abort();

    struct ma_symbols *symbols = open_all(NULL, NULL);
    CHECK(ma_symbols_object_state(symbols, &fixture("symbols")->object) == MA_OBJECT_SYMBOLS &&
              told_is(ask(symbols, fixture("symbols"), hidden), "hidden", false),
          "a symbol table serves without DWARF");
    CHECK(told_is(ask(symbols, fixture("symbols"), outer), "alias", false),
          "of several names the most readable is told");
    CHECK(ma_symbols_object_state(symbols, &fixture("bare")->object) == MA_OBJECT_NO_SYMBOLS &&
              !ask(symbols, fixture("bare"), hidden)->function,
          "a stripped program has no names");
    CHECK(told_is(ask(symbols, fixture("linked"), hidden), "hidden", true),
          ".gnu_debuglink is followed");
    struct fixture *deleted = fixture("c");
    strcat(deleted->path, " (deleted) (deleted)");
    CHECK(told_is(ask(symbols, deleted, hidden), "hidden", true),
          "the kernel's mark of an unlinked file is no part of its name");
    ma_symbols_close(symbols);

    snprintf(directory, sizeof(directory), "%s/ids", home);
    symbols = open_all(NULL, directory);
    CHECK(told_is(ask(symbols, fixture("bare"), hidden), "hidden", true) &&
              ma_symbols_object_state(symbols, &fixture("bare")->object) == MA_OBJECT_DEBUG,
          "a debug file is found by build-id");
    struct fixture *gone = fixture("c");
    gone->object.path = "/nowhere/c";
    CHECK(told_is(ask(symbols, gone, hidden), "hidden", true), "and serves alone");
    gone = fixture("c");
    gone->object.path = "/bin/sh";
    CHECK(told_is(ask(symbols, gone, hidden), "hidden", true), "or where another build lies");
    ma_symbols_close(symbols);

    snprintf(directory, sizeof(directory), "%s/dirs", home);
    symbols = open_all(NULL, directory);
    gone = fixture("c");
    gone->object.path = "/elsewhere/bin/bare";
    CHECK(ma_symbols_object_state(symbols, &gone->object) == MA_OBJECT_NO_SYMBOLS,
          "a debug directory is searched by base name");
    ma_symbols_close(symbols);

    snprintf(directory, sizeof(directory), "%s/root", home);
    symbols = open_all(directory, NULL);
    gone = fixture("c");
    gone->object.path = "/opt/prog";
    CHECK(told_is(ask(symbols, gone, hidden), "hidden", true),
          "links below a sysroot stay below it");
    CHECK(ma_symbols_object_state(symbols, &fixture("c")->object) == MA_OBJECT_NOT_FOUND,
          "and this machine's files stay out");
    ma_symbols_close(symbols);
}

static void test_without_id(void)
{
    if (!run("cc -O1 -g -Wl,--build-id=none fixture.c -o noid && objcopy --only-keep-debug noid "
             "noid.debug && strip -o noidlinked noid && objcopy --add-gnu-debuglink=noid.debug "
             "noidlinked && cp noidlinked noidwrong && objcopy --only-keep-debug c wrong.debug "
             "&& cp noid wrong && objcopy --only-keep-debug wrong wrong.debug "
             "&& objcopy --remove-section=.gnu_debuglink noidwrong "
             "&& objcopy --add-gnu-debuglink=wrong.debug noidwrong && echo >> wrong.debug"))
        abort();
    struct ma_symbols *symbols = open_all(NULL, NULL);
    uint64_t hidden = address_of("noid", "hidden");
    struct fixture *it = fixture("noid");
    CHECK(!it->object.build_id && told_is(ask(symbols, it, hidden), "hidden", true) &&
              ma_symbols_object_unverified(symbols, &it->object),
          "without build-ids an object is used, and said to be unverified");
    CHECK(told_is(ask(symbols, fixture("noidlinked"), hidden), "hidden", true),
          "a debug file by its CRC");
    CHECK(!ask(symbols, fixture("noidwrong"), hidden)->function, "but not with another CRC");
    CHECK(!ma_symbols_object_unverified(symbols, &fixture("c")->object), "c is verified");
    ma_symbols_close(symbols);
}

static void test_library(void)
{
    if (!run("cc -O1 -shared -fPIC fixture.c -o lib.so && cp lib.so lib.full && strip lib.so"))
        abort();
    struct ma_symbols *symbols = open_all(NULL, NULL);
    struct fixture *it = fixture("lib.so");
    CHECK(told_is(ask(symbols, it, address_of("lib.full", "outer")), "alias", false),
          "a stripped library tells its exported names");
    CHECK(!ask(symbols, it, address_of("lib.full", "hidden"))->function,
          "and no name beyond their sizes");
    ma_symbols_close(symbols);
}

int main(void)
{
    char directory[] = "/tmp/test-symbols-XXXXXX", command[PATH_MAX + 32];
    if (!mkdtemp(directory) || !realpath(directory, home))
        return 99;
    /* Must make no difference, for no options here allow it. */
    setenv("DEBUGINFOD_URLS", "http://127.0.0.1:9/", 1);
    write_file("fixture.c", c_source);
    write_file("fixture.cc", cxx_source);
    write_file("fixture.rs", rust_source);
    CHECK(run("cc -O2 -g fixture.c -o c") && run("c++ -std=c++17 -O2 -g fixture.cc -o c++"),
          "fixtures compile");
    test_against_judge("c", true, 1);
    if (run("cc -O2 -gdwarf-4 -gz fixture.c -o c4"))
        test_against_judge("c4", true, 1);
    test_against_judge("c++", true, 0.9);
    if (run("rustc -O -g fixture.rs -o rust"))
        test_against_judge("rust", false, 0.9);
    test_answers();
    test_refusals();
    test_places();
    test_without_id();
    test_library();
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    if (system(command) != 0)
        return 99;
    return TAP_DONE();
}
