#include "fs/oci/artifact.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/entries.h"
#include "fs/oci/layout.h"
#include "fs/oci/reflist.h"
#include "fs/oci/source.h"
#include "fs/registry/referrers.h"
#include "tar/sealed.h"

struct ck_artifact {
	struct ck_source source;
	struct ck_artifactdoc doc;
};

static int read_artifact(struct ck_artifact *a, const json_t *referrers,
			 const uint8_t subject[CK_SHA256_LEN], struct ck_err *err)
{
	CK_BUF text = { 0 };
	struct ck_descriptor d;
	int rc = ck_referrers_pick(&d, referrers, err);

	if (rc < 0)
		return rc;
	rc = ck_missing_is_damage(ck_source_doc(&a->source, &d, &text, err), err);
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
	rc = ck_reflist_read(&referrers, &a->source.layout, index, name, err);
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
			    struct ck_blobcache *cache, const char *manifest_digest,
			    unsigned hurry_ms, struct ck_err *err)
{
	CK_AUTO(ck_artifact_closep) struct ck_artifact *a = calloc(1, sizeof *a);
	CK_AUTO(ck_json_freep) json_t *referrers = NULL;
	uint8_t subject[CK_SHA256_LEN];

	if (!a)
		return ck_nomem(err, "opening an artifact");
	a->source = CK_SOURCE_NONE;
	a->source.registry = r;
	a->source.borrowed = true;
	a->source.cache = cache;
	int rc = ck_digest_parse(subject, manifest_digest, err);
	if (rc == 0)
		rc = ck_registry_referrers(&referrers, r, manifest_digest, CK_ARTIFACT_TYPE,
					   hurry_ms, err);
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

bool ck_artifact_has(const struct ck_artifact *a, const char *layer, char digest[CK_DIGEST_STR])
{
	uint8_t raw[CK_SHA256_LEN];
	const struct ck_artifact_index *x =
	    ck_digest_parse(raw, layer, NULL) == 0 ? ck_artifactdoc_find(&a->doc, raw) : NULL;

	if (x)
		ck_digest_str(digest, x->digest);
	return x;
}

bool ck_artifact_has_windows(const struct ck_artifact *a, const uint8_t digest[CK_SHA256_LEN])
{
	for (size_t i = 0; i < a->doc.n_windows; i++)
		if (memcmp(a->doc.windows[i], digest, CK_SHA256_LEN) == 0)
			return true;
	return false;
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
	rc = ck_missing_is_damage(ck_source_whole(&a->source, &d, max, out, err), err);
	return rc < 0 ? ck_wrap(err, "the artifact's index of %s", digest) : 0;
}

static int blob(void *ctx, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		struct ck_reader **out, struct ck_err *err)
{
	const struct ck_artifact *a = ctx;

	return ck_layout_blob(&a->source.layout, digest, size, out, err);
}

struct ck_index_store ck_artifact_store(struct ck_artifact *a)
{
	return (struct ck_index_store){ .load = load,
					.blob = a->source.registry ? NULL : blob,
					.ctx = a };
}

static bool has(const struct ck_artifact_index *indexes, size_t n, const uint8_t *layer)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(indexes[i].layer, layer, CK_SHA256_LEN) == 0)
			return true;
	return false;
}

/* Puts the blobs, and makes the MANIFEST that names them. */
static int put_indexes(struct ck_blobstore *s, struct ck_buf *manifest,
		       const struct ck_descriptor *subject, const struct ck_index_blob *blobs,
		       size_t n, time_t created, struct ck_err *err)
{
	CK_AUTO(ck_freep) struct ck_artifact_index *x = calloc(n, sizeof *x);
	uint8_t empty[CK_SHA256_LEN];
	size_t n_x = 0;

	if (!x)
		return ck_nomem(err, "making an artifact");
	int rc = ck_blobstore_put(s, "{}", 2, empty, err);
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
		x[n_x].windows_size = blobs[i].n_windows;
		rc = ck_blobstore_put(s, blobs[i].p, blobs[i].nbytes, x[n_x].digest, err);
		if (rc == 0 && blobs[i].n_windows)
			rc = ck_blobstore_put(s, blobs[i].windows, blobs[i].n_windows,
					      x[n_x].windows, err);
		n_x++;
	}
	return rc < 0 ? rc : ck_artifactdoc_make(manifest, subject, x, n_x, created, err);
}

int ck_artifact_write(struct ck_blobstore *s, const struct ck_descriptor *subject,
		      const struct ck_index_blob *blobs, size_t n, time_t created,
		      uint8_t manifest_digest[CK_SHA256_LEN], struct ck_err *err)
{
	CK_BUF manifest = { 0 };
	struct ck_new_manifest m = { .d.media_type = CK_MEDIA_MANIFEST, .subject = subject };

	if (n == 0 || n > CK_MANIFEST_MAX_LAYERS)
		return ck_fail(err, -EINVAL, "an artifact of %zu indexes", n);
	int rc = put_indexes(s, &manifest, subject, blobs, n, created, err);
	if (rc == 0) {
		m.p = manifest.data;
		m.d.size = manifest.len;
		ck_sha256(m.d.digest, manifest.data, manifest.len);
		ck_digest_str(m.d.digest_str, m.d.digest);
		rc = ck_blobstore_add(s, &m, err);
	}
	if (rc < 0)
		return ck_wrap(err, "cannot add indexes to %s", ck_blobstore_name(s));
	memcpy(manifest_digest, m.d.digest, CK_SHA256_LEN);
	return 0;
}
