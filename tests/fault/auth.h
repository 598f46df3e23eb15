/*
 * auth - who may pull and push: basic credentials, or bearer tokens and the server that gives them.
 * Source: Docker Registry v2 authentication via central service (token, jwt and oauth);
 * RFC 7515 for the tokens that another registry is to believe.
 * Threads: any.
 */
#ifndef FR_AUTH_H
#define FR_AUTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/fault/request.h"

enum fr_auth_mode { FR_OPEN, FR_BASIC, FR_BEARER };

struct fr_auth_opts {
	enum fr_auth_mode mode;
	const char *const *users; /* "NAME:PASSWORD", NULL-ended */
	bool anonymous;		  /* who gives no credentials may pull */
	const char *service;
	const char *issuer, *key_file,
	    *cert_file;	     /* of JWTs (RS256, x5c), or NULL: opaque tokens */
	const char *refresh; /* an identity token that is good for a token, or NULL */
};

struct fr_auth; /* opaque */

struct fr_auth *fr_auth_new(const struct fr_auth_opts *opts);

/* How long tokens live, and are said to (0: as long as they do; UINT64_MAX: nothing is said). */
void fr_auth_ttl(struct fr_auth *a, uint64_t ttl_ms, uint64_t says_s);
void fr_auth_expire(struct fr_auth *a); /* those given out so far are void */

/* What is asked for. */
struct fr_access {
	const char *repo; /* NULL: none in particular */
	bool push;
	const char *from; /* NULL, or another repository to pull from */
};

/* Whether the request may; where not, the value of WWW-Authenticate is in CHALLENGE. BASE is the
 * URL that the token server stands below. */
bool fr_auth_check(struct fr_auth *a, const struct fr_request *q, const struct fr_access *want,
		   const char *base, char *challenge, size_t cap);

/* Answers a request for a token: its status, and a document that the caller frees. */
int fr_auth_token(struct fr_auth *a, struct fr_request *q, char **doc);

/* Who a request says it is: "Basic:NAME", "Bearer", "-". */
void fr_auth_who(const struct fr_request *q, char *out, size_t cap);

#endif
