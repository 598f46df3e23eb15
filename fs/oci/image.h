/*
 * image - an image reference resolved: manifest, config, layers, blobs.
 * Source: OCI image spec v1.1 (manifest, index, config, image layout), Docker
 * image manifest v2 schema 2; references as containers/image writes them.
 */
#ifndef CK_IMAGE_H
#define CK_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/reader.h"
#include "base/text.h"
#include "fs/cache/blobcache.h"
#include "fs/registry/registry.h"

struct ck_image_layer {
	const char *media_type;
	char digest_str[CK_DIGEST_STR];
	uint8_t digest[32];
	uint64_t size;		   /* bytes of the blob */
	const json_t *annotations; /* object or NULL; borrowed from the image */
	uint8_t diff_id[32];
	bool encrypted; /* media type ends in "+encrypted" */
};

struct ck_image {
	char manifest_digest[CK_DIGEST_STR];
	const char *manifest_type; /* media type */
	const void *manifest;	   /* the very bytes, digest-checked */
	size_t manifest_len;
	const void *config;
	size_t config_len;
	char platform[64];		     /* "linux/amd64" as the config says, "" if silent */
	const struct ck_image_layer *layers; /* lowest first */
	size_t n_layers;
	struct ck_registry *registry; /* where it is; NULL: on a disk; borrowed from the image */
	/* private to fs/oci follows */
	void *store;
};

/* How images in registries are read. */
struct ck_image_from {
	const struct ck_registry_opts *registry; /* NULL: as if nothing was configured */
	struct ck_blobcache *cache; /* keeps what comes; outlives the image; NULL: nothing does */
};

/*
 * Opens REF = "oci:DIR[:REF]", "dir:DIR" or "docker://HOST/NAME[:TAG]", each followed by
 * "@sha256:<hex>" where the digest of the manifest, or of the index that it is picked from, must
 * be that one. Which digest a registry's tag had is logged; the image is that from then on.
 * FROM may be NULL. A pinned image whose documents are kept is opened without its registry.
 * PLATFORM = "os/arch[/variant]" picks from a multi-platform index and must be what a
 * single image says; NULL picks the host's. Checks the digests and sizes of
 * manifest and config, that layers and diff_ids are equally many, bounds everything
 * (4 MiB a document, 4096 layers, 2 nested indexes). Blobs of layers are not read.
 * *OUT is the caller's to close.
 * Errors: -EINVAL (reference, platform not there, several images and no REF: the message
 * lists what there is), -ENOENT, -EBADMSG (a document fails a check, a pin does not
 * hold), -ENOTSUP (transport, schema, digest algorithm, no container image), -EFBIG,
 * -ELOOP (a file of the layout is a symbolic link), those of ck_registry_resolve, errnos.
 */
CK_MUST_CHECK int ck_image_open(struct ck_image **out, const char *ref, const char *platform,
				const struct ck_image_from *from, struct ck_err *err);
void ck_image_close(struct ck_image *img); /* NULL is allowed */

static inline void ck_image_closep(struct ck_image **img)
{
	ck_image_close(*img);
}

/* The blob of layer IDX (from 0), its length checked against the manifest; its digest
 * is for the reader of the bytes to check. A registry's is fetched as it is read
 * (fs/registry/remote.h), and its length checked then. Errors: -ENOENT, -EBADMSG, errnos. */
CK_MUST_CHECK int ck_image_blob(const struct ck_image *img, size_t idx, struct ck_reader **out,
				struct ck_err *err);

/* Likewise the blob DIGEST of SIZE bytes in the same place, which no layer need be. In one thread
 * at a time. */
CK_MUST_CHECK int ck_image_other_blob(const struct ck_image *img,
				      const uint8_t digest[CK_SHA256_LEN], uint64_t size,
				      struct ck_reader **out, struct ck_err *err);

#endif
