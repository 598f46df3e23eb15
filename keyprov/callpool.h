/*
 * callpool - threads for the calls that block: unwrapping asks an HSM.
 * One thread (the server's loop) submits, abandons and collects; the pool's threads
 * work. Queue and threads are bounded.
 */
#ifndef CK_CALLPOOL_H
#define CK_CALLPOOL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "keyprov/grpc.h"
#include "keyprov/protocol.h"

struct ck_callpool; /* opaque */

struct ck_call {
	struct ck_call *next; /* the pool's */
	void *owner;	      /* the submitter's; NULL once abandoned */
	enum ck_op op;
	struct ck_buf in;  /* framed request; taken along by submit */
	struct ck_buf out; /* framed answer when status is CK_GRPC_OK */
	enum ck_grpc_status status;
	struct ck_err err; /* why not OK */
};

/* P must outlive the pool. *OUT is the caller's to close. Errors: -ENOMEM, errnos. */
CK_MUST_CHECK int ck_callpool_open(struct ck_callpool **out, const struct ck_provider *p,
				   struct ck_err *err);

/* Waits for the calls that are running, frees all others. NULL is allowed. */
void ck_callpool_close(struct ck_callpool *pool);

/* Readable when ck_callpool_done has something. */
int ck_callpool_fd(const struct ck_callpool *pool);

/* Queues CALL, which is the pool's from then on. Errors: -EAGAIN (queue full, or stopped):
 * CALL is still the caller's. */
CK_MUST_CHECK int ck_callpool_submit(struct ck_callpool *pool, struct ck_call *call);

/* Nobody waits for CALL any more: it will not be given back with an owner, and not be
 * done at all where it has not begun. */
void ck_callpool_abandon(struct ck_callpool *pool, struct ck_call *call);

/* A finished call, the caller's to ck_call_free; NULL when there is none. Its owner is
 * NULL when it was abandoned. */
struct ck_call *ck_callpool_done(struct ck_callpool *pool);

/* Queued calls are done at once with CK_GRPC_UNAVAILABLE; running ones go on. */
void ck_callpool_stop(struct ck_callpool *pool);

/* Whether any call is queued, running, or done and not collected. */
bool ck_callpool_busy(struct ck_callpool *pool);

void ck_call_free(struct ck_call *call); /* NULL is allowed */

#endif
