/*
 * shape - the network that there is not: a delay and a bandwidth, made by the server's waiting.
 *
 * What it models. A round trip of DELAY: each answer's first byte comes that long after its
 * request; a new TCP connection costs one more (its first bytes are looked at so late), TLS 1.3
 * another, TLS 1.2 two (one where it resumes). A link of RATE, both ways at once: bytes of all
 * connections pass one after another, headers too. With SLOW_START a connection has 14,600 bytes
 * in flight at first (RFC 6928), twice as many after each round trip that used them up, and
 * as few again after a rest of 200 ms, as Linux has it.
 * What it does not: loss, congestion between connections, headers of TLS, TCP and IP (about 5 %),
 * and the round trips of DNS.
 * Threads: any.
 */
#ifndef FR_SHAPE_H
#define FR_SHAPE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fr_shape {
	atomic_uint_fast64_t delay_us;
	atomic_uint_fast64_t rate; /* bytes a second each way; 0: no limit */
	atomic_bool slow_start;
	pthread_mutex_t mutex;
	uint64_t free_at[2]; /* when the link is done with what it has: out, in */
};

/* One connection's share of it. */
struct fr_flight {
	uint64_t window;   /* bytes that may be in flight; 0: nothing was sent yet */
	uint64_t used;	   /* in this round trip */
	uint64_t round_at; /* when it began */
	uint64_t last_at;  /* when something was sent last */
};

void fr_shape_init(struct fr_shape *s);
void fr_shape_round_trip(struct fr_shape *s); /* waits for one */

/* Waits until some of NBYTES may go out, and says how many; for those that came, waits as long as
 * the link needs for them. */
size_t fr_shape_out(struct fr_shape *s, struct fr_flight *f, size_t nbytes);
void fr_shape_in(struct fr_shape *s, size_t nbytes);

#endif
