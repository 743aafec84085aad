/* SPDX-License-Identifier: MIT
 *
 * The stream sink's way out: bytes to a pipe, socket, device or file, straight
 * or by way of a stage in which they are compressed, or wait while a reader is
 * slow and the program shall not. All under the sink's lock.
 */
#ifndef LT_STREAM_OUT_H
#define LT_STREAM_OUT_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define LT_OUT_PIECE_MAX (256u << 10) /* bytes that lt_out_put takes at once */

/* Prepare for a descriptor of this kind; 0 or a negative errno. drop: never
 * wait. */
int lt_out_open(int fd, const struct stat *st, bool drop, bool compress);
bool lt_out_is_socket(void);
/* Take two parts, one piece together: whole or not at all. 0; -EAGAIN: no room now (drop only); or
 * another negative errno: the way is closed. The parts are changed. */
int lt_out_put(int fd, struct iovec *parts);
/* Send what was taken; results as above. */
int lt_out_push(int fd);
/* True while something is half sent: nobody else may write now. */
bool lt_out_is_halfway(void);
/* Give the pipe or socket room for more than the reader left of it, of the kernel's
 * memory; false if there is no more to be had. */
bool lt_out_widen(int fd);
/* In a fork's child: what was taken is the parent's to send. */
void lt_out_after_fork(void);

#endif
