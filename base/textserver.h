/*
 * textserver - a thread that serves one text by HTTP, made anew for whoever asks.
 * Source: RFC 9110, RFC 9112. GET and HEAD, one request a connection.
 *
 * Nobody is waited for: there are only so many clients at once (the rest wait in the kernel's
 * queue, and the oldest makes room for them), each has so long to ask and to take its answer, and
 * stopping waits for none of them.
 */
#ifndef CK_TEXTSERVER_H
#define CK_TEXTSERVER_H

#include "base/buf.h"
#include "base/listen.h"

enum {
	CK_TEXT_CLIENTS = 16,	    /* at once */
	CK_TEXT_HEAD_MAX = 8 << 10, /* bytes of a request's line and fields */
	CK_TEXT_MAX = 8 << 20	    /* bytes of the text */
};

/* All borrowed until the server is stopped. */
struct ck_text {
	const char *path; /* "/metrics" */
	const char *type; /* its Content-Type */
	/* Appends the text to OUT, which bounds it. Called in the server's thread. */
	int (*write)(void *ctx, struct ck_buf *out, struct ck_err *err);
	void *ctx;
};

struct ck_textserver; /* opaque */

/* Serves TEXT to those whom LISTENER (borrowed) lets in until stopped. The thread has the caller's
 * signals blocked. *OUT is the caller's to stop. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_textserver_start(struct ck_textserver **out,
				      const struct ck_listener *listener,
				      const struct ck_text *text, struct ck_err *err);

/* Hangs up on all clients. NULL is allowed. */
void ck_textserver_stop(struct ck_textserver *s);

#endif
