/* Media types of layers, and the manifest of an image whose layers were converted. */
#include <errno.h>

#include "base/json.h"
#include "fs/oci/image.h"
#include "fs/oci/manifest.h"
#include "fs/oci/rewrite.h"
#include "tests/unit/lib/tmplayout.h"
#include "tests/unit/lib/unit.h"

#define HEX64	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FOREIGN "application/vnd.oci.image.layer.nondistributable.v1.tar"
#define DOCKER	"application/vnd.docker.image.rootfs."

static void names_plaintext_types(void **state)
{
	static const struct {
		const char *why, *type, *compression;
		int code;
		const char *want; /* or a part of the message */
	} rows[] = {
		{ "as it is", TMP_TAR, NULL, 0, TMP_TAR },
		{ "as it is", TMP_TAR "+gzip", NULL, 0, TMP_TAR "+gzip" },
		{ "decrypted", TMP_TAR "+zstd+encrypted", NULL, 0, TMP_TAR "+zstd" },
		{ "decrypted", TMP_TAR "+encrypted", NULL, 0, TMP_TAR },
		{ "compressed anew", TMP_TAR "+gzip+encrypted", "zstd", 0, TMP_TAR "+zstd" },
		{ "compressed", TMP_TAR, "gzip", 0, TMP_TAR "+gzip" },
		{ "decompressed", TMP_TAR "+zstd", "none", 0, TMP_TAR },
		{ "foreign", FOREIGN "+gzip+encrypted", NULL, 0, FOREIGN "+gzip" },
		{ "Docker's", DOCKER "diff.tar.gzip", NULL, 0, TMP_TAR "+gzip" },
		{ "Docker's", DOCKER "diff.tar", NULL, 0, TMP_TAR },
		{ "Docker's", DOCKER "diff.tar.zstd", "none", 0, TMP_TAR },
		{ "Docker's, encrypted", DOCKER "diff.tar.gzip+encrypted", NULL, 0,
		  TMP_TAR "+gzip" },
		{ "Docker's foreign", DOCKER "foreign.diff.tar.gzip", NULL, 0, FOREIGN "+gzip" },
		{ "Docker's foreign", DOCKER "foreign.diff.tar", "zstd", 0, FOREIGN "+zstd" },
		{ "encrypted twice", TMP_TAR "+encrypted+encrypted", NULL, -ENOTSUP,
		  "not a layer's" },
		{ "an unknown compression", TMP_TAR "+xz", NULL, -ENOTSUP, "not a layer's" },
		{ "even where it is replaced", TMP_TAR "+xz", "gzip", -ENOTSUP, "not a layer's" },
		{ "Docker's with OCI's sign", DOCKER "diff.tar+gzip", NULL, -ENOTSUP,
		  "not a layer's" },
		{ "OCI's with Docker's sign", TMP_TAR ".gzip", NULL, -ENOTSUP, "not a layer's" },
		{ "what only starts like one", TMP_TAR "gzip", NULL, -ENOTSUP, "not a layer's" },
		{ "a sign and nothing", TMP_TAR "+", NULL, -ENOTSUP, "not a layer's" },
		{ "something else", TMP_CONFIG, NULL, -ENOTSUP, "not a layer's" },
		{ "the suffix alone", "+encrypted", NULL, -ENOTSUP, "not a layer's" },
		{ "nothing", "", NULL, -ENOTSUP, "not a layer's" },
		{ "a compression that is none", TMP_TAR, "xz", -EINVAL, "compression \"xz\"" },
		{ "a compression that is empty", TMP_TAR, "", -EINVAL, "compression \"\"" },
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_err err = { 0 };
		int rc = ck_media_layer(out, sizeof out, rows[i].type, rows[i].compression, &err);
		const char *got = rc ? err.msg : out;
		if (rc != rows[i].code ||
		    !(rc ? strstr(got, rows[i].want) != NULL : strcmp(got, rows[i].want) == 0))
			fail_msg("%s, %s: %d \"%s\"", rows[i].why, rows[i].type, rc, got);
	}
	/* No room is an error, not a shorter type. */
	struct ck_err err = { 0 };
	assert_fails(ck_media_layer(out, sizeof TMP_TAR - 1, TMP_TAR, NULL, &err), -EMSGSIZE, &err,
		     "no room");
	assert_works(ck_media_layer(out, sizeof TMP_TAR, TMP_TAR, NULL, &err), &err);
}

static void strips_annotations(void **state)
{
	CK_JSON *j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "org.opencontainers.image.enc.keys.jwe",
			       "a", "k", "b", "org.opencontainers.image.enc.pubopts", "c",
			       "org.opencontainers.image.encoding", "d", "io.cloakfs.index", "e",
			       "io.cloakfsx", "f");
	CK_BUF text = { 0 };

	(void)state;
	ck_annotations_strip(j);
	assert_int_equal(ck_json_dump(&text, j, NULL), 0);
	assert_string_equal(ck_buf_str(&text), "{\"k\":\"b\",\"org.opencontainers.image.encoding\":"
					       "\"d\",\"io.cloakfsx\":\"f\"}");
	ck_annotations_strip(NULL);
}

/* An image as ck_image_open gives it. */
static void as_image(struct ck_image *image, struct ck_image_layer *layers, const char *manifest)
{
	struct ck_manifest m;
	struct ck_err err = { 0 };

	assert_works(ck_manifest_parse(&m, manifest, strlen(manifest), NULL, &err), &err);
	*image = (struct ck_image){ .manifest = manifest,
				    .manifest_len = strlen(manifest),
				    .layers = layers,
				    .n_layers = m.n_layers };
	for (size_t i = 0; i < m.n_layers; i++)
		memcpy(layers[i].digest, m.layers[i].digest, 32);
	ck_manifest_free(&m);
}

#define A "\"sha256:a123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
#define B "\"sha256:b123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
#define C "\"sha256:c123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""

static void rewrites_a_manifest(void **state)
{
	static const char docker[] =
	    "{ \"mediaType\": \"application/vnd.docker.distribution.manifest.v2+json\",\n"
	    "\"new\": {\"z\": [1, 2.5, null], \"a\": \"\\u00e9/\"}, \"schemaVersion\": 2,\n"
	    "\"config\": {\"mediaType\": \"application/vnd.docker.container.image.v1+json\","
	    "\"size\": 7, \"digest\": " A ", \"data\": \"e30=\"},\n"
	    "\"layers\": [{\"size\": 1, \"urls\": [\"https://x\"], \"data\": \"eA==\", "
	    "\"mediaType\": "
	    "\"" DOCKER "diff.tar.gzip\", \"new\": true, \"digest\": " A ","
	    "\"annotations\": {\"old\": \"1\"}},\n"
	    "{\"mediaType\": \"" DOCKER "foreign.diff.tar\", \"digest\": " B
	    ", \"size\": 2, \"urls\": [\"https://y\"], \"data\": \"eQ==\", \"annotations\": "
	    "{\"q\": "
	    "\"r\"}}],"
	    "\"annotations\": {\"k\": \"v\"}}";
	static const char want[] =
	    "{\"mediaType\":\"" TMP_MANIFEST "\",\"new\":{\"z\":[1,2.5,null],\"a\":\"\u00e9/\"},"
	    "\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG
	    "\",\"size\":7,\"digest\":" A ",\"data\":\"e30=\"},"
	    "\"layers\":[{\"size\":9223372036854775805,\"mediaType\":\"" TMP_TAR
	    "+gzip+encrypted\",\"new\":true,\"digest\":" C ",\"annotations\":{\"x\":\"y\"}},"
	    "{\"mediaType\":\"" FOREIGN "\",\"digest\":" B
	    ",\"size\":2,\"urls\":[\"https://y\"],\"data\":\"eQ==\"}],"
	    "\"annotations\":{\"k\":\"v\"}}";
	struct ck_image_layer layers[2] = { 0 };
	struct ck_image image;
	CK_JSON *annotations = json_pack("{s:s}", "x", "y"), *none = json_object();
	struct ck_new_layer new[2] = {
		{ .media_type = TMP_TAR "+gzip+encrypted",
		  .size = INT64_MAX - 2,
		  .annotations = annotations },
		{ .media_type = FOREIGN, .size = 2, .annotations = none },
	};
	struct ck_err err = { 0 };

	(void)state;
	as_image(&image, layers, docker);
	memcpy(new[0].digest, layers[0].digest, 32);
	new[0].digest[0] = 0xc1;
	memcpy(new[1].digest, layers[1].digest, 32);
	for (int i = 0; i < 2; i++) {
		CK_BUF out = { 0 };
		assert_works(ck_rewrite_manifest(&out, &image, new, &err), &err);
		assert_string_equal(ck_buf_str(&out), want);
		new[1].annotations = NULL;
		/* It is one that we read ourselves. */
		struct ck_manifest m;
		assert_works(ck_manifest_parse(&m, out.data, out.len, TMP_MANIFEST, &err), &err);
		ck_manifest_free(&m);
	}
}

static void says_what_it_is(void **state)
{
	static const char silent[] = "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG
				     "\",\"digest\":" A ",\"size\":1},\"layers\":null}";
	struct ck_image_layer none[1];
	struct ck_image image;
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };

	(void)state;
	as_image(&image, none, silent);
	assert_works(ck_rewrite_manifest(&out, &image, NULL, &err), &err);
	assert_string_equal(ck_buf_str(&out),
			    "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG
			    "\",\"digest\":" A
			    ",\"size\":1},\"layers\":null,\"mediaType\":\"" TMP_MANIFEST "\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_plaintext_types),
		cmocka_unit_test(strips_annotations),
		cmocka_unit_test(rewrites_a_manifest),
		cmocka_unit_test(says_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
