/* SPDX-License-Identifier: MIT
 *
 * Keeping of ma_audit.h. Ranges beyond the bound are counted but not listed,
 * so that a hostile trace cannot make the list grow.
 */
#include "ma_audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ma_record.h"

void ma_audit_init(struct ma_audit *audit)
{
    memset(audit, 0, sizeof *audit);
    audit->truncated_at = UINT64_MAX;
}

void ma_audit_skip(struct ma_audit *audit, uint64_t offset, uint64_t bytes, const char *format, ...)
{
    if (!bytes)
        return;
    audit->skipped_ranges++;
    audit->skipped_bytes += bytes;
    if (audit->n_skipped == MA_SKIPPED_MAX)
        return;
    struct ma_skipped *skipped = &audit->skipped[audit->n_skipped++];
    skipped->offset = offset;
    skipped->bytes = bytes;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(skipped->reason, sizeof skipped->reason, format, arguments);
    va_end(arguments);
}

void ma_audit_unwritten(struct ma_audit *audit, uint64_t offset, uint64_t bytes, uint64_t units)
{
    size_t n = audit->n_unwritten;
    audit->unwritten_units += units;
    if (n && audit->unwritten[n - 1].offset + audit->unwritten[n - 1].bytes == offset)
        audit->unwritten[n - 1].bytes += bytes;
    else if (n < MA_UNWRITTEN_MAX)
        audit->unwritten[audit->n_unwritten++] = (struct ma_range){offset, bytes};
}

void ma_audit_changed(struct ma_audit *audit, const struct ma_changed *changed)
{
    audit->changed_chunks++;
    if (audit->n_changed < MA_CHANGED_MAX)
        audit->changed[audit->n_changed++] = *changed;
}

void ma_audit_truncated(struct ma_audit *audit, uint64_t offset)
{
    if (offset < audit->truncated_at)
        audit->truncated_at = offset;
}

uint64_t ma_audit_stop_reason(const struct ma_audit *audit)
{
    return audit->stops ? audit->stop_reason : audit->table_stops ? audit->table_reason : 0;
}

uint64_t ma_audit_stop_errno(const struct ma_audit *audit)
{
    return audit->stops ? audit->stop_errno : audit->table_stops ? audit->table_errno : 0;
}

struct ma_met ma_audit_stop_met(const struct ma_audit *audit)
{
    return audit->stops ? audit->stop_met : audit->table_met;
}

bool ma_audit_is_damaged(const struct ma_audit *audit, char *sentence, size_t size)
{
    char skipped[160] = "";
    if (audit->skipped_ranges)
        snprintf(skipped, sizeof skipped, "%llu bytes skipped, the first at byte %llu (%s)",
                 (unsigned long long)audit->skipped_bytes,
                 (unsigned long long)audit->skipped[0].offset, audit->skipped[0].reason);
    else if (audit->no_header)
        snprintf(skipped, sizeof skipped, "the trace header is missing");
    else if (audit->changed_chunks)
        snprintf(skipped, sizeof skipped,
                 "%llu chunk%s changed after %s written, the first at byte %llu",
                 (unsigned long long)audit->changed_chunks,
                 audit->changed_chunks == 1 ? " was" : "s were",
                 audit->changed_chunks == 1 ? "it was" : "they were",
                 (unsigned long long)audit->changed[0].offset);
    else if (audit->missing_chunks)
        snprintf(skipped, sizeof skipped, "%llu chunks are missing",
                 (unsigned long long)audit->missing_chunks);
    const char *and = skipped[0] ? "; " : "";
    if (audit->input_problem[0])
        snprintf(sentence, size, "truncated: %s%s%s", audit->input_problem, and, skipped);
    else if (audit->truncated_at != UINT64_MAX)
        snprintf(sentence, size, "truncated at byte %llu, everything before is reported%s%s",
                 (unsigned long long)audit->truncated_at, and, skipped);
    else if (skipped[0])
        snprintf(sentence, size, "damaged: %s", skipped);
    else if (audit->symbols_damaged)
        snprintf(sentence, size, "damaged: the symbol data of the bundle");
    else if (ma_audit_stop_reason(audit))
        snprintf(sentence, size,
                 "incomplete: recording stopped before the program's end (%s), everything before "
                 "is reported",
                 ma_loss_name(ma_audit_stop_reason(audit)));
    else
        return false;
    return true;
}
