/*
 * answerer - a thread that answers who asks at a beacon (beacon.h).
 *
 * A client of root's or of our own user that sends the line "status" gets one document and the
 * end of the stream; others are hung up on. Who sends nothing, as one who awaits our end, is
 * kept until then. Nobody is waited for: there are only so many clients at once (the rest wait
 * in the kernel's queue), each has so long to ask and to take its answer, and stopping waits for
 * none of them.
 */
#ifndef CK_ANSWERER_H
#define CK_ANSWERER_H

#include "base/buf.h"

enum {
	CK_ANSWER_CLIENTS = 64, /* at once */
	CK_ANSWER_MAX = 8 << 20 /* bytes of an answer */
};

#define CK_ANSWER_QUESTION "status\n"

/* Appends the answer to OUT, which bounds it. Called in the answerer's thread. */
typedef int ck_answer_fn(void *ctx, struct ck_buf *out, struct ck_err *err);

struct ck_answerer; /* opaque */

/* Answers at the listening, non-blocking socket LISTENER (borrowed) until stopped. The thread has
 * the caller's signals blocked. *OUT is the caller's to stop. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_answerer_start(struct ck_answerer **out, int listener, ck_answer_fn *answer,
				    void *ctx, struct ck_err *err);

/* Hangs up on all clients. NULL is allowed. */
void ck_answerer_stop(struct ck_answerer *a);

#endif
