/* SPDX-License-Identifier: MIT
 *
 * Functions, inlined calls and lines from DWARF, read no further than asked:
 * one pass over the units for their address ranges (compilers other than gcc
 * write no .debug_aranges), then per unit, when first hit, one over its
 * functions, then the tree of the one function that holds the address.
 *
 * A file may be crafted: depth and counts are bounded, and references are
 * followed by libdw only.
 */
#include <dwarf.h>
#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>

#include "ma_demangle.h"
#include "ma_symbols_impl.h"

enum {
    MAX_DEPTH = 128,          /* of nested scopes */
    MAX_RANGES = 1 << 16,     /* of one function or unit */
    MAX_ALL_RANGES = 1 << 22, /* of all functions of a unit, or of all units */
    MAX_UNITS_TRIED = 16,     /* that claim the same address */
};

struct unit {
    Dwarf_Die die;   /* with the lines */
    Dwarf_Die split; /* with the functions: the same, or the .dwo's */
    bool skeleton, has_ranges;
    int reach; /* enum reach of the functions below, -1: none yet */
    Dwarf_Die *functions;
    size_t n_functions, room_functions;
    struct ma_ranges ranges; /* of the functions */
};

struct ma_dwarf {
    Dwarf *dwarf, *alternate;
    struct ma_elf alternate_file;
    struct ma_elf inflated, inflated_alternate; /* copies with plain sections, if need be */
    struct unit *units;
    size_t n_units, room_units;
    struct ma_ranges ranges;  /* of the units */
    uint64_t low, high;       /* code lies within */
    struct ma_scopes *scopes; /* may be NULL */
    bool missed;              /* a file with a part of this could not be had */
};

/* Functions that the linker threw away keep ranges at 0 or beyond all code. */
static void find_code(Elf *elf, uint64_t *low, uint64_t *high)
{
    size_t n;
    *low = UINT64_MAX;
    *high = 0;
    if (elf_getphdrnum(elf, &n) != 0)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_LOAD ||
            !(header.p_flags & PF_X))
            continue;
        if (header.p_vaddr < *low)
            *low = header.p_vaddr;
        if (header.p_vaddr + header.p_memsz > *high)
            *high = header.p_vaddr + header.p_memsz;
    }
    if (*low >= *high) {
        *low = 1;
        *high = UINT64_MAX;
    }
}

/* Adds the address ranges of a DIE; *any tells if there were some. */
static int add_die_ranges(const struct ma_dwarf *dwarf, Dwarf_Die *die, struct ma_ranges *ranges,
                          size_t what, bool *any)
{
    Dwarf_Addr base, low, high;
    ptrdiff_t offset = 0;
    *any = false;
    for (int i = 0; i < MAX_RANGES && ranges->n < MAX_ALL_RANGES; i++) {
        offset = dwarf_ranges(die, offset, &base, &low, &high);
        if (offset <= 0)
            break;
        if (low < dwarf->low || high > dwarf->high)
            continue;
        *any = true;
        int error = ma_ranges_add(ranges, low, high, what);
        if (error)
            return error;
    }
    return 0;
}

static int compare_offset(const void *key, const void *unit_)
{
    const struct unit *unit = unit_;
    Dwarf_Off offset = *(const Dwarf_Off *)key, its = dwarf_dieoffset((Dwarf_Die *)&unit->die);
    return offset < its ? -1 : offset > its;
}

/* Units without ranges of their own (assemblers, old compilers) may have aranges. */
static int add_aranges(struct ma_dwarf *dwarf)
{
    Dwarf_Aranges *aranges;
    size_t n;
    if (dwarf_getaranges(dwarf->dwarf, &aranges, &n) != 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        Dwarf_Addr start;
        Dwarf_Word length;
        Dwarf_Off offset;
        if (dwarf_getarangeinfo(dwarf_onearange(aranges, i), &start, &length, &offset) != 0)
            continue;
        struct unit *unit =
            bsearch(&offset, dwarf->units, dwarf->n_units, sizeof(*dwarf->units), compare_offset);
        if (!unit || unit->has_ranges || start < dwarf->low || start >= dwarf->high ||
            length > dwarf->high - start)
            continue;
        int error =
            ma_ranges_add(&dwarf->ranges, start, start + length, (size_t)(unit - dwarf->units));
        if (error)
            return error;
    }
    return 0;
}

static int read_units(struct ma_dwarf *dwarf)
{
    Dwarf_CU *cu = NULL;
    bool rangeless = false;
    struct unit unit = {0};
    uint8_t type;
    while (dwarf_get_units(dwarf->dwarf, cu, &cu, NULL, &type, &unit.die, NULL) == 0) {
        if (type != DW_UT_compile && type != DW_UT_skeleton && type != DW_UT_partial)
            continue;
        unit.reach = -1;
        unit.skeleton = type == DW_UT_skeleton;
        int error =
            add_die_ranges(dwarf, &unit.die, &dwarf->ranges, dwarf->n_units, &unit.has_ranges);
        if (error)
            return error;
        rangeless |= !unit.has_ranges;
        if (dwarf->n_units == dwarf->room_units) {
            size_t room = dwarf->room_units ? 2 * dwarf->room_units : 64;
            struct unit *units = reallocarray(dwarf->units, room, sizeof(*units));
            if (!units)
                return -ENOMEM;
            dwarf->units = units;
            dwarf->room_units = room;
        }
        dwarf->units[dwarf->n_units++] = unit;
    }
    int error = rangeless ? add_aranges(dwarf) : 0;
    ma_ranges_sort(&dwarf->ranges);
    return error;
}

/* libdw opens what it misses without looking what it is: look first. */
static bool is_safe_to_open(const char *path)
{
    struct stat status;
    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
}

static Dwarf *begin(const struct ma_elf *file, struct ma_elf *inflated)
{
    return dwarf_begin_elf(ma_elf_inflate(file, inflated) ? inflated->elf : file->elf, DWARF_C_READ,
                           NULL);
}

/* False if the file must not be used, for libdw would open what it names. */
static bool open_alternate(struct ma_dwarf *dwarf, const struct ma_symbol_places *places,
                           const struct ma_elf *debug)
{
    const char *name;
    const void *id;
    ssize_t size = dwelf_dwarf_gnu_debugaltlink(dwarf->dwarf, &name, &id);
    if (size <= 0)
        return true;
    if (ma_elf_open_alternate(places, debug, name, id, (size_t)size, &dwarf->alternate_file))
        dwarf->alternate = begin(&dwarf->alternate_file, &dwarf->inflated_alternate);
    dwarf->missed = !dwarf->alternate;
    if (!dwarf->alternate)
        return is_safe_to_open(name);
    dwarf_setalt(dwarf->dwarf, dwarf->alternate);
    return true;
}

struct ma_dwarf *ma_dwarf_open(const struct ma_symbol_places *places, const struct ma_elf *debug)
{
    struct ma_dwarf *dwarf = calloc(1, sizeof(*dwarf));
    if (!dwarf)
        return NULL;
    dwarf->dwarf = begin(debug, &dwarf->inflated);
    if (!dwarf->dwarf)
        goto fail;
    if (!open_alternate(dwarf, places, debug))
        goto fail;
    dwarf->scopes = ma_scopes_new();
    find_code(debug->elf, &dwarf->low, &dwarf->high);
    if (read_units(dwarf))
        goto fail;
    return dwarf;
fail:
    ma_dwarf_close(dwarf);
    return NULL;
}

bool ma_dwarf_is_whole(const struct ma_dwarf *dwarf)
{
    return !dwarf->missed;
}

void ma_dwarf_close(struct ma_dwarf *dwarf)
{
    if (!dwarf)
        return;
    for (size_t i = 0; i < dwarf->n_units; i++) {
        free(dwarf->units[i].functions);
        ma_ranges_free(&dwarf->units[i].ranges);
    }
    free(dwarf->units);
    ma_ranges_free(&dwarf->ranges);
    ma_scopes_free(dwarf->scopes);
    if (dwarf->dwarf)
        dwarf_end(dwarf->dwarf);
    if (dwarf->alternate)
        dwarf_end(dwarf->alternate);
    ma_elf_close(&dwarf->alternate_file);
    ma_elf_close(&dwarf->inflated_alternate);
    ma_elf_close(&dwarf->inflated);
    free(dwarf);
}

static bool split_is_regular(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *name = dwarf_formstring(dwarf_attr(die, DW_AT_GNU_dwo_name, &attribute));
    if (!name)
        name = dwarf_formstring(dwarf_attr(die, DW_AT_dwo_name, &attribute));
    const char *home = dwarf_formstring(dwarf_attr(die, DW_AT_comp_dir, &attribute));
    /* A relative name is tried in the current directory too, before the unit's. */
    if (!name || (*name != '/' && !home) || !is_safe_to_open(name))
        return false;
    char *path = NULL;
    if (*name != '/' && asprintf(&path, "%s/%s", home, name) < 0)
        return false;
    bool safe = !path || is_safe_to_open(path);
    free(path);
    return safe;
}

/* The reach of a look for functions in a unit: farther only after a miss. */
enum reach {
    OUTSIDE,      /* at the top or in namespaces: all that compilers usually put out */
    IN_TYPES,     /* also members that sit in their class */
    IN_FUNCTIONS, /* also members of local classes and the like */
    REACHES
};

static int add_function(const struct ma_dwarf *dwarf, struct unit *unit, Dwarf_Die *die)
{
    bool any;
    /* Most are declarations. */
    if (!dwarf_hasattr(die, DW_AT_low_pc) && !dwarf_hasattr(die, DW_AT_ranges))
        return 0;
    int error = add_die_ranges(dwarf, die, &unit->ranges, unit->n_functions, &any);
    if (error || !any)
        return error;
    if (unit->n_functions == unit->room_functions) {
        size_t room = unit->room_functions ? 2 * unit->room_functions : 16;
        Dwarf_Die *functions = reallocarray(unit->functions, room, sizeof(*functions));
        if (!functions)
            return -ENOMEM;
        unit->functions = functions;
        unit->room_functions = room;
    }
    unit->functions[unit->n_functions++] = *die;
    return 0;
}

/*
 * True for a DIE behind all that were passed before. In a sound tree they come
 * in the order of their offsets; siblings that lead out of their parent would
 * have one walk the same DIEs again at each level.
 */
static bool pass(Dwarf_Die *die, Dwarf_Off *passed)
{
    Dwarf_Off offset = dwarf_dieoffset(die);
    if (offset <= *passed)
        return false;
    *passed = offset;
    return true;
}

/* Adds the functions with code below `parent`. */
static int walk(const struct ma_dwarf *dwarf, struct unit *unit, Dwarf_Die *parent,
                enum reach reach, Dwarf_Off *passed, unsigned depth)
{
    Dwarf_Die die;
    if (depth >= MAX_DEPTH || dwarf_child(parent, &die) != 0)
        return 0;
    do {
        int error = 0;
        if (!pass(&die, passed))
            return 0;
        bool enter = false;
        switch (dwarf_tag(&die)) {
        case DW_TAG_subprogram:
            error = add_function(dwarf, unit, &die);
            enter = reach >= IN_FUNCTIONS;
            break;
        case DW_TAG_namespace:
        case DW_TAG_module: enter = true; break;
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
        case DW_TAG_enumeration_type: enter = reach >= IN_TYPES; break;
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine: enter = reach >= IN_FUNCTIONS; break;
        default: break;
        }
        if (!error && enter)
            error = walk(dwarf, unit, &die, reach, passed, depth + 1);
        if (error)
            return error;
    } while (dwarf_siblingof(&die, &die) == 0);
    return 0;
}

static void index_unit(struct ma_dwarf *dwarf, struct unit *unit, enum reach reach)
{
    if (unit->reach < 0) {
        unit->split = unit->die;
        Dwarf_Die split;
        if (unit->skeleton && split_is_regular(&unit->die) &&
            dwarf_cu_info(unit->die.cu, NULL, NULL, NULL, &split, NULL, NULL, NULL) == 0 &&
            dwarf_tag(&split) == DW_TAG_compile_unit)
            unit->split = split;
        dwarf->missed |= unit->skeleton && unit->split.addr == unit->die.addr;
    }
    unit->n_functions = 0;
    unit->ranges.n = 0;
    /* Without memory the functions found so far will do. */
    Dwarf_Off passed = 0;
    (void)walk(dwarf, unit, &unit->split, reach, &passed, 0);
    ma_ranges_sort(&unit->ranges);
    unit->reach = (int)reach;
}

static bool find_function(struct ma_dwarf *dwarf, struct unit *unit, uint64_t address,
                          Dwarf_Die *out)
{
    for (int reach = OUTSIDE; reach < REACHES; reach++) {
        if (unit->reach < reach)
            index_unit(dwarf, unit, (enum reach)reach);
        size_t cursor = SIZE_MAX;
        const struct ma_range *range = ma_ranges_find(&unit->ranges, address, &cursor);
        if (range && range->what < unit->n_functions) {
            *out = unit->functions[range->what];
            return true;
        }
    }
    return false;
}

/* DW_LANG_C17 and DW_LANG_C23, which libdw 0.188 does not know. */
enum { LANG_C17 = 0x2c, LANG_C23 = 0x3e };

/*
 * True if names of functions have scopes in the language that `die` was written in: not so
 * in C, where a lookup is all cost. Any language that is not known may have them.
 */
static bool has_scopes(Dwarf_Die *die)
{
    Dwarf_Die written = *die;
    ma_scopes_find_declaration(&written);
    switch (dwarf_srclang(&written)) {
    case DW_LANG_C89:
    case DW_LANG_C:
    case DW_LANG_C99:
    case DW_LANG_C11:
    case LANG_C17:
    case LANG_C23:
    case DW_LANG_UPC:
    case DW_LANG_OpenCL:
    case DW_LANG_Mips_Assembler: return false;
    default: return true;
    }
}

static const char *text_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

static void name_function(struct ma_scopes *scopes, Dwarf_Die *die, struct ma_dwarf_frame *frame)
{
    /* A linkage name counts if it tells scopes and types, whatever the unit's language: that
     * of a link of several (LTO) is anyone's. In C the plain name is the one to read: glibc's
     * others are like __GI___qsort_r. */
    const char *linkage = text_of(die, DW_AT_linkage_name);
    if (!linkage)
        linkage = text_of(die, DW_AT_MIPS_linkage_name);
    if (linkage && ma_is_mangled(linkage)) {
        frame->name = linkage;
        return;
    }
    frame->name = text_of(die, DW_AT_name);
    if (!frame->name)
        frame->name = linkage;
    else if (scopes && has_scopes(die)) {
        frame->name = ma_scopes_qualify(scopes, die, frame->name);
        frame->scoped = true;
    }
}

static unsigned to_line(Dwarf_Word line)
{
    return line <= UINT32_MAX ? (unsigned)line : 0;
}

/* A file as its unit means it. */
static const char *whole_path(struct ma_scopes *scopes, Dwarf_Die *unit, const char *file)
{
    Dwarf_Attribute attribute;
    if (!file || *file == '/' || !scopes)
        return file;
    const char *home = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute));
    return home && *home ? ma_scopes_path(scopes, home, file) : file;
}

/* Note the file and line where the body of `die` was inlined, in the terms of
 * its own unit. */
static void place_call(struct ma_scopes *scopes, Dwarf_Die *die, struct ma_dwarf_frame *frame)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    Dwarf_Die unit;
    Dwarf_Files *files;
    size_t n;
    frame->file = NULL;
    frame->line = 0;
    if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attribute), &value) == 0)
        frame->line = to_line(value);
    if (dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attribute), &value) == 0 &&
        dwarf_diecu(die, &unit, NULL, NULL) && dwarf_getsrcfiles(&unit, &files, &n) == 0 &&
        value < n)
        frame->file = whole_path(scopes, &unit, dwarf_filesrc(files, value, NULL, NULL));
}

/* The scope inside `parent` that holds the address: a block or an inlined call. */
static bool next_scope(Dwarf_Die *parent, uint64_t address, Dwarf_Off *passed, Dwarf_Die *out,
                       unsigned depth)
{
    Dwarf_Die die;
    if (depth >= MAX_DEPTH || dwarf_child(parent, &die) != 0)
        return false;
    do {
        int tag = dwarf_tag(&die);
        if (!pass(&die, passed))
            return false;
        if (tag != DW_TAG_lexical_block && tag != DW_TAG_inlined_subroutine &&
            tag != DW_TAG_try_block && tag != DW_TAG_catch_block)
            continue;
        if (dwarf_haspc(&die, address) > 0) {
            *out = die;
            return true;
        }
        /* Blocks without addresses of their own may hold calls that have them. */
        if (tag != DW_TAG_inlined_subroutine && !dwarf_hasattr(&die, DW_AT_low_pc) &&
            !dwarf_hasattr(&die, DW_AT_ranges) && next_scope(&die, address, passed, out, depth + 1))
            return true;
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
}

/* Fills frames outermost first; returns their number. */
static size_t find_frames(struct ma_scopes *scopes, Dwarf_Die *function, uint64_t address,
                          struct ma_dwarf_frame *frames, size_t room)
{
    Dwarf_Die scope = *function, inner;
    Dwarf_Off passed = 0;
    size_t n = 1;
    frames[0] = (struct ma_dwarf_frame){0};
    name_function(scopes, function, &frames[0]);
    for (unsigned depth = 0;
         depth < 4 * MAX_DEPTH && n < room && next_scope(&scope, address, &passed, &inner, 0);
         depth++) {
        scope = inner;
        if (dwarf_tag(&scope) != DW_TAG_inlined_subroutine)
            continue;
        place_call(scopes, &scope, &frames[n - 1]);
        frames[n] = (struct ma_dwarf_frame){0};
        name_function(scopes, &scope, &frames[n++]);
    }
    return n;
}

size_t ma_dwarf_find(struct ma_dwarf *dwarf, uint64_t address, struct ma_dwarf_frame *frames,
                     size_t room)
{
    const struct ma_range *range;
    size_t cursor = SIZE_MAX, n = 0;
    struct unit *unit = NULL;
    Dwarf_Die function;
    for (int i = 0; i < MAX_UNITS_TRIED && !n; i++) {
        range = ma_ranges_find(&dwarf->ranges, address, &cursor);
        if (!range)
            break;
        struct unit *candidate = &dwarf->units[range->what];
        if (!unit)
            unit = candidate;
        if (find_function(dwarf, candidate, address, &function)) {
            unit = candidate;
            n = find_frames(dwarf->scopes, &function, address, frames, room);
        }
    }
    if (!unit)
        return 0;
    Dwarf_Line *line = dwarf_getsrc_die(&unit->die, address);
    if (!n) {
        if (!line)
            return 0;
        frames[0] = (struct ma_dwarf_frame){0};
        n = 1;
    }
    int number;
    if (line) {
        frames[n - 1].file = whole_path(dwarf->scopes, &unit->die, dwarf_linesrc(line, NULL, NULL));
        if (dwarf_lineno(line, &number) == 0 && number > 0)
            frames[n - 1].line = (unsigned)number;
    }
    for (size_t i = 0; i < n / 2; i++) {
        struct ma_dwarf_frame swap = frames[i];
        frames[i] = frames[n - 1 - i];
        frames[n - 1 - i] = swap;
    }
    return n;
}
