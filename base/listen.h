/*
 * listen - a socket that is for this machine alone: a unix socket for its own user, or loopback.
 */
#ifndef CK_LISTEN_H
#define CK_LISTEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"

struct ck_listener {
	int fd;		   /* listening, non-blocking */
	char address[128]; /* as bound: "unix:PATH" or "127.0.0.1:41234" */
	int dir;	   /* where the socket file is, wherever we go meanwhile; -1: no file */
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
/* Removes the socket file. Twice is allowed, and after a failed open. */
void ck_listen_close(struct ck_listener *l);

/*
 * A connection of a peer that may ask: on a unix socket one of our own user or root.
 * Returns a non-blocking socket, -EAGAIN when there is none, -EPERM when a peer was
 * turned away, or another errno.
 */
CK_MUST_CHECK int ck_listen_accept(const struct ck_listener *l);

/* Whether S is a TCP port in digits: getaddrinfo takes 65537 for 1. */
bool ck_is_port(const char *s);

#endif
