/*
 * pick - which of an index's manifests is meant: by name, by digest, by platform.
 * Source: OCI image spec v1.1, image-layout.md (org.opencontainers.image.ref.name) and
 * image-index.md: entries of unknown media types are passed over. So is what refers to
 * an image (fs/oci/entries.h), unless its name was asked for.
 */
#ifndef CK_PICK_H
#define CK_PICK_H

#include "fs/oci/manifest.h"
#include "fs/oci/platform.h"

struct ck_wish {
	bool layout;	  /* the index is a layout's index.json: unrelated images may stand there */
	const char *name; /* a layout's reference name, NULL: any */
	const char *pin;  /* a digest that wins where it occurs, "": none */
	const struct ck_platform *platform;
	bool strict; /* the platform was asked for: a single image must have it, too */
};

/*
 * Picks from INDEX (as ck_manifest_list_parse gave it) what ASKED describes.
 * *OUT borrows from INDEX.
 * Errors: -ENOENT (no such name), -EINVAL (several images and no name, no image for
 * the platform: the message lists what there is), -ENOTSUP (artifacts only), those of
 * ck_descriptor_read.
 */
CK_MUST_CHECK int ck_pick(struct ck_descriptor *out, const json_t *index,
			  const struct ck_wish *asked, struct ck_err *err);

#endif
