/*
 * server - the key provider that ocicrypt clients (skopeo, image-rs) call.
 * Wraps with the public half of a KEK, unwraps by attestation and release.
 * Protocol: ocicrypt's keyprovider JSON, over gRPC (h2c) or stdin/stdout ("cmd").
 */
#ifndef CK_SERVER_H
#define CK_SERVER_H

#include "attest/attest.h"
#include "base/buf.h"
#include "base/err.h"

/* Where a KEK's public half and hosts come from. Strings are borrowed by every
 * call that takes this and must outlive it. */
struct ck_provider {
	struct ck_attest *attest; /* for unwrapping, and for public keys from the HSM */
	const char *key_info_dir; /* <dir>/<kid>-info.json, AASP's files; NULL: none */
	const char *hsm_host;	  /* for a kid without info file; NULL: an error then */
	const char *maa_host;
};

/*
 * Handles one request of ocicrypt's "cmd" form: a JSON document IN[0..NBYTES) with
 * "op" keywrap or keyunwrap; appends the JSON answer to OUT. Neither is ever logged.
 * Errors: -EBADMSG, -EINVAL (malformed or unsupported request), or those of the HSM.
 */
CK_MUST_CHECK int ck_provider_handle(const struct ck_provider *p, const void *in, size_t nbytes,
				     struct ck_buf *out, struct ck_err *err);

/*
 * AASP's one-shot wrap: reads <PREFIX>-info.json, wraps P[0..NBYTES), appends
 * base64(packet) to OUT. Its inverse takes that text. Errors: as above.
 */
CK_MUST_CHECK int ck_provider_wrap(const struct ck_provider *p, const char *prefix, const void *in,
				   size_t nbytes, struct ck_buf *out, struct ck_err *err);
CK_MUST_CHECK int ck_provider_unwrap(const struct ck_provider *p, const char *text, size_t nbytes,
				     struct ck_buf *out, struct ck_err *err);

/*
 * Serves gRPC on LISTEN = "unix:PATH" (mode 0600, peers of our own uid or root) or
 * "HOST:PORT" (loopback addresses only) until STOP_FD becomes readable. Calls ON_READY
 * (may be NULL) with the address actually bound ("127.0.0.1:41234" for port 0) once
 * connections are accepted. Bounded: 64 connections, 4 MiB a message, 60 s a call.
 * Errors: -EINVAL (address), errnos of bind and listen.
 */
CK_MUST_CHECK int ck_provider_serve(const struct ck_provider *p, const char *listen, int stop_fd,
				    void (*on_ready)(void *ctx, const char *address), void *ctx,
				    struct ck_err *err);

#endif
