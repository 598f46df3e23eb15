/*
 * client - asks another key provider to wrap and unwrap, the way ocicrypt would.
 *
 * Source: ocicrypt docs/keyprovider.md. The file that OCICRYPT_KEYPROVIDER_CONFIG names:
 *     {"key-providers":{NAME:{"cmd":{"path","args"},"grpc":"host:port|unix:///path"}}}
 * cmd wins over grpc. A call, connecting included, has 30 seconds.
 */
#ifndef CK_CLIENT_H
#define CK_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

struct ck_client; /* opaque, read-only once open: any number of threads */

enum { CK_CLIENT_NAME_MAX = 256 };

/* Whether OCICRYPT_KEYPROVIDER_CONFIG is set. (To nothing is not.) */
bool ck_client_configured(void);

/* Takes "NAME[:VALUE]" apart: *VALUE is borrowed from SPEC, NULL when there is none. Errors:
 * -EINVAL (no name, or a very long one). */
CK_MUST_CHECK int ck_client_split(char name[CK_CLIENT_NAME_MAX], const char **value,
				  const char *spec, struct ck_err *err);

/*
 * The provider NAME; VALUE (NULL: "Enabled", as ocicrypt has it) is its parameter. Reads
 * the configuration, connects to nothing. *OUT is the caller's to close.
 * Errors: -EINVAL (variable not set), -ENOENT (file, or provider in it), -EBADMSG,
 * -ENOTSUP (grpc-tls, ttrpc, native), -ENOMEM.
 */
CK_MUST_CHECK int ck_client_open(struct ck_client **out, const char *name, const char *value,
				 struct ck_err *err);
void ck_client_close(struct ck_client *c); /* NULL is allowed */

const char *ck_client_name(const struct ck_client *c);

/*
 * What PACKET[0..LEN) wraps. *OUT is the caller's to free.
 * Errors: -ECONNREFUSED, -ETIMEDOUT, -EPROTO, -EACCES, -EIO (the provider's own answer in
 * the message), -EBADMSG (its answer is malformed), -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_client_unwrap(const struct ck_client *c, const void *packet, size_t len,
				   struct ck_secret *out, struct ck_err *err);

/*
 * Appends to OUT the packet, of 1 to CK_ENVELOPE_PACKET_MAX bytes, that the provider wraps
 * OPTS in. On failure OUT is unchanged. Errors: the same.
 */
CK_MUST_CHECK int ck_client_wrap(const struct ck_client *c, const struct ck_secret *opts,
				 struct ck_buf *out, struct ck_err *err);

#endif
