/* SPDX-License-Identifier: MIT
 *
 * The environment of libmlog-tlsf.so, and its lines on standard error. Read once,
 * perhaps before libc knows the environment; nothing here allocates.
 */
#ifndef AL_SETTINGS_H
#define AL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

struct al_settings {
    size_t initial, additional; /* bytes of pools, multiples of a page */
    bool per_thread;            /* MLOG_TLSF_POOLS=thread */
    bool prefault, lock, quiet;
};

/* Read it; what cannot be understood is said, and left at its default. */
void al_settings_read(struct al_settings *settings);

/* The bytes that a text tells: a number, with K, M or G behind it. Returns false if it
 * tells none, or none that a pool may have. */
bool al_size_parse(const char *text, size_t *size);

/* A line for standard error. */
struct al_text {
    char bytes[400];
    size_t size;
};
void al_text_add(struct al_text *text, const char *more);
void al_text_add_size(struct al_text *text, size_t bytes); /* "100M", or "123 bytes" */
void al_text_say(struct al_text *text);

#endif
