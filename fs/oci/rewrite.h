/*
 * rewrite - the manifest of an image whose layers were converted.
 * Source: OCI image spec v1.1 (manifest.md, descriptor.md).
 * What it does not know it keeps; the same image and layers give the same bytes.
 */
#ifndef CK_REWRITE_H
#define CK_REWRITE_H

#include <jansson.h>

#include "base/buf.h"
#include "fs/oci/image.h"

/* What is new about a layer. All borrowed. */
struct ck_new_layer {
	const char *media_type;
	uint8_t digest[CK_SHA256_LEN];
	uint64_t size;
	const json_t *annotations; /* object; NULL or empty: the layer has none */
};

/*
 * Appends the manifest of IMAGE with LAYERS[0..image->n_layers) in the place of its own. It
 * becomes an OCI manifest, and its config's type OCI's; the config's bytes stay. Of a layer's
 * descriptor all other members stay, but where a blob changed not "urls" and "data", which
 * lead to the old one and hold it.
 * Errors: -EBADMSG, -ENOMEM.
 */
CK_MUST_CHECK int ck_rewrite_manifest(struct ck_buf *out, const struct ck_image *image,
				      const struct ck_new_layer *layers, struct ck_err *err);

/* Removes from ANNOTATIONS (object) what is about a layer's encryption, ocicrypt's and
 * ours: org.opencontainers.image.enc.* and io.cloakfs.*. NULL is allowed. */
void ck_annotations_strip(json_t *annotations);

#endif
