/* SPDX-License-Identifier: MIT
 *
 * Control from outside, and pausing: the control page (mlf_control.h), a memfd mapped
 * shared, in which `mlog ctl` asks and the library answers, and the two states of a
 * process that is traced, recording and paused.
 *
 * How a request is seen. An event may not cost more for it, so the word that an event
 * looks at anyway stays in lt_page: that page is wiped in a fork's child, which is how
 * the child finds out what it is, and a shared mapping can not be wiped
 * (MADV_WIPEONFORK is for private memory): a child would read its parent's "active" and
 * write into its parent's chunks. So the shared page holds a bell, and no state:
 * - recording, the tick looks at it, which the first event after each 10 ms runs
 *   (lt_page.next_tick, a comparison that each event makes already): not one
 *   instruction more;
 * - paused, a hook sees lt_page.forward set, by the load with which it would learn that
 *   tracing is off, and then looks at the bell: two loads and a comparison, which only a
 *   paused process pays, and no tick is needed, so a request is acted upon at once.
 * A target that makes no event sees no request.
 *
 * Why the order holds. Pausing stamps its record, then sets lt_page.forward; resuming
 * clears it, then stamps. So a call that was not recorded lies between the two stamps,
 * or after the second one if its thread looked before forward was cleared and was slow:
 * but whatever block such a thread frees was handed to it before its look, so was
 * stamped before the second stamp. A call that was under way when forward was set is
 * recorded with a stamp inside the window: its block is not known to others before the
 * hook returns, or not freed before. Thus: of blocks that began before a resume a reader
 * knows no end that it did not see, and an end without a beginning is that of a block
 * which it did not see; of all others it knows all. No thread need be waited for before
 * "paused" is answered.
 * The owner of stamps (lt_clock.h), if it is who acts, takes a new one afterwards; if
 * another thread acts, that thread's context has taken the stamps away by then.
 *
 * The page is hostile: the library reads from it the number of the latest request and
 * at most MLF_CONTROL_SLOTS requests a look, copied before they are judged, and never
 * believes what it wrote itself. It is sealed, so nobody can cut it from under us.
 */
#ifndef LT_CONTROL_H
#define LT_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "lt_trace.h"

/* Make the page, once lt_process has its key and the sink is open. Where it is refused
 * there is none, and nothing else changes. In a fork's child: its own, after closing
 * the parent's, if that number is still the parent's page. */
void lt_control_open(void);
void lt_control_after_fork(void);

/* Begin as MLOG_START says, or as the forked parent was. The second one says so in the
 * trace, in `context`, which is the first of the process and busy. */
void lt_control_begin_state(bool paused);
void lt_control_say_state(struct lt_context *context, int by);

/* Pause or resume, for whom: an enum mlf_window_by. Returns 0, 1 if it was so already, or
 * a negative errno. `context` is the caller's, busy and not in the middle of an event. */
int lt_control_pause(struct lt_context *context, bool pause, int by);

/* Act on what was asked since the last look; with `show`, show the counters too. */
void lt_control_look(struct lt_context *context, bool show);

/* Something was asked, or somebody wrote into the page. */
static inline bool lt_control_rings(void)
{
    return __atomic_load_n(lt_page.bell, __ATOMIC_RELAXED) != lt_page.heard;
}

#endif
