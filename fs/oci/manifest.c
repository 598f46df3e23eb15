#include "fs/oci/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"

/* Media types are printed: nothing that moves a terminal's cursor passes. */
static bool media_type_ok(const char *s)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		if (s[i] <= 0x20 || s[i] >= 0x7f)
			return false;
	return len > 0 && len <= CK_MEDIA_MAX;
}

static int read_digest(struct ck_descriptor *d, const json_t *obj, struct ck_err *err)
{
	const char *s;
	int rc = ck_json_str(&s, obj, "digest", true, err);

	if (rc < 0)
		return rc;
	const char *colon = strchr(s, ':');
	if (colon && strncmp(s, "sha256:", 7) != 0)
		return ck_fail(err, -ENOTSUP, "digest \"%.80s\" is not of algorithm sha256", s);
	rc = ck_digest_parse(d->digest, s, err);
	if (rc == 0)
		ck_digest_str(d->digest_str, d->digest);
	return rc;
}

int ck_descriptor_read(struct ck_descriptor *out, const json_t *obj, struct ck_err *err)
{
	struct ck_descriptor d = { 0 };
	json_t *annotations;

	if (!json_is_object(obj))
		return ck_fail(err, -EBADMSG, "a descriptor is not an object");
	int rc = ck_json_str(&d.media_type, obj, "mediaType", true, err);
	if (rc < 0)
		return rc;
	if (!media_type_ok(d.media_type))
		return ck_fail(err, -EBADMSG, "\"mediaType\" is \"%.80s\"", d.media_type);
	rc = read_digest(&d, obj, err);
	if (rc < 0)
		return rc;
	rc = ck_json_u64(&d.size, obj, "size", true, err);
	if (rc < 0)
		return rc;
	rc = ck_json_obj(&annotations, obj, "annotations", false, err);
	if (rc < 0)
		return rc;
	d.annotations = annotations;
	*out = d;
	return 0;
}

json_t *ck_descriptor_json(const char *media_type, const uint8_t digest[CK_SHA256_LEN],
			   uint64_t size)
{
	char text[CK_DIGEST_STR];

	ck_digest_str(text, digest);
	return json_pack("{s:s,s:s,s:I}", "mediaType", media_type, "digest", text, "size",
			 (json_int_t)size);
}

/* What manifests and indexes have in common. *MEDIA_TYPE is the document's own, or NULL. */
static int open_document(json_t **out, const void *p, size_t nbytes, const char *promised,
			 const char **media_type, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *j = NULL;
	uint64_t version = 0;
	int rc = ck_json_parse(&j, p, nbytes, "it", err);

	if (rc < 0)
		return rc;
	if (!json_is_object(j))
		return ck_fail(err, -EBADMSG, "it is not a JSON object");
	rc = ck_json_u64(&version, j, "schemaVersion", true, err);
	if (rc < 0)
		return rc;
	if (version != 2)
		return ck_fail(err, -ENOTSUP, "schema version %" PRIu64 " is not supported, only 2",
			       version);
	rc = ck_json_str(media_type, j, "mediaType", false, err);
	if (rc < 0)
		return rc;
	if (promised && *media_type && strcmp(promised, *media_type) != 0)
		return ck_fail(err, -EBADMSG,
			       "it says it is %.80s, but what led to it says %.80s: two readers "
			       "would see two images",
			       *media_type, promised);
	*out = ck_take(j);
	return 0;
}

static int read_layers(struct ck_manifest *m, const json_t *array, struct ck_err *err)
{
	size_t n = json_array_size(array);
	uint64_t left = INT64_MAX;

	if (n > CK_MANIFEST_MAX_LAYERS)
		return ck_fail(err, -EBADMSG, "it has %zu layers, more than the %d allowed", n,
			       CK_MANIFEST_MAX_LAYERS);
	m->layers = calloc(n ? n : 1, sizeof *m->layers);
	if (!m->layers)
		return ck_nomem(err, "reading a manifest");
	for (size_t i = 0; i < n; i++) {
		int rc = ck_descriptor_read(&m->layers[i], json_array_get(array, i), err);
		if (rc < 0)
			return ck_wrap(err, "layer %zu", i);
		if (m->layers[i].size > left)
			return ck_fail(err, -EBADMSG, "layer %zu: its size is too large", i);
		left -= m->layers[i].size;
	}
	m->n_layers = n;
	return 0;
}

static int read_manifest(struct ck_manifest *m, struct ck_err *err)
{
	json_t *config, *layers;

	if (json_object_get(m->json, "manifests"))
		return ck_fail(
		    err, -EBADMSG,
		    "it has both layers and manifests: two readers would see two images");
	int rc = ck_json_obj(&config, m->json, "config", true, err);
	if (rc < 0)
		return rc;
	rc = ck_descriptor_read(&m->config, config, err);
	if (rc < 0)
		return ck_wrap(err, "\"config\"");
	bool docker = strcmp(m->config.media_type, CK_MEDIA_DOCKER_CONFIG) == 0;
	if (!docker && strcmp(m->config.media_type, CK_MEDIA_CONFIG) != 0)
		return ck_fail(err, -ENOTSUP, "it is not a container image: its config is %.80s",
			       m->config.media_type);
	if (!m->media_type)
		m->media_type = docker ? CK_MEDIA_DOCKER_MANIFEST : CK_MEDIA_MANIFEST;
	if (!ck_media_is_manifest(m->media_type))
		return ck_fail(err, -ENOTSUP, "it is not an image manifest but %.80s",
			       m->media_type);
	/* Go writes an empty list as null. */
	rc = ck_json_arr(&layers, m->json, "layers", !json_object_get(m->json, "layers"), err);
	return rc < 0 ? rc : read_layers(m, layers, err);
}

int ck_manifest_parse(struct ck_manifest *out, const void *p, size_t nbytes, const char *media_type,
		      struct ck_err *err)
{
	struct ck_manifest m = { 0 };
	int rc = open_document(&m.json, p, nbytes, media_type, &m.media_type, err);

	if (rc < 0)
		return rc;
	if (media_type)
		m.media_type = media_type;
	rc = read_manifest(&m, err);
	if (rc < 0)
		ck_manifest_free(&m);
	else
		*out = m;
	return rc;
}

void ck_manifest_free(struct ck_manifest *m)
{
	free(m->layers);
	json_decref(m->json);
	*m = (struct ck_manifest){ 0 };
}

int ck_manifest_list_parse(json_t **out, const void *p, size_t nbytes, const char *media_type,
			   struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *j = NULL;
	json_t *manifests, *m;
	const char *own;
	size_t i;
	int rc = open_document(&j, p, nbytes, media_type, &own, err);

	if (rc < 0)
		return rc;
	if (own && !ck_media_is_index(own))
		return ck_fail(err, -ENOTSUP, "it is not an image index but %.80s", own);
	if (json_object_get(j, "layers") || json_object_get(j, "config"))
		return ck_fail(
		    err, -EBADMSG,
		    "it has both layers and manifests: two readers would see two images");
	rc = ck_json_arr(&manifests, j, "manifests", true, err);
	if (rc < 0)
		return rc;
	json_array_foreach (manifests, i, m)
		if (!json_is_object(m))
			return ck_fail(err, -EBADMSG, "manifest %zu is not an object", i);
	*out = ck_take(j);
	return 0;
}

static int read_diff_ids(uint8_t (*diff_ids)[CK_SHA256_LEN], size_t n_layers, const json_t *config,
			 struct ck_err *err)
{
	json_t *rootfs, *array;
	const char *type;
	int rc = ck_json_obj(&rootfs, config, "rootfs", true, err);

	if (rc == 0)
		rc = ck_json_str(&type, rootfs, "type", true, err);
	if (rc < 0)
		return rc;
	if (strcmp(type, "layers") != 0)
		return ck_fail(err, -ENOTSUP, "its rootfs is of type \"%.40s\", not \"layers\"",
			       type);
	rc = ck_json_arr(&array, rootfs, "diff_ids", n_layers > 0, err);
	if (rc < 0)
		return rc;
	if (json_array_size(array) != n_layers)
		return ck_fail(err, -EBADMSG,
			       "it has %zu diff_ids, but the manifest has %zu layers: they do not "
			       "belong together",
			       json_array_size(array), n_layers);
	for (size_t i = 0; i < n_layers; i++) {
		const char *s = json_string_value(json_array_get(array, i));
		rc = ck_digest_parse(diff_ids[i], s ? s : "", err);
		if (rc < 0)
			return ck_wrap(err, "diff_id of layer %zu", i);
	}
	return 0;
}

int ck_manifest_config_parse(uint8_t (*diff_ids)[CK_SHA256_LEN], size_t n_layers,
			     struct ck_platform *platform, const void *p, size_t nbytes,
			     struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *j = NULL;
	int rc = ck_json_parse(&j, p, nbytes, "it", err);

	if (rc < 0)
		return rc;
	if (!json_is_object(j))
		return ck_fail(err, -EBADMSG, "it is not a JSON object");
	rc = ck_platform_read(platform, j, err);
	return rc < 0 ? rc : read_diff_ids(diff_ids, n_layers, j, err);
}

char *ck_manifest_type(const void *p, size_t nbytes)
{
	CK_JSON *j = NULL;
	const char *own = NULL;

	if (ck_json_parse(&j, p, nbytes, "it", NULL) == 0)
		own = json_string_value(json_object_get(j, "mediaType"));
	if (!own && json_is_array(json_object_get(j, "manifests")))
		own = CK_MEDIA_INDEX;
	if (!own && json_is_object(json_object_get(j, "config")))
		own = CK_MEDIA_MANIFEST;
	return strdup(own ? own : "");
}
