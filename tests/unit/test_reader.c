/* SPDX-License-Identifier: MIT
 *
 * Reading a file while it is written, one step at a time: what the writers do
 * between two looks of the reader is done here, so that nothing is left to chance.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ma_merge.h"
#include "tap.h"

enum { UNIT = 4096, UNITS = 64 };

/* A mapped trace, as its writers have it. */
struct file {
    unsigned char *map;
    int fd;
    struct mlf_crc_table crc;
};

static void claim(struct file *file, uint64_t units)
{
    mlf_put_u64(file->map + MLF_HDR_CLAIMED, units);
}

static bool make_file(struct file *file, uint64_t claimed)
{
    char path[] = "/tmp/mlog-reader-XXXXXX";
    mlf_crc_table_fill(&file->crc);
    file->fd = mkstemp(path);
    if (file->fd < 0 || unlink(path) || ftruncate(file->fd, (off_t)UNITS * UNIT))
        return false;
    file->map = mmap(NULL, (size_t)UNITS * UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (file->map == MAP_FAILED)
        return false;
    unsigned char *p = file->map;
    memcpy(p, MLF_MAGIC, MLF_MAGIC_SIZE);
    mlf_put_u16(p + MLF_HDR_MAJOR, MLF_MAJOR);
    p[MLF_HDR_LAYOUT] = MLF_LAYOUT_MAPPED;
    p[MLF_HDR_UNIT_LOG2] = 12;
    mlf_put_u16(p + MLF_HDR_HEADER_SIZE, MLF_HDR_SIZE);
    mlf_put_u32(p + MLF_HDR_CRC, mlf_crc32(&file->crc, 0, p, MLF_HDR_CRC));
    mlf_put_u64(p + MLF_HDR_RESERVED, (uint64_t)UNITS * UNIT);
    claim(file, claimed);
    return true;
}

static void remove_file(struct file *file)
{
    munmap(file->map, (size_t)UNITS * UNIT);
    close(file->fd);
}

/* Begin the first chunk of an events stream of process 1, in a claimed unit. Returns its
 * payload. */
static unsigned char *begin_chunk(struct file *file, unsigned unit, uint32_t stream, uint64_t time)
{
    unsigned char *p = file->map + (size_t)(unit + 1) * UNIT;
    mlf_put_u32(p + MLF_CHUNK_MAGIC_AT, MLF_CHUNK_MAGIC);
    p[MLF_CHUNK_KIND] = MLF_EVENTS;
    mlf_put_u16(p + MLF_CHUNK_HEADER_SIZE, MLF_CHUNK_HEADER);
    mlf_put_u32(p + MLF_CHUNK_SIZE_AT, UNIT);
    mlf_put_u64(p + MLF_CHUNK_PROCESS, 1);
    mlf_put_u32(p + MLF_CHUNK_STREAM, stream);
    mlf_put_u64(p + MLF_CHUNK_BASE_TIME, time);
    mlf_put_u32(p + MLF_CHUNK_CRC, mlf_crc32(&file->crc, 0, p, MLF_CHUNK_CRC));
    return p + MLF_CHUNK_HEADER;
}

/* A FREE, `ticks` after what is before it. */
static unsigned char *put_free(unsigned char *at, uint64_t ticks)
{
    unsigned char *p = mlf_put_vu(at + 1, mlf_zigzag(1));
    p = mlf_put_vu(p, ticks);
    *at = MLF_EV_FREE | MLF_ADDR_DELTA;
    return p;
}

/* A reading of it, and the times of the events that came out. */
struct reading {
    struct ma_trace trace;
    struct ma_source *source;
    struct ma_merge merge;
    uint64_t times[16];
    size_t n;
};

static bool begin_reading(struct reading *reading, const struct file *file)
{
    struct ma_error error;
    *reading = (struct reading){0};
    ma_trace_init(&reading->trace);
    if (ma_source_open_fd(file->fd, "t", &reading->source, &error) < 0 ||
        ma_merge_init(&reading->merge, &reading->trace, reading->source, &error) < 0)
        return false;
    reading->merge.ahead = 1; /* what may go goes, before more is read */
    return true;
}

static bool read_run(struct reading *reading)
{
    struct ma_run run;
    if (ma_merge_next(&reading->merge, 1, &run) <= 0)
        return false;
    for (size_t i = 0; i < run.n && reading->n < 16; i++)
        reading->times[reading->n++] = run.events[i].time;
    return true;
}

static void end_reading(struct reading *reading)
{
    ma_merge_free(&reading->merge);
    ma_source_close(reading->source);
    ma_trace_free(&reading->trace);
}

/* Four units are claimed, but the writer of the second was stopped before it began its
 * chunk. The event at 10 goes once the reader has passed that unit. */
static void test_a_chunk_that_is_begun_once_it_was_passed(void)
{
    for (int begun = 0; begun < 2; begun++) {
        struct file file;
        struct reading reading;
        if (!CHECK(make_file(&file, 4), "a trace is made"))
            return;
        put_free(begin_chunk(&file, 0, 1, 5), 5);
        unsigned char *last = begin_chunk(&file, 2, 2, 100);
        last = put_free(last, 20);
        begin_chunk(&file, 3, 3, 110);
        if (!CHECK(begin_reading(&reading, &file) && read_run(&reading) && reading.times[0] == 10,
                   "the first event goes while more is to be read"))
            return;
        if (begun)
            put_free(begin_chunk(&file, 1, 4, 90), 50);
        put_free(last, 30);
        while (read_run(&reading))
            ;
        if (begun)
            CHECK(reading.n == 1, "no event goes that is behind those of a chunk not read");
        else
            CHECK(reading.n == 3 && reading.times[1] == 120 && reading.times[2] == 150,
                  "a unit that stays empty holds back nothing");
        CHECK(ma_reader_grew(&reading.merge.reader) == begun, "what grew is known");
        end_reading(&reading);
        remove_file(&file);
    }
}

/* The counter of a trace may be older than its chunks; but where it counts, what stands
 * behind zeros that were passed may be older than what comes to stand there. */
static void test_chunks_behind_what_is_claimed(void)
{
    for (int counts = 0; counts < 2; counts++) {
        struct file file;
        struct reading reading;
        struct ma_chunk chunk;
        if (!CHECK(make_file(&file, 1), "a trace is made"))
            return;
        begin_chunk(&file, 0, 1, 5);
        begin_chunk(&file, 2, 2, 100);
        begin_chunk(&file, 3, 3, 110);
        if (!CHECK(begin_reading(&reading, &file), "it is read"))
            return;
        struct ma_reader *reader = &reading.merge.reader;
        CHECK(ma_reader_next(reader, &chunk) && chunk.stream == 1 &&
                  ma_reader_next(reader, &chunk) && chunk.stream == 2,
              "chunks behind what is claimed are read, and those behind zeros");
        if (counts)
            claim(&file, 4);
        bool more = ma_reader_next(reader, &chunk);
        CHECK(more == !counts,
              counts ? "where units are claimed by now, none is" : "so is the next");
        end_reading(&reading);
        remove_file(&file);
    }
}

/* The file was made longer between its opening and the reading of its header. */
static void test_a_file_that_grows_as_it_is_opened(void)
{
    for (int grows = 0; grows < 2; grows++) {
        struct file file;
        struct reading reading;
        struct ma_chunk chunk;
        if (!CHECK(make_file(&file, UNITS + 1), "a trace is made"))
            return;
        for (unsigned unit = 0; unit < UNITS - 1; unit++)
            begin_chunk(&file, unit, unit + 1, unit);
        if (!CHECK(begin_reading(&reading, &file), "it is read"))
            return;
        if (grows && !CHECK(ftruncate(file.fd, (off_t)(UNITS + 4) * UNIT) == 0, "it grows"))
            return;
        while (ma_reader_next(&reading.merge.reader, &chunk))
            ;
        CHECK(ma_reader_grew(&reading.merge.reader) == grows,
              "what is claimed and behind the end is being written if the file grew");
        end_reading(&reading);
        remove_file(&file);
    }
}

int main(void)
{
    test_a_chunk_that_is_begun_once_it_was_passed();
    test_chunks_behind_what_is_claimed();
    test_a_file_that_grows_as_it_is_opened();
    return TAP_DONE();
}
