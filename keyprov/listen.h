/* listen - the key provider's socket: a unix socket for its own user, or loopback. */
#ifndef CK_LISTEN_H
#define CK_LISTEN_H

#include <sys/stat.h>

#include "base/err.h"

struct ck_listener {
	int fd;		   /* listening, non-blocking */
	char address[128]; /* as bound: "unix:PATH" or "127.0.0.1:41234" */
	dev_t dev;	   /* of the socket file, to remove that one and no other */
	ino_t ino;
};

/*
 * Listens on "unix:PATH" (mode 0600 from the start; a file that no server listens on
 * any more is replaced) or "HOST:PORT" (a loopback address; port 0: any).
 * *OUT is the caller's to close. Errors: -EINVAL (address), -EADDRINUSE (a live server),
 * errnos.
 */
CK_MUST_CHECK int ck_listen_open(struct ck_listener *out, const char *listen, struct ck_err *err);
void ck_listen_close(struct ck_listener *l); /* removes the socket file; twice is allowed */

/*
 * A connection of a peer that may ask: on a unix socket one of our own user or root.
 * Returns a non-blocking socket, -EAGAIN when there is none, -EPERM when a peer was
 * turned away, or another errno.
 */
CK_MUST_CHECK int ck_listen_accept(const struct ck_listener *l);

#endif
