/* SPDX-License-Identifier: MIT
 *
 * Function symbols of an object: .symtab, .dynsym and what .gnu_debugdata
 * packs, in one table sorted by address. Several names of one address are
 * aliases; the one that a person would use in a sentence is kept.
 */
#include <errno.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "ma_demangle.h"
#include "ma_symbols_impl.h"

struct symbol {
    uint64_t low, high; /* high == low: no size recorded */
    uint64_t limit;     /* end of its section: how far one without size may reach */
    const char *name;
    unsigned char rank; /* the lower, the better the evidence */
};

struct ma_symtab {
    struct symbol *at;
    size_t n, room;
    struct ma_ranges ranges;
};

enum { RANK_GLOBAL, RANK_WEAK, RANK_LOCAL, RANK_UNTYPED };

struct ma_symtab *ma_symtab_new(void)
{
    return calloc(1, sizeof(struct ma_symtab));
}

static int add_symbol(struct ma_symtab *table, struct symbol symbol)
{
    if (table->n == table->room) {
        size_t room = table->room ? 2 * table->room : 256;
        struct symbol *at = reallocarray(table->at, room, sizeof(*at));
        if (!at)
            return -ENOMEM;
        table->at = at;
        table->room = room;
    }
    table->at[table->n++] = symbol;
    return 0;
}

/* Assemblers' and linkers' own marks are no names of functions: ARM's $a, $d, $t and $x, with
 * something after a dot or not, and RISC-V's $xrv…. Names of Swift's functions begin with $s. */
static bool is_marker(const char *name, bool function)
{
    bool mapping = *name == '$' && !function && name[1] && strchr("adtx", name[1]) &&
                   (!name[2] || name[2] == '.' || !strncmp(name, "$xrv", 4));
    return !*name || mapping || (name[0] == '.' && name[1] == 'L');
}

static int add_table(struct ma_symtab *table, Elf *elf, Elf_Scn *section, const GElf_Shdr *header,
                     bool arm)
{
    Elf_Data *data = elf_getdata(section, NULL);
    if (!data || !header->sh_entsize)
        return 0;
    GElf_Section cached = SHN_UNDEF;
    GElf_Shdr home = {0};
    size_t n = data->d_size / header->sh_entsize;
    for (size_t i = 1; i < n && i <= INT32_MAX; i++) {
        GElf_Sym symbol;
        if (!gelf_getsym(data, (int)i, &symbol))
            break;
        unsigned type = GELF_ST_TYPE(symbol.st_info), bind = GELF_ST_BIND(symbol.st_info);
        bool function = type == STT_FUNC || type == STT_GNU_IFUNC;
        if ((!function && type != STT_NOTYPE) || symbol.st_shndx == SHN_UNDEF ||
            symbol.st_shndx >= SHN_LORESERVE)
            continue;
        if (symbol.st_shndx != cached) {
            Elf_Scn *its = elf_getscn(elf, symbol.st_shndx);
            cached = symbol.st_shndx;
            if (!its || !gelf_getshdr(its, &home))
                home = (GElf_Shdr){0};
        }
        if (!(home.sh_flags & SHF_EXECINSTR))
            continue;
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (!name || is_marker(name, function))
            continue;
        uint64_t low = arm && function ? symbol.st_value & ~(uint64_t)1 : symbol.st_value;
        uint64_t limit = home.sh_addr + home.sh_size;
        if (low < home.sh_addr || low >= limit)
            continue;
        uint64_t high = symbol.st_size < limit - low ? low + symbol.st_size : limit;
        unsigned char rank = !function           ? RANK_UNTYPED
                             : bind == STB_LOCAL ? RANK_LOCAL
                             : bind == STB_WEAK  ? RANK_WEAK
                                                 : RANK_GLOBAL;
        int error = add_symbol(table, (struct symbol){low, high, limit, name, rank});
        if (error)
            return error;
    }
    return 0;
}

int ma_symtab_add(struct ma_symtab *table, Elf *elf)
{
    GElf_Ehdr ehdr;
    bool arm = gelf_getehdr(elf, &ehdr) && ehdr.e_machine == EM_ARM;
    int error = 0;
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section && !error;
         section = elf_nextscn(elf, section)) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) &&
            (header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM))
            error = add_table(table, elf, section, &header, arm);
    }
    return error;
}

static size_t underscores(const char *name)
{
    /* Mangled names start with some by rule. */
    return ma_is_mangled(name) ? 0 : strspn(name, "_");
}

/*
 * By address; then the most readable name first. Exported names before local
 * ones; `malloc` before `__libc_malloc`, whichever of them is weak; a strong
 * name before a weak one; the shorter; the alphabet.
 */
static int compare_symbols(const void *a_, const void *b_)
{
    const struct symbol *a = a_, *b = b_;
    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    int by_class = (a->rank >= RANK_LOCAL ? a->rank : 0) - (b->rank >= RANK_LOCAL ? b->rank : 0);
    if (by_class)
        return by_class;
    bool a_sized = a->high > a->low, b_sized = b->high > b->low;
    if (a_sized != b_sized)
        return a_sized ? -1 : 1;
    size_t a_under = underscores(a->name), b_under = underscores(b->name);
    if (a_under != b_under)
        return a_under < b_under ? -1 : 1;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    size_t a_length = strlen(a->name), b_length = strlen(b->name);
    if (a_length != b_length)
        return a_length < b_length ? -1 : 1;
    return strcmp(a->name, b->name);
}

int ma_symtab_finish(struct ma_symtab *table)
{
    if (table->n)
        qsort(table->at, table->n, sizeof(*table->at), compare_symbols);
    for (size_t i = 0; i < table->n;) {
        const struct symbol *symbol = &table->at[i];
        size_t next = i + 1;
        while (next < table->n && table->at[next].low == symbol->low)
            next++;
        uint64_t high = symbol->high;
        if (high == symbol->low) {
            high = symbol->limit;
            if (next < table->n && table->at[next].low < high)
                high = table->at[next].low;
        }
        int error = ma_ranges_add(&table->ranges, symbol->low, high, i);
        if (error)
            return error;
        i = next;
    }
    ma_ranges_sort(&table->ranges);
    return 0;
}

bool ma_symtab_empty(const struct ma_symtab *table)
{
    return !table->n;
}

const char *ma_symtab_find(const struct ma_symtab *table, uint64_t address)
{
    size_t cursor = SIZE_MAX;
    const struct ma_range *range, *best = NULL;
    /* A label inside a function is the weaker evidence. */
    while ((range = ma_ranges_find(&table->ranges, address, &cursor))) {
        if (table->at[range->what].rank != RANK_UNTYPED)
            return table->at[range->what].name;
        if (!best)
            best = range;
    }
    return best ? table->at[best->what].name : NULL;
}

void ma_symtab_free(struct ma_symtab *table)
{
    if (!table)
        return;
    ma_ranges_free(&table->ranges);
    free(table->at);
    free(table);
}
