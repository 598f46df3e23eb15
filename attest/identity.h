/*
 * identity - a bearer token that says who we are to the HSM, from the VM's managed
 * identity (IMDS) or from a workload identity (a federated token exchanged at AAD).
 *
 * Workload identity is used when AZURE_CLIENT_ID, AZURE_TENANT_ID and
 * AZURE_FEDERATED_TOKEN_FILE are all set; the file is read anew each time, it
 * rotates. A token is remembered until five minutes before it ends.
 * Threads: any; no lock is held across I/O.
 */
#ifndef CK_IDENTITY_H
#define CK_IDENTITY_H

#include "attest/service.h"
#include "base/buf.h"

struct ck_identity; /* opaque */

/* All copied. NULL authority_url: AZURE_AUTHORITY_HOST, else AAD's public one. NULL
 * client_id: AZURE_CLIENT_ID, else the VM's only identity. */
struct ck_identity_opts {
	const char *imds_url, *authority_url, *resource, *client_id;
};

/* Reads the environment. Errors: -EINVAL (malformed URL), -ENOMEM. */
CK_MUST_CHECK int ck_identity_open(struct ck_identity **out, const struct ck_identity_opts *opts,
				   struct ck_err *err);
void ck_identity_close(struct ck_identity *i); /* NULL is allowed */

/* Appends the access token to OUT. Errors: -EACCES (no identity, refused), -EBADMSG,
 * errnos of the token file, those of ck_http_do. */
CK_MUST_CHECK int ck_identity_token(struct ck_identity *i, const struct ck_call *call,
				    struct ck_buf *out, struct ck_err *err);

/* A service did not accept TOKEN: it is not given out again. */
void ck_identity_reject(struct ck_identity *i, const char *token);

/* Copies S, "http[s]://host[:port][/path]" without the last '/'. HTTPS is wanted when
 * TLS, but for loopback. WHAT ("imds_url") is for the message.
 * Errors: -EINVAL, -ENOMEM. */
CK_MUST_CHECK int ck_base_url(char **out, const char *s, bool tls, const char *what,
			      struct ck_err *err);

#endif
