/* The JSON documents of an image: no crash, and what is accepted keeps its promises.
 * The first byte says which kind of document the rest is. */
#include <stdlib.h>
#include <string.h>

#include "fs/oci/manifest.h"
#include "fs/oci/pick.h"
#include "fs/oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_descriptor(const struct ck_descriptor *d)
{
	if (strlen(d->digest_str) != 71 || strchr(d->digest_str, '/') || d->size > INT64_MAX ||
	    strlen(d->media_type) > 255)
		abort();
}

static void fuzz_manifest(const void *p, size_t len)
{
	struct ck_manifest m;
	uint64_t total = 0;

	if (ck_manifest_parse(&m, p, len, NULL, NULL) < 0)
		return;
	if (m.n_layers > CK_MANIFEST_MAX_LAYERS || !ck_media_is_manifest(m.media_type))
		abort();
	check_descriptor(&m.config);
	for (size_t i = 0; i < m.n_layers; i++) {
		check_descriptor(&m.layers[i]);
		if (m.layers[i].size > INT64_MAX - total)
			abort();
		total += m.layers[i].size;
	}
	ck_manifest_free(&m);
}

static void fuzz_index(const void *p, size_t len, bool layout)
{
	static const struct ck_platform want = { "linux", "amd64", "" };
	struct ck_wish wish = { .layout = layout, .pin = "", .platform = &want };
	struct ck_descriptor d;
	struct ck_err err = { 0 };
	json_t *index;

	if (ck_manifest_list_parse(&index, p, len, NULL, &err) < 0)
		return;
	if (ck_pick(&d, index, &wish, &err) == 0) {
		check_descriptor(&d);
		if (!ck_media_is_index(d.media_type) && !ck_media_is_manifest(d.media_type))
			abort();
	} else if (err.code >= 0 || !err.msg[0]) {
		abort();
	}
	wish.name = "latest";
	wish.strict = true;
	if (ck_pick(&d, index, &wish, &err) == 0)
		check_descriptor(&d);
	json_decref(index);
}

static void fuzz_config(const void *p, size_t len, size_t n_layers)
{
	uint8_t diff_ids[4][CK_SHA256_LEN];
	struct ck_platform platform;
	char text[CK_PLATFORM_STR];

	if (ck_manifest_config_parse(diff_ids, n_layers, &platform, p, len, NULL) < 0)
		return;
	ck_platform_str(text, &platform);
	for (const char *s = text; *s; s++)
		if (*s < 0x21 || *s > 0x7e)
			abort();
}

static void fuzz_reference(const void *p, size_t len)
{
	struct ck_reference r;
	char *text = strndup(p, len);

	if (text && ck_reference_parse(&r, text, NULL) == 0) {
		bool docker = r.transport == CK_TRANSPORT_DOCKER;
		if (docker != !r.dir || docker != !!r.host || docker != !!r.repo)
			abort();
		if (docker ? !r.host[0] || !r.repo[0] || (!r.name && !r.pin[0]) : !r.dir[0])
			abort();
		if (r.name && !r.name[0])
			abort();
		ck_reference_free(&r);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	/* An exact copy, so that ASan sees a byte read beyond the end. */
	uint8_t *copy = malloc(len - 1 ? len - 1 : 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, len - 1);
	switch (data[0] % 5) {
	case 0:
		fuzz_manifest(copy, len - 1);
		break;
	case 1:
	case 2:
		fuzz_index(copy, len - 1, data[0] % 5 == 1);
		break;
	case 3:
		fuzz_config(copy, len - 1, data[0] / 5 % 5);
		break;
	case 4:
		fuzz_reference(copy, len - 1);
		break;
	}
	free(copy);
	return 0;
}
