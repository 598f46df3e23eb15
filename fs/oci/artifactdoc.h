/*
 * artifactdoc - the documents of an artifact that holds an image's sealed indexes.
 * Source: OCI image spec v1.1, manifest.md "Guidelines for Artifact Usage" (artifactType,
 * subject, the empty descriptor); OCI distribution spec v1.1, "Referrers Tag Schema".
 *
 * The artifact's manifest has one layer for each sealed index, with the annotation
 * io.cloakfs.layer = the digest of the layer that it is the index of; and one for each blob of
 * windows (tar/windowblob.h), so that whoever copies or keeps the artifact does so with them:
 * which index it is of, that index says.
 * All bytes here are hostile; nothing here opens a file.
 */
#ifndef CK_ARTIFACTDOC_H
#define CK_ARTIFACTDOC_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "fs/oci/manifest.h"

#define CK_ARTIFACT_TYPE "application/vnd.cloakfs.index.v1"
#define CK_WINDOWS_TYPE	 "application/vnd.cloakfs.windows.v1"

/* One sealed index, a blob of SIZE bytes, at most CK_SEALED_MAX. */
struct ck_artifact_index {
	uint8_t layer[CK_SHA256_LEN]; /* digest of what it is the index of */
	uint8_t digest[CK_SHA256_LEN];
	uint64_t size;
	/* Written; which of those that are read belongs to which index, the index says. */
	uint8_t windows[CK_SHA256_LEN];
	uint64_t windows_size; /* bytes; 0: it has none apart */
};

struct ck_artifactdoc {
	struct ck_artifact_index *indexes; /* owned; sorted by layer, each once */
	size_t n;
	uint8_t (*windows)[CK_SHA256_LEN]; /* digests of the blobs of windows, owned */
	size_t n_windows;
};

/*
 * Parses the artifact's manifest, which must be about the image manifest SUBJECT.
 * *OUT is the caller's to ck_artifactdoc_free. Errors: -EBADMSG, -ENOTSUP, -ENOMEM.
 */
CK_MUST_CHECK int ck_artifactdoc_parse(struct ck_artifactdoc *out, const void *p, size_t nbytes,
				       const uint8_t subject[CK_SHA256_LEN], struct ck_err *err);
void ck_artifactdoc_free(struct ck_artifactdoc *d); /* {0} is allowed */

/* The index of a layer, borrowed from D; NULL when there is none. */
const struct ck_artifact_index *ck_artifactdoc_find(const struct ck_artifactdoc *d,
						    const uint8_t layer[CK_SHA256_LEN]);

/* Appends the artifact's manifest, from INDEXES[0..N) in that order, made at
 * CREATED (0: it does not say). Errors: -ENOMEM. */
CK_MUST_CHECK int ck_artifactdoc_make(struct ck_buf *out, const struct ck_descriptor *subject,
				      const struct ck_artifact_index *indexes, size_t n,
				      time_t created, struct ck_err *err);

/* The artifact of ours in the index REFERRERS that says it was created last: a registry keeps older
 * ones beside it. *OUT borrows from it.
 * Errors: -ENOENT, those of ck_descriptor_read. */
CK_MUST_CHECK int ck_referrers_pick(struct ck_descriptor *out, const json_t *referrers,
				    struct ck_err *err);

/* Puts the artifact D into REFERRERS, in the place of older ones of ours. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_referrers_set(json_t *referrers, const struct ck_descriptor *d,
				   struct ck_err *err);

#endif
