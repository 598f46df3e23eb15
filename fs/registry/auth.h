/*
 * auth - what one endpoint wants to see before it serves, learned from its challenges.
 * Source: RFC 9110 section 11, RFC 7617 (basic), RFC 6750 (bearer).
 *
 * Nothing is sent before it was asked for. A token is kept for each kind of request, used until
 * shortly before it expires or is refused, and got by one thread for all.
 * Threads: any.
 */
#ifndef CK_AUTH_H
#define CK_AUTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/http.h"

struct ck_auth; /* opaque */

/* What a request is for. */
struct ck_auth_need {
	bool push;
	const char *mount_from;	   /* NULL, or another repository to read from */
	uint64_t deadline_ms;	   /* of ck_now_ms */
	const atomic_bool *cancel; /* may be NULL */
};

struct ck_auth_opts {
	const char *file;     /* NULL: where they usually are */
	const char *host;     /* whose credentials these are */
	const char *repo;     /* as the endpoint calls it */
	struct ck_http *http; /* must outlive it */
};

/* Copies OPTS. NULL: no memory. */
struct ck_auth *ck_auth_new(const struct ck_auth_opts *opts);
void ck_auth_free(struct ck_auth *a); /* NULL is allowed */

/*
 * Appends "Authorization: ..." to HEADER, or nothing where none is known to be needed.
 * ORIGIN is the endpoint's. Errors: those of ck_auth_challenged.
 */
CK_MUST_CHECK int ck_auth_header(struct ck_auth *a, const struct ck_auth_need *need,
				 const char *origin, struct ck_buf *header, struct ck_err *err);

/*
 * Takes notice of a 401 to a request that was sent with SENT, which ck_auth_header gave. 0: it
 * is worth sending again. Errors: -EACCES (there are no credentials, or they are refused: the
 * message says which), -EPROTO (a challenge that cannot be met), those of ck_token_get and
 * ck_authfile_find, -ECANCELED, -ETIMEDOUT.
 */
CK_MUST_CHECK int ck_auth_challenged(struct ck_auth *a, const struct ck_auth_need *need,
				     const char *origin, const char *sent,
				     const struct ck_http_res *res, struct ck_err *err);

/* Puts into OUT, CAP bytes, whose credentials such a request is shown, and what to do where it is
 * refused for all that. */
void ck_auth_tell(struct ck_auth *a, const struct ck_auth_need *need, char *out, size_t cap);

#endif
