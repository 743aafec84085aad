/* SPDX-License-Identifier: MIT
 *
 * dlopen and dlmopen, in front of a libc that looks at who calls them: glibc's takes
 * the caller's RUNPATH and namespace. So we are not the caller: a few instructions
 * note the call and jump on, with the return address as it was. MLOG_DEEPBIND=drop
 * takes a flag out of the arguments on the way.
 */
#include <dlfcn.h>

#include "lt_bypass.h"
#include "lt_config.h"
#include "lt_real.h"

#ifdef __GLIBC__

enum { OPEN, MOPEN };
static void *resolved[2];

static void *next_of(unsigned function)
{
    return lt_real_symbol(function == MOPEN ? "dlmopen" : "dlopen");
}

__attribute__((constructor)) static void resolve(void)
{
    for (unsigned i = OPEN; i <= MOPEN; i++)
        resolved[i] = next_of(i);
}

/* Returns where to jump. arguments: those of the call, as they will be passed on. */
__attribute__((used, visibility("hidden"))) void *lt_opening(uintptr_t *arguments,
                                                             unsigned function);
void *lt_opening(uintptr_t *arguments, unsigned function)
{
    uintptr_t *mode = &arguments[function == MOPEN ? 2 : 1];
    if (lt_page.active != LT_OFF) {
        if (lt_config.drop_deepbind)
            *mode &= ~(uintptr_t)RTLD_DEEPBIND;
        lt_bypass_note_opened(function == MOPEN && arguments[0] != LM_ID_BASE ? LT_OPENED_NAMESPACE
                              : *mode & RTLD_DEEPBIND                         ? LT_OPENED_DEEPBIND
                                                                              : LT_OPENED);
    }
    return resolved[function] ? resolved[function] : next_of(function);
}

#if defined(__x86_64__)
#define LT_JUMP(name, number)                                                                      \
    "endbr64\n\t"                                                                                  \
    "pushq %rdx\n\t.cfi_adjust_cfa_offset 8\n\t"                                                   \
    "pushq %rsi\n\t.cfi_adjust_cfa_offset 8\n\t"                                                   \
    "pushq %rdi\n\t.cfi_adjust_cfa_offset 8\n\t"                                                   \
    "movq %rsp, %rdi\n\t"                                                                          \
    "movl $" number ", %esi\n\t"                                                                   \
    "call lt_opening\n\t"                                                                          \
    "popq %rdi\n\t.cfi_adjust_cfa_offset -8\n\t"                                                   \
    "popq %rsi\n\t.cfi_adjust_cfa_offset -8\n\t"                                                   \
    "popq %rdx\n\t.cfi_adjust_cfa_offset -8\n\t"                                                   \
    "jmp *%rax\n\t"
#elif defined(__i386__) /* the arguments lie behind the return address */
#define LT_JUMP(name, number)                                                                      \
    "leal 4(%esp), %eax\n\t"                                                                       \
    "subl $4, %esp\n\t.cfi_adjust_cfa_offset 4\n\t"                                                \
    "pushl $" number "\n\t.cfi_adjust_cfa_offset 4\n\t"                                            \
    "pushl %eax\n\t.cfi_adjust_cfa_offset 4\n\t"                                                   \
    "call lt_opening\n\t"                                                                          \
    "addl $12, %esp\n\t.cfi_adjust_cfa_offset -12\n\t"                                             \
    "jmp *%eax\n\t"
#elif defined(__aarch64__)
#define LT_JUMP(name, number)                                                                      \
    "hint #34\n\t" /* bti c */                                                                     \
    "stp x29, x30, [sp, #-48]!\n\t.cfi_adjust_cfa_offset 48\n\t"                                   \
    ".cfi_rel_offset x29, 0\n\t.cfi_rel_offset x30, 8\n\t"                                         \
    "mov x29, sp\n\t"                                                                              \
    "stp x0, x1, [sp, #16]\n\t"                                                                    \
    "str x2, [sp, #32]\n\t"                                                                        \
    "add x0, sp, #16\n\t"                                                                          \
    "mov w1, #" number "\n\t"                                                                      \
    "bl lt_opening\n\t"                                                                            \
    "mov x16, x0\n\t"                                                                              \
    "ldp x0, x1, [sp, #16]\n\t"                                                                    \
    "ldr x2, [sp, #32]\n\t"                                                                        \
    "ldp x29, x30, [sp], #48\n\t.cfi_adjust_cfa_offset -48\n\t"                                    \
    ".cfi_restore x29\n\t.cfi_restore x30\n\t"                                                     \
    "br x16\n\t"
#endif
#define LT_FUNCTION(name, number)                                                                  \
    __asm__(".text\n\t.balign 16\n\t.globl " name "\n\t.type " name ", %function\n" name           \
            ":\n\t.cfi_startproc\n\t" LT_JUMP(name, number) ".cfi_endproc\n\t.size " name          \
                                                            ", .-" name "\n\t")
LT_FUNCTION("dlopen", "0");
LT_FUNCTION("dlmopen", "1");

#endif
