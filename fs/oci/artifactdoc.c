#include "fs/oci/artifactdoc.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "tar/sealed.h"

#define LAYER_KEY "io.cloakfs.layer"
#define CREATED	  "org.opencontainers.image.created" /* OCI image spec v1.1, annotations.md */

enum { LAYERS_MAX = 2 * CK_MANIFEST_MAX_LAYERS }; /* an index and its windows for each */

static int by_layer(const void *a, const void *b)
{
	const struct ck_artifact_index *x = a, *y = b;

	return memcmp(x->layer, y->layer, sizeof x->layer);
}

/* What is neither an index nor windows may be there. */
static int read_layer(struct ck_artifactdoc *doc, const json_t *obj, struct ck_err *err)
{
	struct ck_artifact_index *out = &doc->indexes[doc->n];
	struct ck_descriptor d;
	const char *layer;
	int rc = ck_descriptor_read(&d, obj, err);

	if (rc == 0 && strcmp(d.media_type, CK_WINDOWS_TYPE) == 0)
		memcpy(doc->windows[doc->n_windows++], d.digest, CK_SHA256_LEN);
	if (rc < 0 || strcmp(d.media_type, CK_ARTIFACT_TYPE) != 0)
		return rc;
	rc = ck_json_str(&layer, d.annotations, LAYER_KEY, true, err);
	if (rc == 0)
		rc = ck_digest_parse(out->layer, layer, err);
	if (rc < 0)
		return ck_wrap(err, "annotation " LAYER_KEY);
	if (d.size > CK_SEALED_MAX)
		return ck_fail(err, -EBADMSG, "its %" PRIu64 " bytes are more than the %d allowed",
			       d.size, CK_SEALED_MAX);
	memcpy(out->digest, d.digest, sizeof out->digest);
	out->size = d.size;
	doc->n++;
	return 0;
}

static int read_indexes(struct ck_artifactdoc *d, const json_t *layers, struct ck_err *err)
{
	size_t n = json_array_size(layers);

	if (n > LAYERS_MAX)
		return ck_fail(err, -EBADMSG, "it has %zu layers, more than the %d allowed", n,
			       LAYERS_MAX);
	d->indexes = calloc(n ? n : 1, sizeof *d->indexes);
	d->windows = calloc(n ? n : 1, sizeof *d->windows);
	if (!d->indexes || !d->windows)
		return ck_nomem(err, "reading an artifact");
	for (size_t i = 0; i < n; i++)
		if (read_layer(d, json_array_get(layers, i), err) < 0)
			return ck_wrap(err, "index %zu", i);
	qsort(d->indexes, d->n, sizeof *d->indexes, by_layer);
	for (size_t i = 1; i < d->n; i++)
		if (by_layer(&d->indexes[i - 1], &d->indexes[i]) == 0)
			return ck_fail(err, -EBADMSG, "it has two indexes of one layer");
	return 0;
}

static int check_subject(const json_t *j, const uint8_t subject[CK_SHA256_LEN], struct ck_err *err)
{
	struct ck_descriptor d;
	json_t *obj;
	int rc = ck_json_obj(&obj, j, "subject", true, err);

	if (rc < 0)
		return rc;
	rc = ck_descriptor_read(&d, obj, err);
	if (rc < 0)
		return ck_wrap(err, "\"subject\"");
	if (memcmp(d.digest, subject, sizeof d.digest) != 0)
		return ck_fail(err, -EBADMSG, "it is about another image, %s", d.digest_str);
	return 0;
}

/* The member KEY must be WANTED. */
static int check_word(const json_t *j, const char *key, const char *wanted, struct ck_err *err)
{
	const char *s;
	int rc = ck_json_str(&s, j, key, true, err);

	if (rc == 0 && strcmp(s, wanted) != 0)
		rc = ck_fail(err, -ENOTSUP, "\"%s\" is %.80s, not %s", key, s, wanted);
	return rc;
}

static int read_manifest(struct ck_artifactdoc *d, const json_t *j,
			 const uint8_t subject[CK_SHA256_LEN], struct ck_err *err)
{
	uint64_t version = 0;
	json_t *layers;
	int rc = ck_json_u64(&version, j, "schemaVersion", true, err);

	if (rc == 0 && version != 2)
		rc = ck_fail(err, -ENOTSUP, "schema version %" PRIu64 " is not supported, only 2",
			     version);
	if (rc == 0)
		rc = check_word(j, "mediaType", CK_MEDIA_MANIFEST, err);
	if (rc == 0)
		rc = check_word(j, "artifactType", CK_ARTIFACT_TYPE, err);
	if (rc == 0)
		rc = check_subject(j, subject, err);
	if (rc == 0)
		rc = ck_json_arr(&layers, j, "layers", true, err);
	return rc < 0 ? rc : read_indexes(d, layers, err);
}

int ck_artifactdoc_parse(struct ck_artifactdoc *out, const void *p, size_t nbytes,
			 const uint8_t subject[CK_SHA256_LEN], struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *j = NULL;
	struct ck_artifactdoc d = { 0 };
	int rc = ck_json_parse(&j, p, nbytes, "it", err);

	if (rc < 0)
		return rc;
	if (!json_is_object(j))
		return ck_fail(err, -EBADMSG, "it is not a JSON object");
	rc = read_manifest(&d, j, subject, err);
	if (rc < 0)
		ck_artifactdoc_free(&d);
	else
		*out = d;
	return rc;
}

void ck_artifactdoc_free(struct ck_artifactdoc *d)
{
	free(d->indexes);
	free(d->windows);
	*d = (struct ck_artifactdoc){ 0 };
}

const struct ck_artifact_index *ck_artifactdoc_find(const struct ck_artifactdoc *d,
						    const uint8_t layer[CK_SHA256_LEN])
{
	struct ck_artifact_index key = { 0 };

	memcpy(key.layer, layer, sizeof key.layer);
	return d->n ? bsearch(&key, d->indexes, d->n, sizeof key, by_layer) : NULL;
}

static json_t *layer_json(const struct ck_artifact_index *x)
{
	char layer[CK_DIGEST_STR];
	json_t *j = ck_descriptor_json(CK_ARTIFACT_TYPE, x->digest, x->size);

	ck_digest_str(layer, x->layer);
	if (j && json_object_set_new(j, "annotations", json_pack("{s:s}", LAYER_KEY, layer)) == 0)
		return j;
	json_decref(j);
	return NULL;
}

/* What stands where an image has its config: "{}", and the same in base64. */
static json_t *empty_json(void)
{
	uint8_t digest[CK_SHA256_LEN];

	ck_sha256(digest, "{}", 2);
	json_t *j = ck_descriptor_json(CK_MEDIA_EMPTY, digest, 2);
	if (j && json_object_set_new(j, "data", json_string("e30=")) == 0)
		return j;
	json_decref(j);
	return NULL;
}

/* As RFC 3339 has it, in UTC: such texts compare as the times do. */
static json_t *created_json(time_t created)
{
	char text[sizeof "2026-01-01T00:00:00Z" + 8];
	struct tm tm;

	if (!gmtime_r(&created, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return NULL;
	return json_pack("{s:s}", CREATED, text);
}

int ck_artifactdoc_make(struct ck_buf *out, const struct ck_descriptor *subject,
			const struct ck_artifact_index *indexes, size_t n, time_t created,
			struct ck_err *err)
{
	json_t *layers = json_array();
	bool ok = layers;

	for (size_t i = 0; ok && i < n; i++) {
		const struct ck_artifact_index *x = &indexes[i];
		ok = json_array_append_new(layers, layer_json(x)) == 0 &&
		     (!x->windows_size ||
		      json_array_append_new(layers, ck_descriptor_json(CK_WINDOWS_TYPE, x->windows,
								       x->windows_size)) == 0);
	}
	/* It takes what it is given, also when it fails. */
	CK_JSON *j = json_pack(
	    "{s:i,s:s,s:s,s:o,s:o,s:o}", "schemaVersion", 2, "mediaType", CK_MEDIA_MANIFEST,
	    "artifactType", CK_ARTIFACT_TYPE, "config", empty_json(), "layers", layers, "subject",
	    ck_descriptor_json(subject->media_type, subject->digest, subject->size));
	if (j && created && json_object_set_new(j, "annotations", created_json(created)) < 0)
		ok = false;
	return ok && j ? ck_json_dump(out, j, err) : ck_nomem(err, "making an artifact");
}

static bool is_ours(const json_t *entry)
{
	const char *type = json_string_value(json_object_get(entry, "artifactType"));

	return type && strcmp(type, CK_ARTIFACT_TYPE) == 0;
}

static const char *created(const json_t *entry)
{
	const char *at =
	    json_string_value(json_object_get(json_object_get(entry, "annotations"), CREATED));

	return at ? at : "";
}

int ck_referrers_pick(struct ck_descriptor *out, const json_t *referrers, struct ck_err *err)
{
	const json_t *manifests = json_object_get(referrers, "manifests"), *best = NULL;

	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *entry = json_array_get(manifests, i);
		if (is_ours(entry) && (!best || strcmp(created(entry), created(best)) > 0))
			best = entry;
	}
	return best ? ck_descriptor_read(out, best, err)
		    : ck_fail(err, -ENOENT, "there are no indexes of the image's layers");
}

int ck_referrers_set(json_t *referrers, const struct ck_descriptor *d, struct ck_err *err)
{
	json_t *manifests = json_object_get(referrers, "manifests");

	for (size_t i = json_array_size(manifests); i-- > 0;)
		if (is_ours(json_array_get(manifests, i)))
			(void)json_array_remove(manifests, i);
	json_t *entry = ck_descriptor_json(d->media_type, d->digest, d->size);
	if (!entry || json_array_append_new(manifests, entry) < 0 ||
	    json_object_set_new(entry, "artifactType", json_string(CK_ARTIFACT_TYPE)) < 0)
		return ck_nomem(err, "adding to an index");
	return 0;
}
