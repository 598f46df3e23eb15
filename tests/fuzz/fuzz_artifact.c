/* The documents of an artifact, and those that we change: no crash, what is accepted keeps
 * its promises, and what is made of it can be read again.
 * The first byte says which kind of document the rest is. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/entries.h"
#include "fs/oci/rewrite.h"
#include "tar/sealed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const uint8_t subject[CK_SHA256_LEN] = { 1, 2, 3 };

static struct ck_descriptor some_descriptor(void)
{
	struct ck_descriptor d = { .media_type = CK_MEDIA_MANIFEST, .size = 7 };

	memcpy(d.digest, subject, sizeof d.digest);
	ck_digest_str(d.digest_str, d.digest);
	return d;
}

static void check_same(const struct ck_artifactdoc *a, const struct ck_artifactdoc *b)
{
	if (a->n != b->n || (a->n && memcmp(a->indexes, b->indexes, a->n * sizeof *a->indexes)))
		abort();
}

static void fuzz_artifact(const void *p, size_t len)
{
	struct ck_artifactdoc d, again;
	struct ck_descriptor about = some_descriptor();
	CK_BUF text = { 0 };

	if (ck_artifactdoc_parse(&d, p, len, subject, NULL) < 0)
		return;
	if (d.n > CK_MANIFEST_MAX_LAYERS)
		abort();
	for (size_t i = 0; i < d.n; i++)
		if (d.indexes[i].size > CK_SEALED_MAX ||
		    ck_artifactdoc_find(&d, d.indexes[i].layer) != &d.indexes[i])
			abort();
	if (ck_artifactdoc_make(&text, &about, d.indexes, d.n, (time_t)d.n, NULL) < 0 ||
	    ck_artifactdoc_parse(&again, text.data, text.len, subject, NULL) < 0)
		abort();
	check_same(&d, &again);
	ck_artifactdoc_free(&d);
	ck_artifactdoc_free(&again);
}

static void check_dumps(const json_t *index)
{
	CK_AUTO(ck_json_freep) json_t *again = NULL;
	CK_BUF text = { 0 };

	if (ck_json_dump(&text, index, NULL) < 0 ||
	    ck_manifest_list_parse(&again, text.data, text.len, NULL, NULL) < 0 ||
	    !json_equal(index, again))
		abort();
}

static void fuzz_referrers(const void *p, size_t len)
{
	CK_AUTO(ck_json_freep) json_t *list = NULL;
	struct ck_descriptor d = some_descriptor(), found;

	if (ck_manifest_list_parse(&list, p, len, NULL, NULL) < 0)
		return;
	if (ck_referrers_pick(&found, list, NULL) == 0 && strlen(found.digest_str) != 71)
		abort();
	size_t n = json_array_size(json_object_get(list, "manifests"));
	if (ck_referrers_set(list, &d, NULL) < 0 || ck_referrers_pick(&found, list, NULL) < 0 ||
	    memcmp(found.digest, d.digest, sizeof d.digest) != 0 ||
	    json_array_size(json_object_get(list, "manifests")) > n + 1)
		abort();
	check_dumps(list);
}

static void fuzz_entries(const void *p, size_t len)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	struct ck_descriptor d = some_descriptor(), found;

	if (ck_entries_parse(&index, p, len, NULL) < 0)
		return;
	size_t n = json_array_size(json_object_get(index, "manifests"));
	if (ck_entries_set(index, &d, "x", NULL, NULL) < 0 ||
	    ck_descriptor_read(&found, ck_entries_find(index, "x"), NULL) < 0 ||
	    memcmp(found.digest, d.digest, sizeof d.digest) != 0)
		abort();
	size_t after = json_array_size(json_object_get(index, "manifests"));
	if (after < n || after > n + 1)
		abort();
	check_dumps(index);
	if (ck_entries_set(index, &d, "x", NULL, NULL) < 0 ||
	    json_array_size(json_object_get(index, "manifests")) != after)
		abort();
}

static void fuzz_rewrite(const void *p, size_t len)
{
	static struct ck_new_layer new[CK_MANIFEST_MAX_LAYERS];
	static struct ck_image_layer layers[CK_MANIFEST_MAX_LAYERS];
	struct ck_image image = { .manifest = p, .manifest_len = len, .layers = layers };
	struct ck_manifest m, again;
	char type[256];
	CK_BUF out = { 0 };

	if (ck_manifest_parse(&m, p, len, NULL, NULL) < 0)
		return;
	image.n_layers = m.n_layers;
	for (size_t i = 0; i < m.n_layers; i++) {
		int rc = ck_media_layer(type, sizeof type, m.layers[i].media_type, NULL, NULL);
		if (rc == 0 && (strstr(type, "docker") || strstr(type, "encrypted")))
			abort();
		memcpy(layers[i].digest, m.layers[i].digest, CK_SHA256_LEN);
		new[i] = (struct ck_new_layer){ .media_type = "a/b", .size = i };
		ck_annotations_strip((json_t *)(uintptr_t)m.layers[i].annotations);
		new[i].annotations = m.layers[i].annotations;
	}
	if (ck_rewrite_manifest(&out, &image, new, NULL) < 0 ||
	    ck_manifest_parse(&again, out.data, out.len, CK_MEDIA_MANIFEST, NULL) < 0)
		abort();
	if (again.n_layers != m.n_layers || strcmp(again.config.media_type, CK_MEDIA_CONFIG) != 0)
		abort();
	ck_manifest_free(&m);
	ck_manifest_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const kinds[])(const void *, size_t) = { fuzz_artifact, fuzz_referrers,
							       fuzz_entries, fuzz_rewrite };

	if (len == 0)
		return 0;
	/* An exact copy, so that ASan sees a byte read beyond the end. */
	uint8_t *copy = malloc(len - 1 ? len - 1 : 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, len - 1);
	kinds[data[0] % 4](copy, len - 1);
	free(copy);
	return 0;
}
