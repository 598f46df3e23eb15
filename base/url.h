/*
 * url - http and https URLs: taken apart, and put together with what a header gave.
 * Source: RFC 3986 section 5 by libcurl's URL API.
 */
#ifndef CK_URL_H
#define CK_URL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct ck_url {
	bool tls;     /* https */
	char *name;   /* of the host, lower case, an IPv6 address in brackets; owned */
	char *origin; /* "https://name[:port]", the port only where it is not the usual; owned */
	char *text;   /* all of it; owned */
};

/*
 * Reads TEXT, an absolute URL or, with BASE, one that BASE makes absolute. Names of users, blanks
 * and control characters are refused. *OUT is the caller's to free.
 * Errors: -EINVAL (the message does not quote a query), -ENOMEM.
 */
CK_MUST_CHECK int ck_url_read(struct ck_url *out, const char *base, const char *text,
			      struct ck_err *err);
void ck_url_free(struct ck_url *u); /* {0} is allowed */

/* localhost, 127.0.0.0/8, [::1]. NAME without its port. */
bool ck_url_is_loopback(const char *name);

/* Appends S with what is no unreserved character as %XX. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_url_escape(struct ck_buf *out, const char *s, struct ck_err *err);

#endif
