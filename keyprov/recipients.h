/*
 * recipients - for whom layers' keys are wrapped.
 * Threads: ck_recipients_wrap may run on any number of threads at once, each with
 * annotations of its own; adding overlaps nothing.
 */
#ifndef CK_RECIPIENTS_H
#define CK_RECIPIENTS_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "base/secret.h"
#include "keyprov/server.h"

struct ck_recipients; /* opaque */

/* OWN, borrowed, is the key provider that this process is itself; NULL: it is none. *OUT
 * is the caller's. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_recipients_open(struct ck_recipients **out, const struct ck_provider *own,
				     struct ck_err *err);
void ck_recipients_close(struct ck_recipients *r); /* NULL is allowed */

static inline void ck_recipients_closep(struct ck_recipients **r)
{
	ck_recipients_close(*r);
}

/*
 * Adds SPEC as the command line writes it:
 *   "provider:NAME[:VALUE]"  asked as OCICRYPT_KEYPROVIDER_CONFIG says. Where that is not
 *                            set and VALUE is "aasp:<key id>" or "skr:<key id>", OWN
 *   a path                   of a PEM public key or certificate, for a JWE
 * Files are read now, and a key of OWN's is looked up, which may ask the HSM, so that a
 * mistake shows before there is work to lose; other providers are not asked yet.
 * Errors: -EINVAL (not understood, a private key, no such kind of key, more than 64, what
 * to set), -ENOENT (file, or provider), -EBADMSG, errnos, those of the HSM, -ENOMEM.
 */
CK_MUST_CHECK int ck_recipients_add(struct ck_recipients *r, const char *spec, struct ck_err *err);
size_t ck_recipients_count(const struct ck_recipients *r);

/*
 * Wraps OPTS, a layer's private options, for each recipient in the order added, a packet
 * each, and adds the packets to ANNOTATIONS (a JSON object): "," and base64 behind what
 * stands there for the same scheme. All or nothing: on failure ANNOTATIONS is unchanged.
 * What this program would not read back is not written.
 * Errors: -EINVAL (no recipients, OPTS empty or too long), -EBADMSG (ANNOTATIONS as they
 * are, or as they would be, are refused: envelope.h), -EFBIG, those of client.h, -EIO,
 * -ENOMEM.
 */
CK_MUST_CHECK int ck_recipients_wrap(const struct ck_recipients *r, const struct ck_secret *opts,
				     json_t *annotations, struct ck_err *err);

#endif
