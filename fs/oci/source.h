/*
 * source - where the documents and blobs of an image come from: a layout on a disk
 * (fs/oci/layout.h) or a registry (fs/registry/registry.h). Threads: any, once open.
 */
#ifndef CK_SOURCE_H
#define CK_SOURCE_H

#include "fs/oci/layout.h"
#include "fs/registry/registry.h"
#include "fs/registry/remote.h"

struct ck_source {
	struct ck_layout layout;      /* fd -1: it is a registry */
	struct ck_registry *registry; /* NULL: it is a layout */
	bool borrowed;		      /* the registry is somebody else's to close */
	struct ck_net *net;	      /* by what its blobs come; owned; NULL: none do */
	struct ck_blobcache *cache;   /* of what comes from the registry; borrowed; NULL: none */
};

#define CK_SOURCE_NONE                                                                             \
	(struct ck_source)                                                                         \
	{                                                                                          \
		.layout.fd = -1                                                                    \
	}

/* Opens what REF names the place of; a registry is asked nothing yet. OPTS: NULL or those of the
 * registry; CACHE (borrowed, may be NULL) keeps what comes from there. *OUT is the caller's to
 * close. Errors: those of ck_layout_open, ck_registry_open and ck_net_open. */
CK_MUST_CHECK int ck_source_open(struct ck_source *out, const struct ck_reference *ref,
				 const struct ck_registry_opts *opts, struct ck_blobcache *cache,
				 struct ck_err *err);
void ck_source_close(struct ck_source *s); /* CK_SOURCE_NONE is allowed */

/* Appends the document D names to OUT, as ck_layout_doc does: checked. */
CK_MUST_CHECK int ck_source_doc(const struct ck_source *s, const struct ck_descriptor *d,
				struct ck_buf *out, struct ck_err *err);

/* The same for any blob of at most MAX bytes. */
CK_MUST_CHECK int ck_source_whole(const struct ck_source *s, const struct ck_descriptor *d,
				  size_t max, struct ck_buf *out, struct ck_err *err);

/* The manifest or index that REFERENCE, a tag or a digest, names in a registry, as
 * ck_registry_resolve gives it; by digest not from there when it is kept. */
CK_MUST_CHECK int ck_source_resolve(const struct ck_source *s, const char *reference,
				    struct ck_buf *doc, char **type, char digest[CK_DIGEST_STR],
				    struct ck_err *err);

/* The blob DIGEST of SIZE bytes; its contents are not checked here, and only the first read of a
 * registry's tells whether it is there. *REMOTE (NULL for a layout's) lives as long as *OUT, which
 * is the caller's to close, before the source. Errors: those of ck_layout_blob. */
CK_MUST_CHECK int ck_source_blob(const struct ck_source *s, const uint8_t digest[CK_SHA256_LEN],
				 uint64_t size, struct ck_reader **out, struct ck_remote **remote,
				 struct ck_err *err);

#endif
