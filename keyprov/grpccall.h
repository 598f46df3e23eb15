/* grpccall - one unary gRPC call over HTTP/2 without TLS, on a connection of its own. */
#ifndef CK_GRPCCALL_H
#define CK_GRPCCALL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Calls METHOD ("/package.Service/Method") of TARGET (as ck_dial has it) with the JSON
 * IN[0..NBYTES); appends the JSON answer to OUT. Connecting and all else end at
 * DEADLINE_MS (of ck_now_ms).
 * Errors: those of ck_dial, -EPROTO (not HTTP/2 or gRPC, cut short), -ENOSYS (the provider
 * has no such method), -EACCES, -ETIMEDOUT and -EIO (what the provider answered, its words
 * in the message), -EBADMSG, -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_grpccall(const char *target, const char *method, const void *in, size_t nbytes,
			      uint64_t deadline_ms, struct ck_buf *out, struct ck_err *err);

#endif
