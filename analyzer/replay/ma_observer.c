/* SPDX-License-Identifier: MIT
 *
 * Telling observers; see ma_observer.h.
 */
#include "ma_observer.h"

#include <errno.h>

int ma_observers_add(struct ma_observers *observers, const struct ma_observer *observer)
{
    if (observers->n == MA_OBSERVERS)
        return -ENOMEM;
    observers->all[observers->n++] = observer;
    return 0;
}

/* Call one callback of each observer that has it. */
#define TELL(observers, callback, ...)                                                             \
    for (size_t i_ = 0; i_ < (observers)->n; i_++) {                                               \
        const struct ma_observer *one_ = (observers)->all[i_];                                     \
        int result_ = one_->callback ? one_->callback(one_->context, __VA_ARGS__) : 0;             \
        if (result_ < 0)                                                                           \
            return result_;                                                                        \
    }

static bool accept_begin(const struct ma_observers *observers, const struct ma_seen *seen,
                         const struct ma_seen_block *block)
{
    const struct ma_acceptor *acceptor = observers->acceptor;
    return !acceptor || acceptor->begin(acceptor->context, seen, block);
}

static bool accept_end(const struct ma_observers *observers, const struct ma_seen *seen,
                       const struct ma_seen_block *block)
{
    const struct ma_acceptor *acceptor = observers->acceptor;
    return !acceptor || acceptor->end(acceptor->context, seen, block);
}

/* True if observers are told of what happens now beside blocks. */
static bool accept_moment(const struct ma_observers *observers, const struct ma_seen *seen,
                          bool after)
{
    const struct ma_acceptor *acceptor = observers->acceptor;
    return !acceptor || acceptor->moment(acceptor->context, seen, after);
}

int ma_observers_process(const struct ma_observers *observers, const struct ma_seen *seen,
                         enum ma_process_change change)
{
    if (accept_moment(observers, seen, false))
        TELL(observers, process, seen, change);
    return 0;
}

int ma_observers_allocated(const struct ma_observers *observers, const struct ma_seen *seen,
                           const struct ma_seen_block *block)
{
    if (accept_begin(observers, seen, block))
        TELL(observers, allocated, seen, block);
    return 0;
}

int ma_observers_freed(const struct ma_observers *observers, const struct ma_seen *seen,
                       const struct ma_seen_block *block)
{
    if (accept_end(observers, seen, block))
        TELL(observers, freed, seen, block);
    return 0;
}

/* A filter may accept one of the two only: then the other is not told. */
int ma_observers_resized(const struct ma_observers *observers, const struct ma_seen *seen,
                         const struct ma_seen_block *old, const struct ma_seen_block *block)
{
    bool begins = accept_begin(observers, seen, block);
    bool ends = old && accept_end(observers, seen, old);
    for (size_t i = 0; i < observers->n; i++) {
        const struct ma_observer *one = observers->all[i];
        int result = 0;
        if (one->resized && begins && (ends || !old)) {
            result = one->resized(one->context, seen, old, block);
        } else {
            if (ends && one->freed)
                result = one->freed(one->context, seen, old);
            if (result == 0 && begins && one->allocated)
                result = one->allocated(one->context, seen, block);
        }
        if (result < 0)
            return result;
    }
    return 0;
}

int ma_observers_failed(const struct ma_observers *observers, const struct ma_seen *seen,
                        const struct ma_seen_failure *failure)
{
    const struct ma_acceptor *acceptor = observers->acceptor;
    if (!acceptor || acceptor->failure(acceptor->context, seen, failure))
        TELL(observers, failed, seen, failure);
    return 0;
}

int ma_observers_marked(const struct ma_observers *observers, const struct ma_seen *seen,
                        const struct ma_mark *mark)
{
    if (accept_moment(observers, seen, true))
        TELL(observers, marked, seen, mark);
    return 0;
}

int ma_observers_wrong(const struct ma_observers *observers, const struct ma_seen *seen,
                       const struct ma_wrong_free *one, size_t number)
{
    TELL(observers, wrong, seen, one, number);
    return 0;
}

int ma_observers_told(const struct ma_observers *observers, const struct ma_seen *seen,
                      uint32_t stack)
{
    TELL(observers, told, seen, stack);
    return 0;
}

int ma_observers_savepoint(const struct ma_observers *observers, const struct ma_seen *seen,
                           const struct ma_savepoint *savepoint)
{
    if (accept_moment(observers, seen, true))
        TELL(observers, savepoint, seen, savepoint);
    return 0;
}

int ma_observers_finished(const struct ma_observers *observers, const struct ma_replay *replay)
{
    TELL(observers, finished, replay);
    return 0;
}
