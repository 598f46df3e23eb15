/*
 * conn - one client of the key provider: an HTTP/2 server session that speaks gRPC.
 * Never blocks; used by the server's loop alone. What a peer may hold is bounded: streams,
 * bytes, and time, which counts from when a call began or the last one ended, so that
 * trickling bytes gains nothing.
 */
#ifndef CK_CONN_H
#define CK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "keyprov/callpool.h"

struct ck_conn; /* opaque */

/* What the connections of a server share. */
struct ck_conn_env {
	struct ck_callpool *pool;
	size_t n_body; /* bytes of request bodies held by all */
};

/* Takes FD (a non-blocking socket), on success alone. ENV must outlive it.
 * Errors: -ENOMEM. */
CK_MUST_CHECK int ck_conn_open(struct ck_conn **out, int fd, struct ck_conn_env *env,
			       uint64_t now_ms, struct ck_err *err);
void ck_conn_close(struct ck_conn *c); /* abandons its calls; NULL is allowed */

int ck_conn_fd(const struct ck_conn *c);
short ck_conn_events(const struct ck_conn *c); /* for poll */

/* Reads, answers and writes what can be without waiting. False: it is to be closed. */
CK_MUST_CHECK bool ck_conn_io(struct ck_conn *c, short revents, uint64_t now_ms);

/* Ends what has taken too long at NOW_MS. False: it is to be closed. */
CK_MUST_CHECK bool ck_conn_tick(struct ck_conn *c, uint64_t now_ms);
uint64_t ck_conn_next_ms(const struct ck_conn *c); /* when to tick next */

/* When it became idle; UINT64_MAX while it has calls. */
uint64_t ck_conn_idle_since(const struct ck_conn *c);

/* Answers with CALL, whose owner is one of a connection's streams; frees CALL. */
void ck_conn_answer(struct ck_call *call, uint64_t now_ms);

/* The server stops: no new calls; those not complete yet are turned away. */
void ck_conn_stop(struct ck_conn *c);
bool ck_conn_quiet(const struct ck_conn *c); /* no calls, nothing left to write */

#endif
