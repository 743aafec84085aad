-- SPDX-License-Identifier: MIT
--
-- The database that `mlog sql TRACE -o FILE` and `mlog-analyze --export=sqlite=FILE` make:
-- one run, whole. Times are nanoseconds since the start of the run's first process, unless
-- a name has `wall` in it (nanoseconds since 1970); sizes are bytes; an address is a 64-bit
-- number that may be negative here, and hexadecimal in the views. NULL is "not known", or
-- "has not happened". Texts are the trace's own bytes, which need not be UTF-8.
--
-- user_version counts changes of this file. A reader of version 1 may rely on each table,
-- view and column below; later versions add.

PRAGMA application_id = 1835822951; -- "mlog"
PRAGMA user_version = 1;

-- What the database is: writer, schema_version, trace, filter, blocks (which it has).
CREATE TABLE meta(
    name  TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- One row. Sums are of all blocks, those that `blocks` leaves out included.
CREATE TABLE runs(
    id              TEXT PRIMARY KEY, -- the same for the same trace, wherever it is read
    trace           TEXT,             -- its file, as it was named
    command         TEXT,             -- of the first process, with arguments
    host            TEXT,
    started_wall    INTEGER,          -- when that began
    duration        INTEGER NOT NULL,
    window_from     INTEGER NOT NULL, -- what --from and --to leave of it
    window_to       INTEGER NOT NULL,
    events          INTEGER NOT NULL,
    allocations     INTEGER NOT NULL,
    frees           INTEGER NOT NULL,
    reallocations   INTEGER NOT NULL, -- each of them is an allocation, too, and mostly a free
    failed_calls    INTEGER NOT NULL,
    allocated_bytes INTEGER NOT NULL,
    freed_bytes     INTEGER NOT NULL,
    usable_bytes    INTEGER NOT NULL, -- what the allocator gave for allocated_bytes
    temporary       INTEGER NOT NULL, -- freed before their thread allocated again
    leaked_bytes    INTEGER NOT NULL,
    leaked_blocks   INTEGER NOT NULL,
    peak_bytes      INTEGER NOT NULL, -- of all processes together
    peak_blocks     INTEGER NOT NULL,
    peak_time       INTEGER NOT NULL,
    stacks          INTEGER NOT NULL
);

CREATE TABLE processes(
    id              INTEGER PRIMARY KEY, -- in the order of appearance, from 0
    pid             INTEGER,
    parent_pid      INTEGER,
    parent          INTEGER REFERENCES processes, -- of a fork: whose copy it began as
    executable      TEXT,
    command         TEXT,
    started         INTEGER,
    started_wall    INTEGER,
    ended           INTEGER, -- NULL: the trace has no end of it
    end_how         TEXT,
    end_status      INTEGER,
    allocations     INTEGER NOT NULL,
    frees           INTEGER NOT NULL,
    allocated_bytes INTEGER NOT NULL,
    freed_bytes     INTEGER NOT NULL,
    leaked_bytes    INTEGER NOT NULL,
    leaked_blocks   INTEGER NOT NULL,
    peak_bytes      INTEGER NOT NULL, -- its own peak, whatever others held then
    peak_blocks     INTEGER NOT NULL,
    peak_time       INTEGER
);

CREATE TABLE threads(
    id      INTEGER PRIMARY KEY,
    process INTEGER NOT NULL REFERENCES processes,
    tid     INTEGER,
    name    TEXT,
    started INTEGER,
    ended   INTEGER
);

-- Executables and libraries, each once for all processes.
CREATE TABLE modules(
    id       INTEGER PRIMARY KEY,
    path     TEXT NOT NULL,
    build_id TEXT NOT NULL, -- hexadecimal; empty: it has none
    UNIQUE(path, build_id)
);

-- Where they lay. A forked child has its parent's, too.
CREATE TABLE mappings(
    process  INTEGER NOT NULL REFERENCES processes,
    module   INTEGER NOT NULL REFERENCES modules,
    base     INTEGER NOT NULL, -- address less the address within the file
    loaded   INTEGER,
    unloaded INTEGER
);

-- A frame without a symbol has a function, too, named "module+0xoffset".
CREATE TABLE functions(
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,    -- as reports have it
    linkage TEXT,             -- the symbol that the name was made of
    module  INTEGER REFERENCES modules,
    known   INTEGER NOT NULL, -- 0: there was no symbol
    UNIQUE(name, module)
);

CREATE TABLE frames(
    id       INTEGER PRIMARY KEY,
    function INTEGER NOT NULL REFERENCES functions,
    address  INTEGER NOT NULL, -- as captured, in the first process that had it
    offset   INTEGER NOT NULL, -- in the module's file
    file     TEXT,
    line     INTEGER,
    inlined  INTEGER NOT NULL  -- 1: within the next frame of its stacks
);

-- Stacks that allocated, each once for all processes, with the sums that reports show.
CREATE TABLE stacks(
    id              INTEGER PRIMARY KEY,
    stack_id        TEXT,             -- reports' number, the same in every run and build
    label           TEXT NOT NULL,    -- the function that reports name it by
    function        INTEGER REFERENCES functions, -- the same; NULL: no frames
    file            TEXT,             -- of that function's call
    line            INTEGER,
    own_function    INTEGER REFERENCES functions, -- the innermost of the program's own
    own_file        TEXT,
    own_line        INTEGER,
    depth           INTEGER NOT NULL, -- rows in stack_frames
    path            TEXT NOT NULL,    -- the functions from the outermost in, with ';' between
    allocations     INTEGER NOT NULL,
    allocated_bytes INTEGER NOT NULL,
    temporary       INTEGER NOT NULL,
    leaked_bytes    INTEGER NOT NULL, -- never freed
    leaked_blocks   INTEGER NOT NULL,
    peak_bytes      INTEGER NOT NULL, -- at the run's peak
    peak_blocks     INTEGER NOT NULL,
    own_peak_bytes  INTEGER NOT NULL, -- the most at once in one process, at its own time
    own_peak_blocks INTEGER NOT NULL,
    own_peak_time   INTEGER NOT NULL,
    -- The rest is NULL where nothing leaked.
    suppressed      TEXT,             -- the pattern that hides it from the leaks
    kind            TEXT,             -- growing, unclear, young, plateau, startup
    reason          TEXT,             -- in words
    confidence      REAL,             -- of the kind, 0 to 1
    slope           REAL,             -- bytes a second
    projected       REAL,             -- bytes an hour after the end, if it goes on
    rank            INTEGER,          -- order of kinds in the leaks
    oldest          INTEGER,          -- age at the end
    youngest        INTEGER,
    leak_threads    INTEGER,          -- how many threads it is of
    leak_processes  INTEGER,          -- how many processes
    leak_process    INTEGER REFERENCES processes -- the one with most of it
);

-- depth 0 is the innermost frame, which called the allocator.
CREATE TABLE stack_frames(
    stack INTEGER NOT NULL REFERENCES stacks,
    depth INTEGER NOT NULL,
    frame INTEGER NOT NULL REFERENCES frames,
    PRIMARY KEY(stack, depth)
) WITHOUT ROWID;

-- The sums of stacks by process.
CREATE TABLE process_stacks(
    process         INTEGER NOT NULL REFERENCES processes,
    stack           INTEGER NOT NULL REFERENCES stacks,
    allocations     INTEGER NOT NULL,
    allocated_bytes INTEGER NOT NULL,
    temporary       INTEGER NOT NULL,
    leaked_bytes    INTEGER NOT NULL,
    leaked_blocks   INTEGER NOT NULL,
    peak_bytes      INTEGER NOT NULL, -- at the run's peak
    peak_blocks     INTEGER NOT NULL,
    PRIMARY KEY(process, stack)
) WITHOUT ROWID;

-- The functions of the allocator that were called.
CREATE TABLE calls(
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

-- A row a block, in the order of their ends, those that never ended last. A realloc ends
-- a block and begins another at one moment. Not all ended blocks need be here: meta has
-- `blocks`, and audit counts those left out.
CREATE TABLE blocks(
    id         INTEGER PRIMARY KEY,
    process    INTEGER NOT NULL REFERENCES processes,
    thread     INTEGER NOT NULL REFERENCES threads, -- that allocated it
    stack      INTEGER NOT NULL REFERENCES stacks,
    call       INTEGER NOT NULL REFERENCES calls,
    address    INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    usable     INTEGER NOT NULL,
    born       INTEGER NOT NULL,
    died       INTEGER,                      -- NULL: no end was seen; of blocks from
                                             -- before a pause see unsure_blocks in audit
    end_thread INTEGER REFERENCES threads,   -- that freed it
    end_call   INTEGER REFERENCES calls,     -- NULL of a dead block: its end was not seen
    temporary  INTEGER NOT NULL,             -- 1: freed before the thread allocated again
    weight     INTEGER NOT NULL              -- how many ended blocks it stands for
);

-- Moments that the program named.
CREATE TABLE marks(
    id          INTEGER PRIMARY KEY,
    process     INTEGER NOT NULL REFERENCES processes,
    thread      INTEGER REFERENCES threads,
    time        INTEGER NOT NULL,
    kind        TEXT NOT NULL,    -- point, begin, end
    name        TEXT NOT NULL,
    live_bytes  INTEGER NOT NULL, -- of all processes
    live_blocks INTEGER NOT NULL
);

-- The memory of each process as the kernel counts it, beside its heap, at the first event
-- after each sample.
CREATE TABLE samples(
    process     INTEGER NOT NULL REFERENCES processes,
    time        INTEGER NOT NULL,
    resident    INTEGER NOT NULL,
    live_bytes  INTEGER NOT NULL, -- of the process
    live_blocks INTEGER NOT NULL
);

-- What the trace cannot vouch for, and what this database leaves out; see the audit of
-- reports. Look here before you trust a sum.
CREATE TABLE audit(
    name  TEXT PRIMARY KEY,
    value INTEGER,
    text  TEXT
) WITHOUT ROWID;

-- Indexes, made when all rows are there. None of all blocks: it would take longer than the
-- blocks, and a database that stays can be given one of any column.

CREATE INDEX blocks_live ON blocks(stack, size) WHERE died IS NULL;
CREATE INDEX stack_frames_frame ON stack_frames(frame);
CREATE INDEX frames_function ON frames(function);

-- Views, for questions in one line.

-- mlog-analyze --leaks: growing ones first. Without what is suppressed.
CREATE VIEW leaks AS
SELECT leaked_bytes AS bytes, leaked_blocks AS blocks, allocations AS calls, temporary, kind,
       cast(round(slope) AS INTEGER) AS bytes_per_second, stack_id, label, own.name AS own_function,
       coalesce(own_file, file) AS file, coalesce(own_line, line) AS line, reason, oldest,
       youngest, leak_threads AS threads, leak_processes AS processes, path, stacks.id AS stack
FROM stacks LEFT JOIN functions AS own ON own.id = own_function
WHERE leaked_blocks > 0 AND suppressed IS NULL
ORDER BY rank, CASE WHEN kind = 'growing' THEN projected END DESC, leaked_bytes DESC, stacks.id;

-- mlog-analyze --peak: what the heap was made of at its largest.
CREATE VIEW peak AS
SELECT peak_bytes AS bytes, peak_blocks AS blocks, allocations AS calls, temporary, stack_id,
       label, file, line, own_peak_bytes, own_peak_blocks, own_peak_time, path, id AS stack
FROM stacks
WHERE peak_blocks > 0
ORDER BY peak_bytes DESC, id;

-- What each function allocated itself (self_: it is what stacks are named by), and with
-- all that it called. Functions of one name in one module are one.
CREATE VIEW by_function AS
SELECT functions.name AS function, modules.path AS module,
       sum(iif(stacks.function = functions.id, allocated_bytes, 0)) AS self_bytes,
       sum(iif(stacks.function = functions.id, leaked_bytes, 0)) AS self_leaked_bytes,
       sum(iif(stacks.function = functions.id, peak_bytes, 0)) AS self_peak_bytes,
       sum(allocated_bytes) AS bytes, sum(allocations) AS calls, sum(temporary) AS temporary,
       sum(leaked_bytes) AS leaked_bytes, sum(leaked_blocks) AS leaked_blocks,
       sum(peak_bytes) AS peak_bytes, sum(peak_blocks) AS peak_blocks, count(*) AS stacks
FROM (SELECT DISTINCT stack, function FROM stack_frames JOIN frames ON frames.id = frame) AS has
JOIN stacks ON stacks.id = has.stack
JOIN functions ON functions.id = has.function
LEFT JOIN modules ON modules.id = functions.module
GROUP BY functions.id
ORDER BY bytes DESC, function;

-- The same of executables and libraries.
CREATE VIEW by_module AS
SELECT modules.path AS module, modules.build_id AS build_id,
       sum(iif(label.module = modules.id, allocated_bytes, 0)) AS self_bytes,
       sum(iif(label.module = modules.id, leaked_bytes, 0)) AS self_leaked_bytes,
       sum(iif(label.module = modules.id, peak_bytes, 0)) AS self_peak_bytes,
       sum(allocated_bytes) AS bytes, sum(allocations) AS calls,
       sum(leaked_bytes) AS leaked_bytes, sum(leaked_blocks) AS leaked_blocks,
       sum(peak_bytes) AS peak_bytes, sum(peak_blocks) AS peak_blocks, count(*) AS stacks
FROM (SELECT DISTINCT stack, module FROM stack_frames JOIN frames ON frames.id = frame
      JOIN functions ON functions.id = frames.function) AS has
JOIN stacks ON stacks.id = has.stack
JOIN modules ON modules.id = has.module
LEFT JOIN functions AS label ON label.id = stacks.function
GROUP BY modules.id
ORDER BY bytes DESC, modules.path;

-- Stacks that hold more and more.
CREATE VIEW growth AS
SELECT cast(round(slope) AS INTEGER) AS bytes_per_second, leaked_bytes AS bytes, leaked_blocks AS blocks,
       cast(projected AS INTEGER) AS in_an_hour, confidence, stack_id, label, reason, path,
       id AS stack
FROM stacks
WHERE kind = 'growing' AND suppressed IS NULL
ORDER BY projected DESC, id;

-- Stacks whose blocks are freed before their thread allocates again: they could do without.
CREATE VIEW temporary AS
SELECT temporary AS blocks, allocations AS calls,
       round(100.0 * temporary / allocations, 1) AS percent, allocated_bytes AS bytes, stack_id,
       label, file, line, path, id AS stack
FROM stacks
WHERE temporary > 0
ORDER BY temporary DESC, id;

-- mlog-analyze --churn: bytes allocated and freed.
CREATE VIEW churn AS
SELECT 2 * allocated_bytes - leaked_bytes AS bytes, allocations, allocated_bytes,
       allocations - leaked_blocks AS frees, allocated_bytes - leaked_bytes AS freed_bytes,
       stack_id, label, path, id AS stack
FROM stacks
ORDER BY bytes DESC, id;

-- Blocks with names for their numbers.
CREATE VIEW block_list AS
SELECT blocks.id AS block, printf('0x%x', address) AS address, size, usable,
       calls.name AS call, born, died, died - born AS lived, ends.name AS end_call,
       processes.pid AS pid, threads.tid AS tid, enders.tid AS end_tid,
       (SELECT started_wall FROM runs) + born AS born_wall, blocks.temporary AS temporary,
       weight, label, stack_id, stack
FROM blocks
JOIN stacks ON stacks.id = stack
JOIN calls ON calls.id = call
JOIN processes ON processes.id = blocks.process
JOIN threads ON threads.id = blocks.thread
LEFT JOIN calls AS ends ON ends.id = end_call
LEFT JOIN threads AS enders ON enders.id = end_thread;

-- The frames of stacks in words: ... WHERE stack = 17.
CREATE VIEW frame_list AS
SELECT stack, depth, functions.name AS function, file, line, modules.path AS module,
       printf('0x%x', address) AS address, printf('0x%x', offset) AS offset, inlined
FROM stack_frames
JOIN frames ON frames.id = frame
JOIN functions ON functions.id = function
LEFT JOIN modules ON modules.id = functions.module
ORDER BY stack, depth;
