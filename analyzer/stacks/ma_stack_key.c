/* SPDX-License-Identifier: MIT
 *
 * Numbers of stacks; see ma_stack_key.h. The hash is FNV-1a, whose result is not keyed: it
 * has to be the same for ever.
 */
#include "ma_stack_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_demangle.h"

#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u
#define LEAST_DIGITS 4

size_t ma_key_source_length(const char *function)
{
    static const char *const clones[] = {".constprop.", ".isra.", ".part.", ".cold",
                                         ".lto_priv.",  ".llvm.", " [clone"};
    size_t length = strlen(function);
    for (size_t i = 0; i < sizeof clones / sizeof *clones; i++) {
        const char *at = strstr(function, clones[i]);
        if (at && at > function && (size_t)(at - function) < length)
            length = (size_t)(at - function);
    }
    return length;
}

size_t ma_key_module_length(const char *name)
{
    const char *version = strstr(name, ".so");
    return version ? (size_t)(version - name) : strlen(name);
}

size_t ma_key_depth(const struct ma_frame *frames, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        if (frames[i].function && strcmp(frames[i].function, "main") == 0)
            return i + 1;
    }
    return n;
}

static uint64_t add(uint64_t hash, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * FNV_PRIME;
    return hash;
}

static int add_function(uint64_t *hash, const struct ma_frame *frame)
{
    char offset[24];
    if (!frame->function) {
        snprintf(offset, sizeof offset, "+%llx", (unsigned long long)frame->offset);
        *hash = add(*hash, offset, strlen(offset));
        return 0;
    }
    /* A whole name, by --full-names, is shortened as it would have been without. */
    char *name =
        strchr(frame->function, '(') && frame->linkage ? ma_demangle(frame->linkage, false) : NULL;
    if (!name && !(name = strdup(frame->function)))
        return -ENOMEM;
    *hash = add(*hash, name, ma_key_source_length(name));
    free(name);
    return 0;
}

int ma_stack_key(struct ma_stacks *stacks, uint32_t stack, uint64_t *key)
{
    const struct ma_frame *frames;
    long n = ma_stacks_frames(stacks, stack, &frames);
    uint64_t hash = FNV_BASIS;
    int result = n < 0 ? -ENOMEM : 0;
    const size_t depth = n > 0 ? ma_key_depth(frames, (size_t)n) : 0;
    for (size_t i = 0; i < depth && result == 0; i++) {
        const char *module = frames[i].module ? frames[i].module : "?";
        const char *slash = strrchr(module, '/');
        const char *name = frames[i].executable ? "*" : slash && slash[1] ? slash + 1 : module;
        result = add_function(&hash, &frames[i]);
        hash = add(hash, "\1", 1);
        hash = add(hash, name, ma_key_module_length(name));
        hash = add(hash, "\2", 1);
    }
    *key = hash;
    return result;
}

const char *ma_stack_key_text(uint64_t key, char buffer[MA_KEY_SIZE])
{
    snprintf(buffer, MA_KEY_SIZE, "%012llx", (unsigned long long)(key >> (64 - 4 * MA_KEY_DIGITS)));
    return buffer;
}

bool ma_stack_key_is_valid(const char *text)
{
    const size_t n = strspn(text, "0123456789abcdef");
    return !text[n] && n >= LEAST_DIGITS && n <= MA_KEY_DIGITS;
}
