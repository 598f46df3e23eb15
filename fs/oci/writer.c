#include "fs/oci/writer.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/entries.h"
#include "fs/oci/reference.h"

struct ck_image_writer {
	char *text; /* of the reference, for messages */
	struct ck_reference ref;
	struct ck_blobstore *store;
};

static int check_reference(const struct ck_reference *r, struct ck_err *err)
{
	if (r->pin[0])
		return ck_fail(err, -EINVAL,
			       "a digest follows from what is written, and cannot be asked for");
	if (r->transport == CK_TRANSPORT_DOCKER)
		return ck_fail(err, -ENOTSUP,
			       "images are not pushed to registries yet: write an oci:DIR[:REF]");
	return r->name ? ck_entry_name_check(r->name, err) : 0;
}

int ck_image_writer_open(struct ck_image_writer **out, const char *ref, struct ck_err *err)
{
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = calloc(1, sizeof *w);

	if (!w || !(w->text = strdup(ref)))
		return ck_nomem(err, "opening an image for writing");
	int rc = ck_reference_parse(&w->ref, ref, err);
	if (rc < 0)
		return rc;
	rc = check_reference(&w->ref, err);
	if (rc == 0)
		rc = ck_blobstore_open(&w->store, w->ref.transport, w->ref.dir, true, err);
	if (rc < 0)
		return ck_wrap(err, "cannot write image %s", ref);
	*out = ck_take(w);
	return 0;
}

void ck_image_writer_close(struct ck_image_writer *w)
{
	if (!w)
		return;
	ck_blobstore_close(w->store);
	ck_reference_free(&w->ref);
	free(w->text);
	free(w);
}

int ck_new_blob_open(struct ck_new_blob **out, struct ck_image_writer *w, struct ck_err *err)
{
	int rc = ck_blobstore_blob(out, w->store, err);

	return rc < 0 ? ck_wrap(err, "cannot write image %s", w->text) : 0;
}

int ck_image_writer_put(struct ck_image_writer *w, const void *p, size_t nbytes,
			uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	int rc = ck_blobstore_put(w->store, p, nbytes, digest, err);

	return rc < 0 ? ck_wrap(err, "cannot write image %s", w->text) : 0;
}

int ck_image_writer_copy(struct ck_image_writer *w, struct ck_reader *from,
			 const uint8_t digest[CK_SHA256_LEN], ck_progress_fn *progress, void *ctx,
			 struct ck_err *err)
{
	char text[CK_DIGEST_STR];
	int rc = ck_blobstore_copy(w->store, from, digest, progress, ctx, err);

	ck_digest_str(text, digest);
	return rc < 0 ? ck_wrap(err, "cannot write image %s: blob %s", w->text, text) : 0;
}

/* What a commit makes visible. */
struct image {
	struct ck_image_writer *w;
	const void *manifest;
	size_t nbytes;
	struct ck_descriptor d; /* of the manifest */
	const json_t *platform;
};

static int check_blob(struct ck_image_writer *w, const json_t *obj, const struct ck_descriptor *d,
		      struct ck_err *err)
{
	/* A foreign layer is elsewhere. */
	if (json_object_get(obj, "urls") || ck_blobstore_has(w->store, d->digest, d->size))
		return 0;
	return ck_fail(err, -EINVAL, "its blob %s was not written", d->digest_str);
}

/* An image without one of its blobs is not whole. */
static int check_manifest(const struct image *image, struct ck_err *err)
{
	CK_AUTO(ck_manifest_free) struct ck_manifest m = { 0 };
	int rc = ck_manifest_parse(&m, image->manifest, image->nbytes, image->d.media_type, err);

	if (rc == 0)
		rc = check_blob(image->w, json_object_get(m.json, "config"), &m.config, err);
	for (size_t i = 0; rc == 0 && i < m.n_layers; i++)
		rc = check_blob(image->w, json_array_get(json_object_get(m.json, "layers"), i),
				&m.layers[i], err);
	return rc < 0 ? ck_wrap(err, "manifest") : 0;
}

static int make_index(struct image *image, const struct ck_buf *old, struct ck_buf *new,
		      struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	struct ck_image_writer *w = image->w;

	int rc = ck_blobstore_put(w->store, image->manifest, image->nbytes, image->d.digest, err);
	if (rc < 0)
		return rc;
	ck_digest_str(image->d.digest_str, image->d.digest);
	rc = ck_entries_parse(&index, old->data, old->len, err);
	if (rc < 0)
		return ck_wrap(err, "index.json");
	rc = ck_entries_set(index, &image->d, w->ref.name, image->platform, err);
	return rc < 0 ? rc : ck_json_dump(new, index, err);
}

static int make_root(void *ctx, const struct ck_buf *old, struct ck_buf *new, struct ck_err *err)
{
	struct image *image = ctx;

	int rc = check_manifest(image, err);
	if (rc < 0)
		return rc;
	if (image->w->ref.transport == CK_TRANSPORT_OCI)
		return make_index(image, old, new, err);
	if (old->len)
		return ck_fail(err, -EEXIST, "it holds an image by now");
	ck_sha256(image->d.digest, image->manifest, image->nbytes);
	return ck_buf_add(new, image->manifest, image->nbytes, err);
}

int ck_image_writer_commit(struct ck_image_writer *w, const void *manifest, size_t nbytes,
			   const char *media_type, const json_t *platform,
			   uint8_t manifest_digest[CK_SHA256_LEN], struct ck_err *err)
{
	struct image image = { w, manifest, nbytes, { media_type, .size = nbytes }, platform };
	int rc = nbytes > CK_LAYOUT_MAX_DOC
		     ? ck_fail(err, -EFBIG, "its manifest has %zu bytes, more than the %d allowed",
			       nbytes, CK_LAYOUT_MAX_DOC)
		     : ck_blobstore_commit(w->store, make_root, &image, err);

	if (rc < 0)
		return ck_wrap(err, "cannot write image %s", w->text);
	memcpy(manifest_digest, image.d.digest, CK_SHA256_LEN);
	return 0;
}
