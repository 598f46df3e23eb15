/*
 * manifest - the JSON documents of an image, parsed and checked.
 * Source: OCI image spec v1.1 (descriptor.md, manifest.md, image-index.md, config.md);
 * Docker image manifest v2 schema 2.
 * All bytes here are hostile; nothing here opens a file.
 */
#ifndef CK_MANIFEST_H
#define CK_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "fs/oci/media.h"
#include "fs/oci/platform.h"

enum { CK_MANIFEST_MAX_LAYERS = 4096 };

/* Strings and annotations are borrowed from the document's JSON. */
struct ck_descriptor {
	const char *media_type; /* printable ASCII without spaces, at most 255 bytes */
	uint8_t digest[CK_SHA256_LEN];
	char digest_str[CK_DIGEST_STR];
	uint64_t size;		   /* bytes, at most INT64_MAX */
	const json_t *annotations; /* object or NULL */
};

/* Errors: -EBADMSG, -ENOTSUP (a digest algorithm other than SHA-256). */
CK_MUST_CHECK int ck_descriptor_read(struct ck_descriptor *out, const json_t *obj,
				     struct ck_err *err);

/* The same as JSON: a new reference, NULL when memory is out. */
json_t *ck_descriptor_json(const char *media_type, const uint8_t digest[CK_SHA256_LEN],
			   uint64_t size);

struct ck_manifest {
	const char *media_type;
	struct ck_descriptor config;
	struct ck_descriptor *layers; /* owned */
	size_t n_layers;
	json_t *json; /* owned */
};

/*
 * Parses an image manifest. MEDIA_TYPE is what the descriptor said (borrowed), or NULL
 * where there was none: then the document's own word counts. The sizes of all layers
 * together fit an int64.
 * *OUT is the caller's to ck_manifest_free.
 * Errors: -EBADMSG, -ENOTSUP (schema 1, an artifact that is no image), -ENOMEM.
 */
CK_MUST_CHECK int ck_manifest_parse(struct ck_manifest *out, const void *p, size_t nbytes,
				    const char *media_type, struct ck_err *err);
void ck_manifest_free(struct ck_manifest *m); /* {0} is allowed */

/* The media type that a manifest or index has by its own word, or by its members; "": neither.
 * The caller's to free; NULL when memory is out. */
char *ck_manifest_type(const void *p, size_t nbytes);

/* Parses an index (or Docker's manifest list); *OUT is the caller's reference, its
 * "manifests" an array of objects. MEDIA_TYPE as above. Errors: -EBADMSG, -ENOTSUP. */
CK_MUST_CHECK int ck_manifest_list_parse(json_t **out, const void *p, size_t nbytes,
					 const char *media_type, struct ck_err *err);

/*
 * Parses an image config that must name exactly N_LAYERS diff_ids, into
 * DIFF_IDS[0..N_LAYERS), and its PLATFORM. Errors: -EBADMSG, -ENOTSUP.
 */
CK_MUST_CHECK int ck_manifest_config_parse(uint8_t (*diff_ids)[CK_SHA256_LEN], size_t n_layers,
					   struct ck_platform *platform, const void *p,
					   size_t nbytes, struct ck_err *err);

#endif
