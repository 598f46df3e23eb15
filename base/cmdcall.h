/* cmdcall - one request to a program: bytes in, bytes out. */
#ifndef CK_CMDCALL_H
#define CK_CMDCALL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Runs ARGV[0] (looked up in PATH when it has no '/') without a shell, in a process
 * group of its own, with IN[0..NBYTES) as its standard input; appends its standard output
 * to OUT (bounded by OUT->max). When DEADLINE_MS (of ck_now_ms) passes, or soon after *CANCEL
 * (NULL: never) becomes true, the group is killed. The child is reaped in every case.
 * Errors: errnos of starting it, -EIO (failed: the message has the end of its standard
 * error), -ETIMEDOUT, -ECANCELED, -ECHILD (this process ignores SIGCHLD), -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_cmdcall(char *const argv[], const void *in, size_t nbytes,
			     uint64_t deadline_ms, const atomic_bool *cancel, struct ck_buf *out,
			     struct ck_err *err);

#endif
