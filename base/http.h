/*
 * http - HTTP(S) requests over libcurl, bounded in time, size and tries.
 *
 * TLS is verified against the system's roots, or against ca_file alone. An
 * address map sends a host name's connections elsewhere (a private link, a
 * simulator) while name and certificate checks stay those of the URL.
 * Redirects are never followed: a service that we present tokens to has none.
 * Threads: one client may serve any number of threads at once.
 */
#ifndef CK_HTTP_H
#define CK_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct ck_http; /* opaque client */

/* HOST (exact, lower case) is reached at ADDRESS = "IP:PORT" or "NAME:PORT". */
struct ck_http_address {
	const char *host, *address;
};

struct ck_http_opts {
	const char *ca_file;			 /* PEM roots, or NULL: the system's */
	const struct ck_http_address *addresses; /* n_addresses of them */
	size_t n_addresses;
};

/* Copies OPTS. *OUT is the caller's to close. Errors: -ENOMEM, -EINVAL. */
CK_MUST_CHECK int ck_http_open(struct ck_http **out, const struct ck_http_opts *opts,
			       struct ck_err *err);
void ck_http_close(struct ck_http *h); /* NULL is allowed */

static inline void ck_http_closep(struct ck_http **h)
{
	ck_http_close(*h);
}

struct ck_http_req {
	const char *method; /* NULL: GET, or POST when there is a body */
	const char *url;
	const char *const *headers; /* "Name: value", n_headers of them */
	size_t n_headers;
	const void *body; /* NULL: none */
	size_t body_len;
	bool no_proxy;	      /* never through http_proxy: metadata services */
	unsigned timeout_ms;  /* of one try; 0 means 10,000 */
	unsigned deadline_ms; /* of all tries together; 0 means 30,000 */
	unsigned tries;	      /* 0 means 5 */
	size_t max_body;      /* of the answer; 0 means 1 MiB */
};

struct ck_http_res {
	long status;	     /* 100..599 */
	struct ck_buf body;  /* NUL-terminated */
	char request_id[80]; /* x-ms-request-id, or "" */
	char content_type[80];
};

/*
 * Sends the request; tries again, with growing jittered pauses or the time that
 * Retry-After names, only when no connection was made or the answer was 408, 429
 * or 5xx, and only while deadline and tries last.
 * Returns 0 when a whole HTTP answer came, whatever its status: the caller judges
 * it. *RES is the caller's to ck_http_res_free either way.
 * Errors: -ETIMEDOUT, -ECONNREFUSED (no connection), -EPROTO (TLS, a cut or
 * malformed answer), -EFBIG (answer above max_body), -ENOMEM.
 */
CK_MUST_CHECK int ck_http_do(struct ck_http *h, const struct ck_http_req *req,
			     struct ck_http_res *res, struct ck_err *err);

void ck_http_res_free(struct ck_http_res *res); /* wipes the body */

#define CK_HTTP_RES CK_AUTO(ck_http_res_free) struct ck_http_res

#endif
