/*
 * grpc - what gRPC puts into HTTP/2: message frames, status, time limits.
 * Source: grpc/doc/PROTOCOL-HTTP2.md. Our messages are the one `bytes` field of
 * keyprovider.proto; all memory that held them is wiped.
 */
#ifndef CK_GRPC_H
#define CK_GRPC_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	CK_GRPC_PREFIX = 5,	       /* bytes before a message: flag, length */
	CK_GRPC_MESSAGE_MAX = 4 << 20, /* bytes; what grpc-go allows */
	CK_GRPC_TEXT_MAX = 1024,       /* bytes of a grpc-message we read or write */
};

enum ck_grpc_status {
	CK_GRPC_OK = 0,
	CK_GRPC_UNKNOWN = 2,
	CK_GRPC_INVALID_ARGUMENT = 3,
	CK_GRPC_DEADLINE_EXCEEDED = 4,
	CK_GRPC_PERMISSION_DENIED = 7,
	CK_GRPC_RESOURCE_EXHAUSTED = 8,
	CK_GRPC_FAILED_PRECONDITION = 9,
	CK_GRPC_UNIMPLEMENTED = 12,
	CK_GRPC_INTERNAL = 13,
	CK_GRPC_UNAVAILABLE = 14,
};

enum ck_grpc_message { CK_GRPC_INPUT, CK_GRPC_OUTPUT };

/* Appends P[0..NBYTES) as one framed message to OUT. Errors: -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_grpc_encode(struct ck_buf *out, enum ck_grpc_message kind, const void *p,
				 size_t nbytes, struct ck_err *err);

/* Appends the field of the one framed message that P[0..NBYTES) is. Errors: -ENOTSUP
 * (compressed), -EBADMSG (cut, more than one, not our message), -EFBIG, -ENOMEM. */
CK_MUST_CHECK int ck_grpc_decode(struct ck_buf *out, enum ck_grpc_message kind, const void *p,
				 size_t nbytes, struct ck_err *err);

/* Appends S percent-encoded, cut to CK_GRPC_TEXT_MAX bytes. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_grpc_text_encode(struct ck_buf *out, const char *s, struct ck_err *err);

/* Decodes S[0..LEN) to OUT, which has room for CAP; what does not fit is cut. */
void ck_grpc_text_decode(char *out, size_t cap, const void *s, size_t len);

/* grpc-timeout ("100m", "30S") in milliseconds, rounded up; false when malformed. */
bool ck_grpc_timeout(uint64_t *out_ms, const void *s, size_t len);

/* nghttp2's memory, wiped when freed: frames hold keys. */
nghttp2_mem *ck_h2_mem(void);

#define CK_NV(n, v)                                                                                \
	((nghttp2_nv){ (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), \
		       NGHTTP2_NV_FLAG_NONE })

#endif
