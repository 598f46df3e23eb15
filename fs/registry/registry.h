/*
 * registry - a repository of a registry, as one who pulls and pushes sees it.
 * Source: OCI distribution spec v1.1; Docker Registry HTTP API V2 and its token
 * authentication; containerd's hosts.toml; containers-auth.json(5),
 * containers-certs.d(5).
 *
 * A host has one or more endpoints: its mirrors, as hosts.toml has them, and itself, the
 * last. They are asked in turn. Credentials go to whom they are for, never along a
 * redirect to another host. Nothing that an endpoint says is believed: documents are
 * checked by their digests here, bytes of blobs by whoever takes them.
 * Threads: any, once open.
 */
#ifndef CK_REGISTRY_H
#define CK_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/http.h"
#include "fs/oci/manifest.h"

struct ck_registry; /* opaque */

/* All borrowed for the call of open; NULL or 0 is what the comment says. */
struct ck_registry_opts {
	const char *auth_file;		 /* REGISTRY_AUTH_FILE, else as containers-auth.json(5) */
	const char *hosts_dir;		 /* /etc/containerd/certs.d */
	const char *certs_dir;		 /* /etc/containers/certs.d, then /etc/docker/certs.d */
	const char *const *plain_http;	 /* "HOST[:PORT]"s, NULL-ended; loopback is always tried */
	const struct ck_http_opts *http; /* roots and addresses for all endpoints */
	uint64_t timeout_ms;		 /* of a request, with all its tries; 30,000 */
};

/*
 * HOST = "NAME[:PORT]", REPO = "library/debian". Asks nothing yet. *OUT is the caller's to close.
 * Errors: -EINVAL (a name that cannot be), -EBADMSG (a configuration that cannot be read: the
 * message names file and line), errnos, -ENOMEM.
 */
CK_MUST_CHECK int ck_registry_open(struct ck_registry **out, const char *host, const char *repo,
				   const struct ck_registry_opts *opts, struct ck_err *err);
void ck_registry_close(struct ck_registry *r); /* NULL is allowed */

static inline void ck_registry_closep(struct ck_registry **r)
{
	ck_registry_close(*r);
}

const char *ck_registry_host(const struct ck_registry *r);
const char *ck_registry_repo(const struct ck_registry *r);

/*
 * Gets the manifest or index that REFERENCE, a tag or "sha256:<hex>", names: appends its bytes
 * to DOC (at most 4 MiB), and says its media type (*TYPE is the caller's to free) and digest.
 * Bytes that do not have the digest that was asked for are refused.
 * Errors: -ENOENT (none there), -EACCES (credentials: the message says which were used, and
 * from where), -EBADMSG, -EFBIG, -ETIMEDOUT, -ECONNREFUSED, -EPROTO.
 */
CK_MUST_CHECK int ck_registry_resolve(struct ck_registry *r, const char *reference,
				      struct ck_buf *doc, char **type, char digest[CK_DIGEST_STR],
				      struct ck_err *err);

/* Appends the document or blob that D names, of at most MAX bytes, checked as ck_layout_whole
 * does: a manifest or an index from manifests/, else from blobs/. Errors: as above. */
CK_MUST_CHECK int ck_registry_whole(struct ck_registry *r, const struct ck_descriptor *d,
				    size_t max, struct ck_buf *out, struct ck_err *err);

/* A range of a blob to be fetched. */
struct ck_registry_want {
	uint8_t digest[CK_SHA256_LEN];
	uint64_t size;		   /* of the blob, bytes */
	uint64_t off, len;	   /* not empty, within it */
	bool afresh;		   /* what came before was wrong: no mirrors, no caches */
	uint64_t deadline_ms;	   /* from now, for all tries; 0: that of the options */
	const atomic_bool *cancel; /* NULL, or gives up soon after it becomes true */
};

/* Takes bytes of the blob at OFF, in order, unchecked, and not always what was asked for: where a
 * registry knows no ranges they are those of the whole blob. */
struct ck_registry_taker {
	int (*data)(void *ctx, uint64_t off, const void *p, size_t nbytes, struct ck_err *err);
	void *ctx;
};

struct ck_registry_fetched {
	uint64_t nbytes;  /* of bodies, wanted or not */
	uint64_t wait_us; /* from a request to the first byte of its answer, the last one's */
	uint64_t body_us; /* from there to its end */
	unsigned n_tries; /* requests beyond the first */
	bool whole;	  /* ranges are not to be had there */
};

/*
 * Fetches a range. Tries again, from where it was cut, with pauses, other endpoints, fresh
 * tokens and fresh redirects, until the deadline. An answer whose status, Content-Range or
 * length are not those of what was asked for is not taken; a registry that gives no usable
 * range is asked for the whole blob. When this returns 0 every byte of the range has been given
 * to TAKER. FETCHED is filled either way.
 * Errors: -ENOENT (it has no such blob), -EACCES, -ETIMEDOUT, -ECONNREFUSED, -EPROTO,
 * -ECANCELED, those of TAKER.
 */
CK_MUST_CHECK int ck_registry_fetch(struct ck_registry *r, const struct ck_registry_want *want,
				    const struct ck_registry_taker *taker,
				    struct ck_registry_fetched *fetched, struct ck_err *err);

/* A request of any other kind, for those who push; PATH stands behind "/v2/REPO/", or is a whole
 * URL of the registry's own choice (Location). */
struct ck_registry_req {
	const char *method, *path;
	const char *const *headers; /* "Name: value", n_headers of them */
	size_t n_headers;
	const void *body;
	size_t body_len;
	bool push;		/* needs the right to push, and goes to no mirror */
	const char *mount_from; /* NULL, or a repository to read from, too */
	size_t max_body;	/* of the answer; 0: 4 MiB */
	unsigned tries;		/* 0: 5; 1 where it must not be sent twice */
	unsigned timeout_ms; /* with all its tries, where that is more than the options say ... */
	unsigned stall_ms;   /* ... and without a byte; 0: a part of the options' */
	unsigned hurry_ms; /* 0, or it is no loss not to know: it takes no longer, and each endpoint
			      is asked once */
};

/* Returns 0 when an answer came, whatever its status, but for 401, 429 and those from 500 on, which
 * are tried again. *RES is the caller's to ck_http_res_free either way. */
CK_MUST_CHECK int ck_registry_do(struct ck_registry *r, const struct ck_registry_req *req,
				 struct ck_http_res *res, struct ck_err *err);

/* What an answer that was not hoped for says, as an error: status, the registry's own code and
 * message, and, where it is about rights, with whose credentials it was asked, and what to do.
 * -ENOENT for 404, -EACCES for 401 and 403, else -EPROTO. */
CK_MUST_CHECK int ck_registry_refused(const struct ck_http_res *res, struct ck_err *err);

#endif
