#include "fs/oci/writer.h"

#include <errno.h>
#include <string.h>

#include "fs/oci/entries.h"
#include "fs/oci/layoutstore.h"
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
	if (r->transport == CK_TRANSPORT_DOCKER && ck_referrers_named(r->name))
		return ck_fail(err, -EINVAL, "tag %s is one that what refers to an image has",
			       r->name);
	return r->name && r->transport != CK_TRANSPORT_DOCKER ? ck_entry_name_check(r->name, err)
							      : 0;
}

static int open_store(struct ck_image_writer *w, const struct ck_image_writer_opts *opts,
		      struct ck_err *err)
{
	static const struct ck_image_writer_opts none;
	const struct ck_reference *ref = &w->ref;
	struct ck_registry *r = NULL;

	if (ref->transport != CK_TRANSPORT_DOCKER)
		return ck_layoutstore_open(&w->store, ref->transport, ref->dir, true, err);
	opts = opts ? opts : &none;
	int rc = ck_registry_open(&r, ref->host, ref->repo, &opts->registry, err);
	return rc < 0 ? rc : ck_push_open(&w->store, r, &opts->push, err);
}

int ck_image_writer_open(struct ck_image_writer **out, const char *ref,
			 const struct ck_image_writer_opts *opts, struct ck_err *err)
{
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = calloc(1, sizeof *w);

	if (!w || !(w->text = strdup(ref)))
		return ck_nomem(err, "opening an image for writing");
	int rc = ck_reference_parse(&w->ref, ref, err);
	if (rc < 0)
		return rc;
	rc = check_reference(&w->ref, err);
	if (rc == 0)
		rc = open_store(w, opts, err);
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

int ck_image_writer_commit(struct ck_image_writer *w, const void *manifest, size_t nbytes,
			   const char *media_type, const json_t *platform,
			   uint8_t manifest_digest[CK_SHA256_LEN], struct ck_err *err)
{
	struct ck_new_manifest m = { .p = manifest,
				     .d = { .media_type = media_type, .size = nbytes },
				     .name = w->ref.name,
				     .platform = platform };

	ck_sha256(m.d.digest, manifest, nbytes);
	ck_digest_str(m.d.digest_str, m.d.digest);
	int rc = ck_blobstore_add(w->store, &m, err);
	if (rc < 0)
		return ck_wrap(err, "cannot write image %s", w->text);
	memcpy(manifest_digest, m.d.digest, CK_SHA256_LEN);
	return 0;
}
