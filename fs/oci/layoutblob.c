/* layoutblob - blobs in the making in a layout: written to a file, then given to the store. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "fs/oci/layoutstore_steps.h"

struct layoutblob {
	struct ck_new_blob base;
	struct ck_tempfile file;
};

static struct layoutblob *blob_of(struct ck_new_blob *b)
{
	return (struct layoutblob *)b;
}

int ck_layoutblob_open(struct ck_new_blob **out, struct ck_blobstore *base,
		       const struct ck_known_blob *known, struct ck_err *err)
{
	struct ck_layoutstore *s = ck_layoutstore_of(base);

	if (known && ck_layoutstore_there(s, known->digest, known->size)) {
		int rc = ck_layoutstore_item(s, NULL, known->digest, known->size, err);
		return rc < 0 ? rc : 1;
	}
	CK_AUTO(ck_freep) struct layoutblob *b = calloc(1, sizeof *b);
	if (!b)
		return ck_nomem(err, "making a blob");
	int rc = ck_tempfile_open(&b->file, s->dir.blobs, err);
	if (rc < 0)
		return rc;
	*out = &b->base;
	b = NULL;
	return 0;
}

int ck_layoutblob_write(struct ck_new_blob *b, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_fd_write(blob_of(b)->file.fd, p, nbytes, "a blob", err);
}

int ck_layoutblob_end(struct ck_new_blob *base, const uint8_t digest[CK_SHA256_LEN],
		      struct ck_err *err)
{
	struct layoutblob *b = blob_of(base);

	if (fsync(b->file.fd) < 0)
		return ck_fail(err, -errno, "cannot write a blob: %s", strerror(errno));
	return ck_layoutstore_item(ck_layoutstore_of(base->store), &b->file, digest, base->size,
				   err);
}

void ck_layoutblob_drop(struct ck_new_blob *base)
{
	struct layoutblob *b = blob_of(base);

	ck_tempfile_drop(&b->file);
	free(b);
}
