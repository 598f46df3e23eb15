#include "fs/oci/rewrite.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/manifest.h"

/* 0 or -1, like jansson. */
static int set_layer(json_t *to, const struct ck_image_layer *old, const struct ck_new_layer *new)
{
	CK_JSON *core = ck_descriptor_json(new->media_type, new->digest, new->size);

	if (!core || json_object_update(to, core) < 0)
		return -1;
	(void)json_object_del(to, "annotations");
	if (memcmp(old->digest, new->digest, sizeof old->digest) != 0) {
		(void)json_object_del(to, "urls");
		(void)json_object_del(to, "data");
	}
	if (json_object_size(new->annotations) == 0)
		return 0;
	return json_object_set_new(to, "annotations", json_deep_copy(new->annotations));
}

static int set_types(json_t *manifest)
{
	json_t *config = json_object_get(manifest, "config");
	const char *type = json_string_value(json_object_get(config, "mediaType"));

	if (json_object_set_new(manifest, "mediaType", json_string(CK_MEDIA_MANIFEST)) < 0)
		return -1;
	if (!type || strcmp(type, CK_MEDIA_DOCKER_CONFIG) != 0)
		return 0;
	return json_object_set_new(config, "mediaType", json_string(CK_MEDIA_CONFIG));
}

int ck_rewrite_manifest(struct ck_buf *out, const struct ck_image *image,
			const struct ck_new_layer *layers, struct ck_err *err)
{
	CK_AUTO(ck_json_freep) json_t *j = NULL;
	json_t *array;
	int rc = ck_json_parse(&j, image->manifest, image->manifest_len, "the manifest", err);

	if (rc == 0)
		rc = ck_json_arr(&array, j, "layers", image->n_layers > 0, err);
	if (rc < 0)
		return rc;
	if (json_array_size(array) != image->n_layers)
		return ck_fail(err, -EBADMSG, "the manifest has %zu layers, not %zu",
			       json_array_size(array), image->n_layers);
	int ok = set_types(j);
	for (size_t i = 0; ok == 0 && i < image->n_layers; i++)
		ok = set_layer(json_array_get(array, i), &image->layers[i], &layers[i]);
	return ok == 0 ? ck_json_dump(out, j, err) : ck_nomem(err, "making a manifest");
}

void ck_annotations_strip(json_t *annotations)
{
	static const char *const prefixes[] = { "org.opencontainers.image.enc.", "io.cloakfs." };
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(annotations, next, key, value)
	{
		bool is = strncmp(key, prefixes[0], strlen(prefixes[0])) == 0 ||
			  strncmp(key, prefixes[1], strlen(prefixes[1])) == 0;
		if (is)
			(void)json_object_del(annotations, key);
	}
}
