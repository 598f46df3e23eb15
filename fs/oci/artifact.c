#include "fs/oci/artifact.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/blobstore.h"
#include "fs/oci/entries.h"
#include "fs/oci/layout.h"
#include "fs/oci/source.h"
#include "fs/registry/referrers.h"
#include "tar/sealed.h"

struct ck_artifact {
	struct ck_source source;
	struct ck_artifactdoc doc;
};

/* A blob that something leads to must be there: -ENOENT would say that there is nothing. */
static int missing_is_damage(int rc, struct ck_err *err)
{
	if (rc == -ENOENT && err)
		err->code = -EBADMSG;
	return rc == -ENOENT ? -EBADMSG : rc;
}

/*
 * Reads the list of what refers to an image, if INDEX names it. *OUT is the caller's
 * reference. Errors: -ENOENT (it does not), -EBADMSG, -ENOTSUP, errnos.
 */
static int read_referrers(json_t **out, const struct ck_layout *l, const json_t *index,
			  const char *name, struct ck_err *err)
{
	CK_BUF text = { 0 };
	struct ck_descriptor d;
	const json_t *entry = ck_entries_find(index, name);

	if (!entry)
		return ck_fail(err, -ENOENT, "nothing refers to the image");
	int rc = ck_descriptor_read(&d, entry, err);
	if (rc == 0 && !ck_media_is_index(d.media_type))
		rc = ck_fail(err, -EBADMSG, "it is not an index but %.80s", d.media_type);
	if (rc == 0)
		rc = ck_layout_doc(l, &d, &text, err);
	if (rc == 0)
		rc = ck_manifest_list_parse(out, text.data, text.len, d.media_type, err);
	rc = missing_is_damage(rc, err);
	return rc < 0 ? ck_wrap(err, "index %s", name) : 0;
}

static int read_artifact(struct ck_artifact *a, const json_t *referrers,
			 const uint8_t subject[CK_SHA256_LEN], struct ck_err *err)
{
	CK_BUF text = { 0 };
	struct ck_descriptor d;
	int rc = ck_referrers_pick(&d, referrers, err);

	if (rc < 0)
		return rc;
	rc = missing_is_damage(ck_source_doc(&a->source, &d, &text, err), err);
	if (rc == 0)
		rc = ck_artifactdoc_parse(&a->doc, text.data, text.len, subject, err);
	return rc < 0 ? ck_wrap(err, "artifact %s", d.digest_str) : 0;
}

static int find_artifact(struct ck_artifact *a, const uint8_t subject[CK_SHA256_LEN],
			 struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL, *referrers = NULL;
	CK_BUF text = { 0 };
	char name[CK_REFERRERS_NAME];

	ck_referrers_name(name, subject);
	int rc = ck_layout_root(&a->source.layout, &text, err);
	if (rc == 0)
		rc = ck_manifest_list_parse(&index, text.data, text.len, NULL, err);
	if (rc < 0)
		return ck_wrap(err, "index.json");
	rc = read_referrers(&referrers, &a->source.layout, index, name, err);
	return rc < 0 ? rc : read_artifact(a, referrers, subject, err);
}

int ck_artifact_open(struct ck_artifact **out, const char *dir, const char *manifest_digest,
		     struct ck_err *err)
{
	CK_AUTO(ck_artifact_closep) struct ck_artifact *a = calloc(1, sizeof *a);
	uint8_t subject[CK_SHA256_LEN];

	if (!a)
		return ck_nomem(err, "opening an artifact");
	a->source = CK_SOURCE_NONE;
	int rc = ck_digest_parse(subject, manifest_digest, err);
	if (rc == 0)
		rc = ck_layout_open(&a->source.layout, CK_TRANSPORT_OCI, dir, err);
	if (rc == 0)
		rc = find_artifact(a, subject, err);
	if (rc < 0)
		return ck_wrap(err, "indexes in %s", dir);
	*out = ck_take(a);
	return 0;
}

int ck_artifact_open_remote(struct ck_artifact **out, struct ck_registry *r,
			    const char *manifest_digest, struct ck_err *err)
{
	CK_AUTO(ck_artifact_closep) struct ck_artifact *a = calloc(1, sizeof *a);
	CK_AUTO(ck_json_freep) json_t *referrers = NULL;
	uint8_t subject[CK_SHA256_LEN];

	if (!a)
		return ck_nomem(err, "opening an artifact");
	a->source = CK_SOURCE_NONE;
	a->source.registry = r;
	a->source.borrowed = true;
	int rc = ck_digest_parse(subject, manifest_digest, err);
	if (rc == 0)
		rc = ck_registry_referrers(&referrers, r, manifest_digest, CK_ARTIFACT_TYPE, err);
	if (rc == 0)
		rc = read_artifact(a, referrers, subject, err);
	if (rc < 0)
		return ck_wrap(err, "indexes in %s/%s", ck_registry_host(r), ck_registry_repo(r));
	*out = ck_take(a);
	return 0;
}

void ck_artifact_close(struct ck_artifact *a)
{
	if (!a)
		return;
	ck_source_close(&a->source);
	ck_artifactdoc_free(&a->doc);
	free(a);
}

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	const struct ck_artifact *a = ctx;
	struct ck_descriptor d = { 0 };
	uint8_t layer[CK_SHA256_LEN];
	int rc = ck_digest_parse(layer, digest, err);

	if (rc < 0)
		return rc;
	const struct ck_artifact_index *x = ck_artifactdoc_find(&a->doc, layer);
	if (!x)
		return ck_fail(err, -ENOENT, "the artifact has no index of %s", digest);
	memcpy(d.digest, x->digest, sizeof d.digest);
	d.size = x->size;
	size_t max = out->max && out->max < CK_SEALED_MAX ? out->max : CK_SEALED_MAX;
	rc = missing_is_damage(ck_source_whole(&a->source, &d, max, out, err), err);
	return rc < 0 ? ck_wrap(err, "the artifact's index of %s", digest) : 0;
}

struct ck_index_store ck_artifact_store(struct ck_artifact *a)
{
	return (struct ck_index_store){ .load = load, .ctx = a };
}

/* What a commit makes visible. */
struct added {
	struct ck_blobstore *store;
	struct ck_descriptor d; /* of the artifact's manifest */
	char name[CK_REFERRERS_NAME];
};

/* Puts the list of referrers with the new artifact in it, and describes it in D. */
static int put_referrers(const struct added *a, const json_t *index, struct ck_descriptor *d,
			 struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *referrers = NULL;
	CK_BUF text = { 0 };

	int rc = read_referrers(&referrers, ck_blobstore_layout(a->store), index, a->name, err);
	if (rc == -ENOENT) {
		referrers = json_pack("{s:i,s:s,s:[]}", "schemaVersion", 2, "mediaType",
				      CK_MEDIA_INDEX, "manifests");
		rc = referrers ? 0 : ck_nomem(err, "making an index");
	}
	if (rc == 0)
		rc = ck_referrers_set(referrers, &a->d, err);
	if (rc == 0)
		rc = ck_json_dump(&text, referrers, err);
	if (rc == 0 && text.len > CK_LAYOUT_MAX_DOC)
		rc = ck_fail(err, -EFBIG, "the list of what refers to the image grows too large");
	if (rc < 0)
		return rc;
	*d = (struct ck_descriptor){ .media_type = CK_MEDIA_INDEX, .size = text.len };
	return ck_blobstore_put(a->store, text.data, text.len, d->digest, err);
}

static int make_index(void *ctx, const struct ck_buf *old, struct ck_buf *new, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	const struct added *a = ctx;
	struct ck_descriptor d;

	int rc = ck_entries_parse(&index, old->data, old->len, err);
	if (rc < 0)
		return ck_wrap(err, "index.json");
	rc = put_referrers(a, index, &d, err);
	if (rc == 0)
		rc = ck_entries_replace(index, &d, a->name, err);
	return rc < 0 ? rc : ck_json_dump(new, index, err);
}

static bool has(const struct ck_artifact_index *indexes, size_t n, const uint8_t *layer)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(indexes[i].layer, layer, CK_SHA256_LEN) == 0)
			return true;
	return false;
}

/* Puts the blobs and the manifest, which A then describes. */
static int put_artifact(struct added *a, const struct ck_descriptor *subject,
			const struct ck_index_blob *blobs, size_t n, struct ck_err *err)
{
	CK_AUTO(ck_freep) struct ck_artifact_index *x = calloc(n, sizeof *x);
	CK_BUF manifest = { 0 };
	uint8_t empty[CK_SHA256_LEN];
	size_t n_x = 0;

	if (!x)
		return ck_nomem(err, "making an artifact");
	int rc = ck_blobstore_put(a->store, "{}", 2, empty, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (has(x, n_x, blobs[i].layer_digest))
			continue;
		if (blobs[i].nbytes > CK_SEALED_MAX)
			return ck_fail(err, -EFBIG,
				       "an index has %zu bytes, more than the %d "
				       "allowed",
				       blobs[i].nbytes, CK_SEALED_MAX);
		memcpy(x[n_x].layer, blobs[i].layer_digest, CK_SHA256_LEN);
		x[n_x].size = blobs[i].nbytes;
		rc = ck_blobstore_put(a->store, blobs[i].p, blobs[i].nbytes, x[n_x].digest, err);
		n_x++;
	}
	if (rc == 0)
		rc = ck_artifactdoc_make(&manifest, subject, x, n_x, err);
	if (rc < 0)
		return rc;
	a->d = (struct ck_descriptor){ .media_type = CK_MEDIA_MANIFEST, .size = manifest.len };
	return ck_blobstore_put(a->store, manifest.data, manifest.len, a->d.digest, err);
}

int ck_artifact_write(const char *dir, const struct ck_descriptor *subject,
		      const struct ck_index_blob *blobs, size_t n,
		      uint8_t manifest_digest[CK_SHA256_LEN], struct ck_err *err)
{
	CK_AUTO(ck_blobstore_closep) struct ck_blobstore *store = NULL;
	struct added a = { 0 };

	if (n == 0 || n > CK_MANIFEST_MAX_LAYERS)
		return ck_fail(err, -EINVAL, "an artifact of %zu indexes", n);
	int rc = ck_blobstore_open(&store, CK_TRANSPORT_OCI, dir, true, err);
	if (rc == 0) {
		a.store = store;
		ck_referrers_name(a.name, subject->digest);
		rc = put_artifact(&a, subject, blobs, n, err);
	}
	if (rc == 0)
		rc = ck_blobstore_commit(store, make_index, &a, err);
	if (rc < 0)
		return ck_wrap(err, "cannot add indexes to %s", dir);
	memcpy(manifest_digest, a.d.digest, CK_SHA256_LEN);
	return 0;
}
