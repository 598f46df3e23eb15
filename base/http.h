/*
 * http - HTTP(S) requests over libcurl, bounded in time, size and tries.
 *
 * TLS is verified against the system's roots, or against ca_file alone. An
 * address map sends a host name's connections elsewhere (a private link, a
 * simulator) while name and certificate checks stay those of the URL.
 * Redirects are never followed: whoever presents tokens decides where they go.
 * Connections are kept alive, and used again by whichever thread comes next.
 * Proxies are those of the environment (http_proxy, https_proxy, no_proxy), unless a
 * request refuses them, and never for hosts on the loopback interface.
 * Threads: one client may serve any number of threads at once.
 */
#ifndef CK_HTTP_H
#define CK_HTTP_H

#include <stdatomic.h>
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
	const char *more_ca;		  /* NULL, or PEM text of roots beside those */
	const char *cert_file, *key_file; /* NULL, or the client's own, PEM */
	const char *insecure_name;	  /* NULL, or the one host, as ck_url's name, whose
					     certificates are not verified, at any port */
};

/* Copies OPTS. *OUT is the caller's to close. Errors: -ENOMEM, -EINVAL. */
CK_MUST_CHECK int ck_http_open(struct ck_http **out, const struct ck_http_opts *opts,
			       struct ck_err *err);
void ck_http_close(struct ck_http *h); /* NULL is allowed */

static inline void ck_http_closep(struct ck_http **h)
{
	ck_http_close(*h);
}

struct ck_http_res;

/* Takes the body of an answer as it comes. */
struct ck_http_sink {
	/* Once before each body, when RES has status and headers; an error ends the request, and 1
	 * lifts its time limits: from there on it may last until it stalls. May be NULL. */
	int (*begin)(void *ctx, const struct ck_http_res *res, struct ck_err *err);
	int (*data)(void *ctx, const void *p, size_t nbytes, struct ck_err *err);
	void *ctx;
};

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
	size_t max_body;      /* of the answer; 0 means 1 MiB, with a sink what that takes */
	unsigned stall_ms;    /* a try in which no byte comes for so long is over; 0: never */
	const struct ck_http_sink *sink; /* NULL, or takes the bodies of 200 and 206 answers */
	const atomic_bool *cancel;	 /* NULL, or ends the request soon after it is true */
	bool once; /* a body of which a part was sent is not sent again unseen, as it else is where
		      an old connection turns out to be dead */
};

struct ck_http_res {
	long status;	     /* 100..599 */
	struct ck_buf body;  /* NUL-terminated */
	char request_id[80]; /* x-ms-request-id, or "" */
	char content_type[80];
	struct ck_buf headers; /* private: see ck_http_res_header */
	uint64_t wait_us;      /* from the request being sent to the first byte of its answer */
	uint64_t body_us;      /* from there to its end */
	char note[512];	       /* the asker's own, about whom he was for it; "" from here */
	bool no_tls;	       /* what answered there, if anything, does not speak TLS */
	bool no_trust;	       /* it speaks TLS, but its certificate was not accepted */
	bool no_root;	       /* since none of the roots vouches for it */
};

/* The value of the first header NAME, without spaces around it; NULL: there is none. Borrowed. */
const char *ck_http_res_header(const struct ck_http_res *res, const char *name);

/* The value of the next one behind V, which came from either; V = NULL: of the first. */
const char *ck_http_res_header_next(const struct ck_http_res *res, const char *name, const char *v);

/* How long its Retry-After (RFC 9110 section 10.2.3) says to wait, at most an hour; 0: nothing. */
uint64_t ck_http_res_retry_ms(const struct ck_http_res *res);

/*
 * Sends the request; tries again, with growing jittered pauses or the time that
 * Retry-After names, only when no connection was made or the answer was 408, 429
 * or 5xx, and only while deadline and tries last.
 * Returns 0 when a whole HTTP answer came, whatever its status: the caller judges
 * it. *RES is the caller's to ck_http_res_free either way.
 * Errors: -ETIMEDOUT, -ECONNREFUSED (no connection), -EINVAL (a proxy that the environment names
 * and that makes no sense), -EPROTO (TLS, a cut or
 * malformed answer), -EFBIG (answer above max_body), -ECANCELED, those of the sink, -ENOMEM.
 * They name the URL without its query, which may be a signature.
 */
CK_MUST_CHECK int ck_http_do(struct ck_http *h, const struct ck_http_req *req,
			     struct ck_http_res *res, struct ck_err *err);

void ck_http_res_free(struct ck_http_res *res); /* wipes the body */

#define CK_HTTP_RES CK_AUTO(ck_http_res_free) struct ck_http_res

#endif
