/* SPDX-License-Identifier: MIT
 *
 * Finding ELF files that a trace names, and holding them against the recorded
 * build-id before anything else reads them. A path is examined before it is
 * opened (O_PATH), so that a trace that names a FIFO, a tape or a watchdog does
 * nothing to it. Files are mapped and their descriptors closed at once, which
 * also keeps libdw from looking for files on its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <elfutils/libdwelf.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#ifdef MA_HAVE_LZMA
#include <lzma.h>
#endif

#include "ma_place.h"
#include "ma_record.h"
#include "ma_symbols_impl.h"

enum {
    MAX_UNPACKED = 64 << 20, /* bytes of a .gnu_debugdata */
    MAX_UNPACK_MEMORY = 64 << 20,
    MAX_BUILD_ID = 64, /* bytes; 20 is usual */
};

static const char debug_root[] = "/usr/lib/debug";

/* Below `root`, symbolic links are followed as if it were "/". */
static int open_path(const char *root, const char *path)
{
    if (!root)
        return open(path, O_PATH | O_CLOEXEC);
    int fd = -1;
    int at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return -1;
    while (*path == '/')
        path++;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    fd = (int)syscall(SYS_openat2, at, *path ? path : ".", &how, sizeof(how));
    /* Kernels before 5.6 and strict sandboxes do not know the call. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = openat(at, *path ? path : ".", O_PATH | O_CLOEXEC);
    int error = errno;
    close(at);
    errno = error;
    return fd;
}

/* Files that the kernel makes up as they are read, some of which do something then. */
static bool is_made_up(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 &&
           (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC ||
            system.f_type == DEBUGFS_MAGIC || system.f_type == TRACEFS_MAGIC ||
            system.f_type == SECURITYFS_MAGIC || system.f_type == CGROUP2_SUPER_MAGIC);
}

/* A descriptor to read a regular file through; or -1 and the state. */
static int open_regular(const char *root, const char *path, enum ma_object_state *state)
{
    struct stat status;
    int named = open_path(root, path);
    if (named < 0) {
        *state = errno == EACCES || errno == EMFILE || errno == ENFILE ? MA_OBJECT_UNREADABLE
                                                                       : MA_OBJECT_NOT_FOUND;
        return -1;
    }
    int fd = -1;
    if (fstat(named, &status) != 0) {
        *state = MA_OBJECT_UNREADABLE;
    } else if (!S_ISREG(status.st_mode) || is_made_up(named)) {
        *state = MA_OBJECT_NOT_REGULAR;
    } else {
        char again[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
        snprintf(again, sizeof(again), "/proc/self/fd/%d", named);
        *state = MA_OBJECT_UNREADABLE;
        fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        /* No /proc: the name again, and what it is now must be the same file. */
        struct stat now;
        if (fd < 0 && errno == ENOENT && !root) {
            fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
            if (fd >= 0 && (fstat(fd, &now) != 0 || now.st_dev != status.st_dev ||
                            now.st_ino != status.st_ino)) {
                close(fd);
                fd = -1;
            }
        }
    }
    close(named);
    return fd;
}

void ma_elf_close(struct ma_elf *file)
{
    if (file->elf)
        elf_end(file->elf);
    free(file->path);
    free(file->memory);
    *file = (struct ma_elf){0};
}

static char *join(const char *root, const char *path)
{
    char *whole = NULL;
    return asprintf(&whole, "%s%s%s", root ? root : "", root && *path != '/' ? "/" : "", path) < 0
               ? NULL
               : whole;
}

/* True unless the file would be mapped in another way than the object was. */
static bool has_segments(Elf *elf, const struct ma_object *object)
{
    size_t n;
    if (elf_getphdrnum(elf, &n) != 0)
        return false;
    size_t same = 0;
    for (size_t i = 0; i < n && same < object->n_segments; i++) {
        GElf_Phdr header;
        const struct ma_segment *segment = &object->segments[same];
        if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_LOAD)
            continue;
        if (header.p_vaddr != segment->address || header.p_memsz != segment->size ||
            header.p_offset != segment->offset)
            return false;
        same++;
    }
    return same == object->n_segments;
}

/*
 * Opens one candidate. A build-id of NULL stands for "has none": then the
 * segments of `object`, if not NULL, must be the file's. On failure out->path
 * tells the candidate.
 */
static enum ma_object_state open_candidate(const char *root, const char *path,
                                           const unsigned char *id, size_t id_size,
                                           const struct ma_object *object, struct ma_elf *out)
{
    enum ma_object_state state;
    *out = (struct ma_elf){0};
    int fd = open_regular(root, path, &state);
    if (fd < 0) {
        if (state != MA_OBJECT_NOT_FOUND)
            out->path = join(root, path);
        return state;
    }
    out->path = join(root, path);
    elf_version(EV_CURRENT);
    out->elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    /* From here on the mapping (or a copy, on file systems without) serves. */
    bool whole = out->elf && elf_cntl(out->elf, ELF_C_FDREAD) == 0;
    struct stat status;
    if (fstat(fd, &status) == 0) {
        out->device = status.st_dev;
        out->inode = status.st_ino;
        out->size = (uint64_t)status.st_size;
        out->modified =
            (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec;
    }
    close(fd);
    GElf_Ehdr header;
    if (!out->path) {
        state = MA_OBJECT_NO_MEMORY;
    } else if (!whole || elf_kind(out->elf) != ELF_K_ELF || !gelf_getehdr(out->elf, &header) ||
               (header.e_type != ET_EXEC && header.e_type != ET_DYN && header.e_type != ET_REL)) {
        state = MA_OBJECT_NOT_ELF;
    } else if (!ma_elf_is_bounded(out->elf)) {
        state = MA_OBJECT_NO_MEMORY;
    } else {
        const void *found = NULL;
        ssize_t size = dwelf_elf_gnu_build_id(out->elf, &found);
        bool same = size > 0 ? id && (size_t)size == id_size && !memcmp(found, id, id_size) : !id;
        if (same && !id && object)
            same = has_segments(out->elf, object);
        if (same)
            return MA_OBJECT_SYMBOLS;
        state = MA_OBJECT_MISMATCH;
    }
    if (out->elf)
        elf_end(out->elf);
    out->elf = NULL;
    return state;
}

/* The search for one file: the first that fits wins, else the most telling failure. */
struct search {
    const unsigned char *id;
    size_t id_size;
    const struct ma_object *object; /* NULL: its debug file */
    const struct ma_elf *main;      /* whose debug file; NULL or not open: not known */
    const GElf_Word *crc;           /* that a debug file without a build-id must have, or NULL */
    enum ma_object_state state;
    struct ma_elf found;
};

/* The CRC-32 of a whole file, as .gnu_debuglink has it. */
static bool crc_matches(Elf *elf, uint32_t wanted)
{
    size_t size;
    const unsigned char *at = (const unsigned char *)elf_rawfile(elf, &size);
    if (!at)
        return false;
    uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
        table[i] = value;
    }
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ at[i]) & 0xff];
    return ~crc == wanted;
}

/* A debug file may have the object's own name: the object itself, which the same places hold,
 * is not one, nor is a file with another checksum. */
static bool is_wanted(const struct search *search, const struct ma_elf *file)
{
    const struct ma_elf *main = search->main;
    return !(main && main->elf && main->device == file->device && main->inode == file->inode) &&
           (!search->crc || crc_matches(file->elf, *search->crc));
}

static bool try_path(struct search *search, const char *root, const char *path)
{
    struct ma_elf file;
    enum ma_object_state state =
        open_candidate(root, path, search->id, search->id_size, search->object, &file);
    if (state == MA_OBJECT_SYMBOLS && !is_wanted(search, &file))
        state = MA_OBJECT_NOT_FOUND;
    if (state == MA_OBJECT_SYMBOLS || (state > search->state && file.path)) {
        ma_elf_close(&search->found);
        search->found = file;
        search->state = state;
    } else {
        ma_elf_close(&file);
    }
    return search->state == MA_OBJECT_SYMBOLS;
}

static bool try_joined(struct search *search, const char *root, const char *a, const char *b,
                       const char *c)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s%s", a, b, c ? "/" : "", c ? c : "") < 0)
        return false;
    bool found = try_path(search, root, path);
    free(path);
    return found;
}

/* "xx/yyyy" of a build-id into `name`; false if it has no sensible length. */
static bool id_name(const unsigned char *id, size_t size, char name[2 * MAX_BUILD_ID + 2])
{
    if (!id || size < 2 || size > MAX_BUILD_ID)
        return false;
    char *at = name + sprintf(name, "%02x/", id[0]);
    for (size_t i = 1; i < size; i++)
        at += sprintf(at, "%02x", id[i]);
    return true;
}

/* The places for files named by build-id, with `suffix` after the name. */
static bool try_build_id(struct search *search, const struct ma_symbol_places *places,
                         const char *suffix)
{
    char id[2 * MAX_BUILD_ID + 2], name[sizeof(id) + 32];
    if (!id_name(search->id, search->id_size, id))
        return false;
    snprintf(name, sizeof(name), ".build-id/%s%s", id, suffix);
    for (size_t i = 0; i < places->options->n_debug_dirs; i++)
        if (try_joined(search, NULL, places->options->debug_dirs[i], name, NULL))
            return true;
    if (places->options->sysroot &&
        try_joined(search, places->options->sysroot, debug_root, name, NULL))
        return true;
    return try_joined(search, NULL, debug_root, name, NULL);
}

static bool try_fetched(struct search *search, const struct ma_symbol_places *places)
{
    char *path = ma_fetch_debug(places->fetcher, search->id, search->id_size);
    bool found = path && try_path(search, NULL, path);
    free(path);
    return found;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void search_object(struct search *search, const struct ma_symbol_places *places,
                          const char *path)
{
    for (size_t i = 0; i < places->options->n_debug_dirs; i++) {
        const char *dir = places->options->debug_dirs[i];
        if (try_joined(search, NULL, dir, path, NULL) ||
            try_joined(search, NULL, dir, base_name(path), NULL))
            return;
    }
    try_path(search, places->options->sysroot, path);
}

/* The name, to free, that a file had when it was mapped: without the kernel's word for an
 * unlinked one, whose place a new one may have; its build-id tells. NULL without memory. */
static char *file_name(const char *path)
{
    static const char deleted[] = " (deleted)";
    size_t n = strlen(path), cut = sizeof(deleted) - 1;
    return strndup(path, n > cut && !strcmp(path + n - cut, deleted) ? n - cut : n);
}

enum ma_object_state ma_elf_open_object(const struct ma_symbol_places *places,
                                        const struct ma_object *object, struct ma_elf *out)
{
    struct search search = {.id = object->build_id_size ? object->build_id : NULL,
                            .id_size = object->build_id_size,
                            .object = object,
                            .state = MA_OBJECT_NOT_FOUND};
    char *path = object->path ? file_name(object->path) : NULL;
    /* Relative names would be looked for in the analyst's own directory. What the kernel makes
     * up under a name (/proc/self/exe, /dev/fd/3) is another file to each who asks. */
    if (path && ma_place_is_special(path)) {
        search.state = MA_OBJECT_NOT_REGULAR;
        search.found.path = strdup(path);
    } else if (path && path[0] == '/') {
        search_object(&search, places, path);
    }
    free(path);
    if (search.state != MA_OBJECT_SYMBOLS)
        try_build_id(&search, places, "");
    *out = search.found;
    return search.state;
}

static bool try_link(struct search *search, const struct ma_symbol_places *places,
                     const char *directory, const char *name)
{
    const char *root = places->options->sysroot;
    for (size_t i = 0; i < places->options->n_debug_dirs; i++)
        if (try_joined(search, NULL, places->options->debug_dirs[i], name, NULL) ||
            try_joined(search, NULL, places->options->debug_dirs[i], directory, name))
            return true;
    char *beside = join(debug_root, directory);
    bool found = try_joined(search, root, directory, name, NULL) ||
                 try_joined(search, root, directory, ".debug", name) ||
                 (beside && root && try_joined(search, root, beside, name, NULL)) ||
                 (beside && try_joined(search, NULL, beside, name, NULL));
    free(beside);
    return found;
}

/* The file that the link `name` means to an object that lies at `path`. */
static bool try_link_at(struct search *search, const struct ma_symbol_places *places,
                        const char *path, const char *name)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    char *directory = slash ? strndup(path, (size_t)(slash - path)) : NULL;
    bool found = directory && try_link(search, places, directory, name);
    free(directory);
    return found;
}

bool ma_elf_open_debug(const struct ma_symbol_places *places, const struct ma_object *object,
                       const struct ma_elf *main, struct ma_elf *out)
{
    GElf_Word crc;
    struct search search = {.id = object->build_id_size ? object->build_id : NULL,
                            .id_size = object->build_id_size,
                            .main = main,
                            .state = MA_OBJECT_NOT_FOUND};
    bool found = search.id && try_build_id(&search, places, ".debug");
    const char *name = !found && main->elf ? dwelf_elf_gnu_debuglink(main->elf, &crc) : NULL;
    if (name && *name && !strchr(name, '/')) {
        /* Where the object was mapped from, or, packed elsewhere, where it lies; then its
         * real place, if symbolic links led there. */
        bool mapped = object->path && *object->path == '/' && !ma_place_is_special(object->path);
        const char *path = mapped ? object->path : main->path;
        search.crc = search.id ? NULL : &crc;
        found = try_link_at(&search, places, path, name);
        char *real = found || places->options->sysroot ? NULL : realpath(main->path, NULL);
        if (real && strcmp(real, path))
            found = try_link_at(&search, places, real, name);
        free(real);
        search.crc = NULL;
    }
    found = found || try_fetched(&search, places);
    if (!found)
        ma_elf_close(&search.found);
    *out = search.found;
    return found;
}

bool ma_elf_open_alternate(const struct ma_symbol_places *places, const struct ma_elf *holder,
                           const char *name, const unsigned char *id, size_t id_size,
                           struct ma_elf *out)
{
    struct search search = {.id = id, .id_size = id_size, .state = MA_OBJECT_NOT_FOUND};
    bool found = try_build_id(&search, places, ".debug");
    if (!found && name[0] == '/') {
        found = (places->options->sysroot && try_path(&search, places->options->sysroot, name)) ||
                try_path(&search, NULL, name);
    } else if (!found && name[0] && holder->path && strchr(holder->path, '/')) {
        /* Relative to the real place of the file that names it. */
        char *real = realpath(holder->path, NULL);
        if (real) {
            *strrchr(real, '/') = 0;
            found = try_joined(&search, NULL, real, name, NULL);
        }
        free(real);
    }
    found = found || try_fetched(&search, places);
    if (!found)
        ma_elf_close(&search.found);
    *out = search.found;
    return found;
}

static Elf_Scn *find_section(Elf *elf, const char *name, GElf_Shdr *header)
{
    size_t names;
    if (elf_getshdrstrndx(elf, &names) != 0)
        return NULL;
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section; section = elf_nextscn(elf, section)) {
        if (!gelf_getshdr(section, header))
            continue;
        const char *its_name = elf_strptr(elf, names, header->sh_name);
        if (its_name && !strcmp(its_name, name))
            return section;
    }
    return NULL;
}

bool ma_elf_has_section(Elf *elf, const char *name)
{
    GElf_Shdr header;
    return find_section(elf, name, &header) && header.sh_type != SHT_NOBITS && header.sh_size;
}

bool ma_elf_open_packed(const struct ma_elf *main, struct ma_elf *out)
{
    *out = (struct ma_elf){0};
#ifdef MA_HAVE_LZMA
    GElf_Shdr header;
    Elf_Scn *section = find_section(main->elf, ".gnu_debugdata", &header);
    Elf_Data *data = section && header.sh_type != SHT_NOBITS ? elf_rawdata(section, NULL) : NULL;
    if (!data || !data->d_buf)
        return false;
    /* The unpacked size is not known beforehand: grow until it fits or is too much. */
    for (size_t room = 4 * data->d_size + 65536; room <= MAX_UNPACKED; room *= 4) {
        uint64_t memory = MAX_UNPACK_MEMORY;
        size_t in = 0, size = 0;
        out->memory = malloc(room);
        if (!out->memory)
            return false;
        lzma_ret got = lzma_stream_buffer_decode(&memory, 0, NULL, data->d_buf, &in, data->d_size,
                                                 (uint8_t *)out->memory, &size, room);
        if (got == LZMA_OK) {
            out->elf = elf_memory(out->memory, size);
            if (out->elf && elf_kind(out->elf) == ELF_K_ELF)
                return true;
        }
        ma_elf_close(out);
        if (got != LZMA_BUF_ERROR)
            return false;
    }
#else
    (void)main;
#endif
    return false;
}
