/* SPDX-License-Identifier: MIT
 *
 * The growing half of ma_map.h.
 */
#include "ma_map.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "ma_pages.h"

uint64_t ma_map_key;

__attribute__((constructor)) static void choose_key(void)
{
    if (getrandom(&ma_map_key, sizeof ma_map_key, GRND_NONBLOCK) != sizeof ma_map_key)
        ma_map_key = (uint64_t)(uintptr_t)&ma_map_key; /* the loader's choice */
}

static void map_insert(struct ma_map *map, uint64_t key, uint32_t value)
{
    size_t mask = map->capacity - 1;
    size_t i = (size_t)ma_mix(key) & mask;
    while (map->values[i] != MA_NONE && map->keys[i] != key)
        i = (i + 1) & mask;
    map->count += map->values[i] == MA_NONE;
    map->keys[i] = key;
    map->values[i] = value;
}

static int map_grow(struct ma_map *map)
{
    const size_t capacity = map->capacity ? map->capacity * 2 : 16;
    struct ma_map larger = {.capacity = capacity};
    larger.keys = ma_pages_new(capacity * sizeof *larger.keys);
    larger.values = ma_pages_new(capacity * sizeof *larger.values);
    if (!larger.keys || !larger.values) {
        ma_map_free(&larger);
        return -ENOMEM;
    }
    memset(larger.values, 0xff, capacity * sizeof *larger.values);
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->values[i] != MA_NONE)
            map_insert(&larger, map->keys[i], map->values[i]);
    }
    ma_map_free(map);
    *map = larger;
    return 0;
}

int ma_map_set(struct ma_map *map, uint64_t key, uint32_t value)
{
    if (map->count >= map->capacity - map->capacity / 4 && map_grow(map) < 0)
        return -ENOMEM;
    map_insert(map, key, value);
    return 0;
}

void ma_map_free(struct ma_map *map)
{
    if (map->keys)
        ma_pages_free(map->keys, map->capacity * sizeof *map->keys);
    if (map->values)
        ma_pages_free(map->values, map->capacity * sizeof *map->values);
    *map = (struct ma_map){0};
}

void *ma_grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
    size_t larger = count ? count + count / 2 + 1 : 8;
    void *grown;
    if (__builtin_mul_overflow(larger, element_size, &element_size))
        return NULL;
    grown = realloc(array, element_size);
    if (grown)
        *capacity = larger;
    return grown;
}

void *ma_enlarge(void *array, size_t index, size_t *capacity, size_t element_size, int fill)
{
    const size_t n = index + index / 2 + 4;
    size_t size;
    char *grown;
    if (__builtin_mul_overflow(n, element_size, &size) || !(grown = realloc(array, size)))
        return NULL;
    memset(grown + *capacity * element_size, fill, (n - *capacity) * element_size);
    *capacity = n;
    return grown;
}
