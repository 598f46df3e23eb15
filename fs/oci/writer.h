/*
 * writer - writes one image into a layout or to a registry, whole or not at all.
 *
 * Nobody sees anything of it before the commit. A run that is killed leaves index.json (or
 * a dir's manifest.json, a registry's tag) as it was, and no blob under its name that is not
 * whole; see fs/oci/layoutstore.h and fs/registry/push.h for what else may be left. Writers may
 * work in one layout beside each other, in one process or several: no entry is lost. Threads: open,
 * commit and close one at a time; the blobs of one writer may be written, put and copied by any
 * number of threads beside each other, one at a time for each blob.
 */
#ifndef CK_WRITER_H
#define CK_WRITER_H

#include "fs/oci/blobstore.h"
#include "fs/registry/push.h"

struct ck_image_writer; /* opaque */

/* For a registry. All borrowed for the call of open. */
struct ck_image_writer_opts {
	struct ck_registry_opts registry;
	struct ck_push_opts push;
};

/*
 * REF = "docker://HOST/REPO[:TAG]", "oci:DIR[:REF]" or "dir:DIR"; OPTS may be NULL. DIR is made
 * where it is missing (its parent must be there). To an oci layout the image is added; a dir must
 * be empty, but for what a killed run left. A registry is asked nothing yet. *OUT is the caller's
 * to close. Errors: -EINVAL (a pin; a REF that is no name or one of the form "sha256-<hex>"), those
 * of ck_reference_parse, ck_outdir_open and ck_registry_open.
 */
CK_MUST_CHECK int ck_image_writer_open(struct ck_image_writer **out, const char *ref,
				       const struct ck_image_writer_opts *opts, struct ck_err *err);
/* Without a commit nothing of it stays, and a directory that was made for it is removed.
 * Its new blobs must have been dropped. NULL is allowed. */
void ck_image_writer_close(struct ck_image_writer *w);

static inline void ck_image_writer_closep(struct ck_image_writer **w)
{
	ck_image_writer_close(*w);
}

/* A blob in the making: see ck_new_blob_write, _end and _drop in fs/oci/blobstore.h.
 * *OUT is the caller's to drop, before W is closed. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_new_blob_open(struct ck_new_blob **out, struct ck_image_writer *w,
				   struct ck_err *err);

/* A small blob at once. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_image_writer_put(struct ck_image_writer *w, const void *p, size_t nbytes,
				      uint8_t digest[CK_SHA256_LEN], struct ck_err *err);

/*
 * Passes a blob through: copies FROM, whose bytes must have DIGEST. What is there already, by
 * name and size, or can be mounted, is not read. PROGRESS (over FROM's bytes) may be NULL.
 * Errors: -EBADMSG (they do not), those of the reader, errnos.
 */
CK_MUST_CHECK int ck_image_writer_copy(struct ck_image_writer *w, struct ck_reader *from,
				       const uint8_t digest[CK_SHA256_LEN],
				       ck_progress_fn *progress, void *ctx, struct ck_err *err);

/*
 * Makes the image visible: blobs, then MANIFEST[0..NBYTES), then index.json or
 * manifest.json, each on the disk before the next; or the manifest by its tag. Once only; after a
 * failure the old state is there (but see fs/oci/layoutstore.h), and closing all that is left to
 * do. In index.json the image's entry has the name REF and PLATFORM (an object, borrowed; may be
 * NULL). An image that had the name stays, nameless; without REF the image is added nameless, even
 * where others are. So does skopeo. Errors: -EINVAL (the manifest names a blob that was not written
 * and is not there), -EEXIST (another image came into the dir), -EFBIG (manifest or index.json
 * above 4 MiB), those of ck_manifest_parse and ck_blobstore_add.
 */
CK_MUST_CHECK int ck_image_writer_commit(struct ck_image_writer *w, const void *manifest,
					 size_t nbytes, const char *media_type,
					 const json_t *platform,
					 uint8_t manifest_digest[CK_SHA256_LEN],
					 struct ck_err *err);

#endif
