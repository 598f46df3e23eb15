/*
 * token - a bearer token from the service that a registry names.
 * Source: Docker Registry v2 authentication via central service (GET, basic credentials) and
 * OAuth2 (POST, grant_type=refresh_token for identity tokens); its answer's token or
 * access_token, expires_in, issued_at.
 * Threads: any.
 */
#ifndef CK_TOKEN_H
#define CK_TOKEN_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/http.h"
#include "fs/registry/authfile.h"

/* What to do where the certificate of somebody is not accepted to whom a registry sends us. */
#define CK_ADVICE_ROOTS_ELSEWHERE                                                                  \
	"the registry's HOST/*.crt in certs_dir count here, too, its skip_verify does not"

struct ck_token_req {
	struct ck_http *http;
	const char *realm;	   /* a URL that ck_token_realm_check let pass */
	const char *service;	   /* NULL: the registry did not say */
	const char *const *scopes; /* n_scopes of them */
	size_t n_scopes;
	const struct ck_creds *creds; /* empty: anonymously */
	uint64_t deadline_ms;	      /* of ck_now_ms */
	const atomic_bool *cancel;    /* may be NULL */
};

/*
 * Whether a registry at ORIGIN may send us to REALM, and with credentials: https, or plain http
 * from a registry that is plain http or on loopback itself; those with credentials only to the
 * same host, or from loopback to loopback.
 * Errors: -EPROTO.
 */
CK_MUST_CHECK int ck_token_realm_check(const char *realm, const char *origin, bool with_creds,
				       struct ck_err *err);

/*
 * Gets a token, appended to OUT, and says for how long it may be used from now on.
 * Errors: -EACCES (the credentials, or their absence, were refused; or who answers there has no
 * certificate that is accepted, and is told nothing), those of ck_http_do, -EPROTO,
 * -EBUSY (429 and 5xx: later, perhaps).
 */
CK_MUST_CHECK int ck_token_get(struct ck_buf *out, uint64_t *lifetime_ms,
			       const struct ck_token_req *req, struct ck_err *err);

/* Whether S has only bytes that can stand in the header that a token becomes. */
bool ck_token_is(const char *s);

/* Reads the answer P[0..NBYTES), which came at NOW_S (of the epoch). All bytes are hostile.
 * Errors: -EPROTO, -ENOMEM. */
CK_MUST_CHECK int ck_token_parse(struct ck_buf *out, uint64_t *lifetime_ms, const void *p,
				 size_t nbytes, int64_t now_s, struct ck_err *err);

#endif
