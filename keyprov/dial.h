/* dial - connects to where a provider's configuration says, within a deadline. */
#ifndef CK_DIAL_H
#define CK_DIAL_H

#include <stdint.h>

#include "base/err.h"

/*
 * TARGET is "host:port" or "unix:///path" ("unix:path", and "http://", "tcp://", "dns:///"
 * before host:port, as other clients write it). Gives a connected non-blocking socket, the
 * caller's to close. DEADLINE_MS is of ck_now_ms.
 * Errors: -EINVAL (target), -ETIMEDOUT, -ECONNREFUSED and other errnos of connect.
 */
CK_MUST_CHECK int ck_dial(const char *target, uint64_t deadline_ms, struct ck_err *err);

/* Waits for EVENTS of FD. Errors: -ETIMEDOUT, errnos; without a message. */
CK_MUST_CHECK int ck_dial_wait(int fd, short events, uint64_t deadline_ms);

#endif
