/*
 * request - one request to one endpoint, with the token and the redirects that it takes.
 * Private to fs/registry.
 */
#ifndef CK_REQUEST_H
#define CK_REQUEST_H

#include "fs/registry/endpoint.h"

enum { CK_REDIRECTS_FOLLOWED = 5 };

struct ck_request {
	const char *method;	    /* NULL: GET, or POST when there is a body */
	const char *repo, *path;    /* PATH stands behind "REPO/", or is "/..." or a URL */
	const char *const *headers; /* "Name: value", n_headers of them */
	size_t n_headers;
	const void *body; /* NULL: none */
	size_t body_len;
	struct ck_auth_need need;
	const uint8_t *blob; /* NULL, or the digest of the blob asked for: its redirect is kept */
	bool afresh;	     /* not from where it was last */
	size_t max_body;
	unsigned stall_ms;
	const struct ck_http_sink *sink; /* may be NULL */
};

/*
 * Asks E. A 401 is met with a token or credentials; redirects of GET and HEAD are followed, those
 * that keep the method (307, 308) of others, too; Authorization and the endpoint's own headers go
 * to no other origin. 0: an answer came, whatever its status, a 401 or a redirect only where
 * nothing could be done about it. *RES is the caller's to free either way.
 * Errors: those of ck_http_do and ck_auth_challenged, -EPROTO (a redirect that is not followed).
 */
CK_MUST_CHECK int ck_request_send(struct ck_endpoint *e, const struct ck_request *req,
				  struct ck_http_res *res, struct ck_err *err);

#endif
