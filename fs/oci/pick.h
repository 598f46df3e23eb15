/*
 * pick - which of an index's manifests is meant: by name, by digest, by platform.
 * Source: OCI image spec v1.1, image-layout.md (org.opencontainers.image.ref.name) and
 * image-index.md: entries of unknown media types are passed over.
 */
#ifndef CK_PICK_H
#define CK_PICK_H

#include "fs/oci/manifest.h"
#include "fs/oci/platform.h"

/*
 * Picks from INDEX (as ck_manifest_list_parse gave it). NAME, NULL when any will do, is
 * a layout's reference name; PIN, "" when none, a digest that wins where it occurs.
 * LAYOUT: INDEX is a layout's index.json, where several unrelated images may stand.
 * *OUT borrows from INDEX.
 * Errors: -ENOENT (no such name), -EINVAL (several images and no NAME, no image for
 * PLATFORM: the message lists what there is), those of ck_descriptor_read.
 */
CK_MUST_CHECK int ck_pick(struct ck_descriptor *out, const json_t *index, bool layout,
			  const char *name, const char *pin, const struct ck_platform *platform,
			  struct ck_err *err);

#endif
