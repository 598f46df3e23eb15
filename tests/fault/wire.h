/*
 * wire - one connection of the test registry, plain or TLS, shaped, and cut when told to.
 * Threads: one that serves it; fr_wire_drop from any.
 */
#ifndef FR_WIRE_H
#define FR_WIRE_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fault/shape.h"

struct fr_wire {
	int fd;
	SSL *ssl; /* NULL: plain */
	struct fr_shape *shape;
	struct fr_flight flight;
	bool broken;	  /* nothing can be sent or read any more */
	atomic_bool drop; /* it is to be reset */
	size_t at, len;	  /* unread bytes of IN */
	char in[64 << 10];
};

/* Shakes hands over FD, which becomes the wire's, where CTX is not NULL. Owned by the caller; NULL:
 * it failed, and FD is closed. */
struct fr_wire *fr_wire_open(int fd, SSL_CTX *ctx, struct fr_shape *shape);

/* Reads what there is, at most NBYTES; 0: the end, or broken. */
size_t fr_wire_read(struct fr_wire *w, void *buf, size_t nbytes);

/* Reads up to and with the next "\n" into BUF, NUL-terminated; false: the end, or it is too long.
 */
bool fr_wire_line(struct fr_wire *w, char *buf, size_t cap);

/* Sends all; false: broken. */
bool fr_wire_send(struct fr_wire *w, const void *p, size_t nbytes);

/* Whether the peer has gone, waiting at most WAIT_MS for that. */
bool fr_wire_gone(struct fr_wire *w, int wait_ms);

/* From another thread: it is to end with a reset. */
void fr_wire_drop(struct fr_wire *w);

/* Ends it, with RST where RESET, or in order (TLS says goodbye where BYE), and frees it. */
void fr_wire_close(struct fr_wire *w, bool reset, bool bye);

#endif
