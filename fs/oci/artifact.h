/*
 * artifact - the sealed indexes of an image, kept beside it in its layout or registry.
 *
 * They are an artifact that refers to the image's manifest (fs/oci/artifactdoc.h), and that
 * is found as in a registry without the referrers API: by the index named
 * "sha256-<hex of the manifest's digest>", which lists what refers to the image.
 * Whoever can write the layout can write an artifact: what a sealed index says is believed
 * when its seal holds, which is for tar/ to find out.
 */
#ifndef CK_ARTIFACT_H
#define CK_ARTIFACT_H

#include "fs/oci/blobstore.h"
#include "fs/registry/registry.h"
#include "tar/layer.h"

/* A sealed index, the digest of the layer's blob that it is about, and the blob of its windows
 * (tar/windowblob.h) where there are any. All borrowed. */
struct ck_index_blob {
	const uint8_t *layer_digest; /* CK_SHA256_LEN bytes */
	const void *p;
	size_t nbytes;
	const void *windows;
	size_t n_windows;
};

/*
 * Adds BLOBS[0..N), at least one, to S for the image whose manifest SUBJECT describes, as an
 * image is added: whole or not at all. An older artifact of ours makes way for it (its blobs
 * stay, until somebody collects what nothing leads to); what else refers to the image stays.
 * Of several indexes of one layer the first is taken. CREATED (0: the artifact does not say) tells
 * readers which of several artifacts is the newest, where a registry keeps them all.
 * Errors: -EINVAL (N), -EFBIG, -EBADMSG (the list of referrers that is there is damaged),
 * those of ck_blobstore_put and ck_blobstore_add.
 */
CK_MUST_CHECK int ck_artifact_write(struct ck_blobstore *s, const struct ck_descriptor *subject,
				    const struct ck_index_blob *blobs, size_t n, time_t created,
				    uint8_t manifest_digest[CK_SHA256_LEN], struct ck_err *err);

struct ck_blobcache;
struct ck_artifact; /* opaque */

/*
 * Opens the artifact in the oci layout DIR for the image with MANIFEST_DIGEST
 * ("sha256:<hex>"). *OUT is the caller's to close.
 * Errors: -ENOENT (there is none), -EBADMSG and others (there is one that cannot be used:
 * the message says why, and the image is read as well without it).
 */
CK_MUST_CHECK int ck_artifact_open(struct ck_artifact **out, const char *dir,
				   const char *manifest_digest, struct ck_err *err);

/* The same in the repository where the image is. R, and CACHE (NULL: none) for its manifest, must
 * outlive it; HURRY_MS: as of ck_registry_referrers. Errors: as above, and those of
 * ck_registry_referrers. */
CK_MUST_CHECK int ck_artifact_open_remote(struct ck_artifact **out, struct ck_registry *r,
					  struct ck_blobcache *cache, const char *manifest_digest,
					  unsigned hurry_ms, struct ck_err *err);
void ck_artifact_close(struct ck_artifact *a); /* NULL is allowed */

static inline void ck_artifact_closep(struct ck_artifact **a)
{
	ck_artifact_close(*a);
}

/* The digest of the sealed index of LAYER ("sha256:<hex>"), which is not read; false: A has none.
 */
bool ck_artifact_has(const struct ck_artifact *a, const char *layer, char digest[CK_DIGEST_STR]);

/* Whether A has the blob of windows DIGEST. */
bool ck_artifact_has_windows(const struct ck_artifact *a, const uint8_t digest[CK_SHA256_LEN]);

/* As a layer asks it; it is for reading alone, by any number of threads. Borrows A. A registry's
 * leads to no blobs: the image's own source does, which keeps them. */
struct ck_index_store ck_artifact_store(struct ck_artifact *a);

#endif
