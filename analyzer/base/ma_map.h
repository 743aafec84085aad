/* SPDX-License-Identifier: MIT
 *
 * Small containers: growing arrays by macro, and an open-addressing map
 * from 64-bit keys to 32-bit values (indices into such arrays). Keys come from
 * traces, so the hash is mixed well, with a key of its own in every run: nobody
 * can aim for collisions. A growth that fails leaves the container as it was.
 */
#ifndef MA_MAP_H
#define MA_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define MA_NONE UINT32_MAX /* no index */

struct ma_map {
    uint64_t *keys;
    uint32_t *values; /* MA_NONE: empty slot */
    size_t capacity;  /* a power of two, or 0 */
    size_t count;
};

extern uint64_t ma_map_key; /* random; set before main begins */

static inline uint64_t ma_mix(uint64_t x)
{
    x ^= ma_map_key;
    x ^= x >> 32;
    x *= 0xe9846af9b1a615dull;
    x ^= x >> 32;
    x *= 0xe9846af9b1a615dull;
    x ^= x >> 28;
    return x;
}

/* The value of key, or MA_NONE. */
static inline uint32_t ma_map_get(const struct ma_map *map, uint64_t key)
{
    if (!map->capacity)
        return MA_NONE;
    size_t mask = map->capacity - 1;
    for (size_t i = (size_t)ma_mix(key) & mask;; i = (i + 1) & mask) {
        if (map->values[i] == MA_NONE || map->keys[i] == key)
            return map->values[i];
    }
}

/* Set key to value (not MA_NONE). Returns 0 or -ENOMEM. */
int ma_map_set(struct ma_map *map, uint64_t key, uint32_t value);
void ma_map_free(struct ma_map *map);

/* Make room for one more element in an array of `count` used of `capacity`.
 * Returns the array (moved perhaps), or NULL with everything unchanged. */
void *ma_grow(void *array, size_t count, size_t *capacity, size_t element_size);

/* True if the array has room for one more element, after growing if need be.
 * array and capacity (a size_t) are lvalues. */
#define MA_RESERVE(array, count, capacity)                                                         \
    ((count) < (capacity) || ({                                                                    \
         void *grown_ = ma_grow((array), (count), &(capacity), sizeof *(array));                   \
         if (grown_)                                                                               \
             (array) = grown_;                                                                     \
         grown_ != NULL;                                                                           \
     }))

/* Have an array of *capacity elements hold one of this index; new ones are `fill` in
 * every byte. Returns as ma_grow. */
void *ma_enlarge(void *array, size_t index, size_t *capacity, size_t element_size, int fill);

/* True if the array holds it, after enlarging it if need be; new elements are zero.
 * array and capacity (a size_t) are lvalues. */
#define MA_HOLDS(array, index, capacity) MA_HOLDS_FILLED(array, index, capacity, 0)

/* The same of an array of uint32_t, whose new elements are MA_NONE. */
#define MA_HOLDS_NUMBER(array, index, capacity) MA_HOLDS_FILLED(array, index, capacity, 0xff)

#define MA_HOLDS_FILLED(array, index, capacity, fill)                                              \
    ((size_t)(index) < (capacity) || ({                                                            \
         void *grown_ = ma_enlarge((array), (index), &(capacity), sizeof *(array), (fill));        \
         if (grown_)                                                                               \
             (array) = grown_;                                                                     \
         grown_ != NULL;                                                                           \
     }))

#endif
