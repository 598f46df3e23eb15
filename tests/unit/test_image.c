/* References, platforms, layouts, and what hostile documents get. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/oci/image.h"
#include "fs/oci/platform.h"
#include "fs/oci/reference.h"
#include "tests/unit/lib/tmplayout.h"

#define N_ROWS(a) (sizeof(a) / sizeof((a)[0]))
#define HEX64	  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIFF_ID	  "\"sha256:" HEX64 "\""
#define GOOD_CONFIG                                                                                \
	"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\","            \
	"\"diff_ids\":[" DIFF_ID "]}}"
/* $C: the config's descriptor, $L: the layer's, both without braces. */
#define GOOD_MANIFEST "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{$L}]}"

/* A layout with a config and a layer blob, to be filled by each test. */
struct fixture {
	struct tmplayout t;
	struct tmpblob config, layer;
	const char *values[2]; /* of $C and $L */
};

static int setup(void **state)
{
	static struct fixture f;

	tmplayout_make(&f.t);
	tmplayout_file(&f.t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
	f.config = tmplayout_text(&f.t, GOOD_CONFIG);
	f.layer = tmplayout_text(&f.t, "layer bytes");
	f.values[0] = strdup(tmplayout_descriptor(TMP_CONFIG, &f.config));
	f.values[1] = strdup(tmplayout_descriptor(TMP_TAR "+gzip+encrypted", &f.layer));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free((char *)(uintptr_t)f->values[0]);
	free((char *)(uintptr_t)f->values[1]);
	tmplayout_remove(&f->t);
	return 0;
}

static void write_index(struct fixture *f, const char *text)
{
	tmplayout_file(&f->t, "index.json", text, strlen(text));
}

static struct tmpblob add_manifest(struct fixture *f, const char *template)
{
	return tmplayout_text(&f->t, tmplayout_fill(template, "CL", f->values));
}

/* A layout of one image. */
static struct tmpblob one_image(struct fixture *f, const char *template)
{
	struct tmpblob m = add_manifest(f, template);

	write_index(f, tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
				     tmplayout_descriptor(TMP_MANIFEST, &m)));
	return m;
}

static int open_ref(struct fixture *f, const char *transport, const char *rest,
		    const char *platform, struct ck_image **img, struct ck_err *err)
{
	*img = NULL;
	memset(err, 0, sizeof *err);
	return ck_image_open(img, tmplayout_fmt("%s:%s%s", transport, f->t.dir, rest), platform,
			     NULL, err);
}

static void expect_refused(struct fixture *f, const char *why, const char *rest,
			   const char *platform, int code, const char *part)
{
	struct ck_image *img;
	struct ck_err err;
	int rc = open_ref(f, "oci", rest, platform, &img, &err);

	if (rc != code || !strstr(err.msg, part))
		fail_msg("%s: got %d \"%s\", want %d \"%s\"", why, rc, err.msg, code, part);
	assert_null(img);
}

static void opens_a_single_image(void **state)
{
	struct fixture *f = *state;
	struct tmpblob m = one_image(f, GOOD_MANIFEST);
	struct ck_image *img;
	struct ck_reader *blob = NULL;
	struct ck_err err;
	char bytes[11];

	assert_int_equal(open_ref(f, "oci", "", NULL, &img, &err), 0);
	assert_string_equal(img->manifest_digest, m.digest);
	assert_string_equal(img->manifest_type, TMP_MANIFEST);
	assert_int_equal(img->manifest_len, m.size);
	assert_string_equal(img->platform, "linux/amd64");
	assert_int_equal(img->config_len, f->config.size);
	assert_int_equal(img->n_layers, 1);
	assert_string_equal(img->layers[0].digest_str, f->layer.digest);
	assert_string_equal(img->layers[0].media_type, TMP_TAR "+gzip+encrypted");
	assert_true(img->layers[0].encrypted);
	assert_int_equal(img->layers[0].diff_id[1], 0x23);
	assert_int_equal(ck_image_blob(img, 0, &blob, &err), 0);
	assert_int_equal(ck_reader_len(blob), 11);
	assert_int_equal(ck_reader_pread(blob, bytes, 11, 0, &err), 0);
	assert_memory_equal(bytes, "layer bytes", 11);
	ck_reader_close(blob);
	assert_int_equal(ck_image_blob(img, 1, &blob, &err), -EINVAL);
	ck_image_close(img);
}

static void opens_skopeos_dir(void **state)
{
	struct fixture *f = *state;
	struct ck_image *img;
	struct ck_reader *blob = NULL;
	struct ck_err err;
	const char *m = tmplayout_fill(GOOD_MANIFEST, "CL", f->values);

	tmplayout_file(&f->t, "manifest.json", m, strlen(m));
	tmplayout_file(&f->t, f->config.digest + 7, GOOD_CONFIG, strlen(GOOD_CONFIG));
	tmplayout_file(&f->t, f->layer.digest + 7, "layer bytes", 11);
	tmplayout_file(&f->t, "version", "Directory Transport Version: 1.1\n", 33);
	assert_int_equal(open_ref(f, "dir", "", NULL, &img, &err), 0);
	assert_string_equal(img->manifest_type, TMP_MANIFEST);
	assert_int_equal(ck_image_blob(img, 0, &blob, &err), 0);
	ck_reader_close(blob);
	const char *pin = tmplayout_fmt("@%s", img->manifest_digest);
	ck_image_close(img);
	assert_int_equal(open_ref(f, "dir", pin, NULL, &img, &err), 0);
	ck_image_close(img);
	assert_int_equal(open_ref(f, "dir", "@sha256:" HEX64, NULL, &img, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "is not the pinned"));
	tmplayout_file(&f->t, "version", "Directory Transport Version: 2.0\n", 33);
	assert_int_equal(open_ref(f, "dir", "", NULL, &img, &err), -ENOTSUP);
}

static void picks_by_name(void **state)
{
	struct fixture *f = *state;
	struct tmpblob a = add_manifest(f, GOOD_MANIFEST), b = add_manifest(f, GOOD_MANIFEST " ");
	const char *entry = "{%s,\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}}";
	const char *fmt = "{\"schemaVersion\":2,\"manifests\":[%s,%s]}";
	struct ck_image *img;
	struct ck_err err;
	char one[1024], two[1024];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(one, sizeof one, entry, tmplayout_descriptor(TMP_MANIFEST, &a), "latest");
	snprintf(two, sizeof two, entry, tmplayout_descriptor(TMP_MANIFEST, &b), "v2:old");
	write_index(f, tmplayout_fmt(fmt, one, two));
	assert_int_equal(open_ref(f, "oci", ":v2:old", NULL, &img, &err), 0);
	assert_string_equal(img->manifest_digest, b.digest);
	ck_image_close(img);
	assert_int_equal(open_ref(f, "oci", tmplayout_fmt("@%s", b.digest), NULL, &img, &err), 0);
	assert_string_equal(img->manifest_digest, b.digest);
	ck_image_close(img);
	expect_refused(f, "several, none named", "", NULL, -EINVAL, "latest, v2:old");
	expect_refused(f, "no such name", ":v3", NULL, -ENOENT, "only: latest, v2:old");
	expect_refused(f, "the name's image is not the pinned",
		       tmplayout_fmt(":latest@%s", b.digest), NULL, -EBADMSG, "is not the pinned");
	snprintf(two, sizeof two, entry, tmplayout_descriptor(TMP_MANIFEST, &a), "v1");
	write_index(f, tmplayout_fmt(fmt, one, two));
#pragma GCC diagnostic pop
	/* Two names of one image leave no doubt. */
	assert_int_equal(open_ref(f, "oci", "", NULL, &img, &err), 0);
	ck_image_close(img);
}

static void picks_by_platform(void **state)
{
	struct fixture *f = *state;
	static const char *const platforms[] = {
		"\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v6\"",
		"\"os\":\"linux\",\"architecture\":\"arm64\"",
		"\"os\":\"unknown\",\"architecture\":\"unknown\"",
	};
	static const char *const parts[][2] = { { "arm", ",\"variant\":\"v6\"" },
						{ "arm64", "" },
						{ "unknown", "" } };
	char list[4096] = "";
	struct tmpblob m[3], index;
	struct ck_image *img;
	struct ck_err err;

	for (size_t i = 0; i < 3; i++) {
		struct tmpblob c = tmplayout_text(
		    &f->t, tmplayout_fmt("{\"os\":\"%s\",\"architecture\":\"%s\"%s,\"rootfs\":{"
					 "\"type\":\"layers\",\"diff_ids\":[" DIFF_ID "]}}",
					 i == 2 ? "unknown" : "linux", parts[i][0], parts[i][1]));
		const char *values[] = { tmplayout_descriptor(TMP_CONFIG, &c), f->values[1] };
		m[i] = tmplayout_text(&f->t, tmplayout_fill(GOOD_MANIFEST, "CL", values));
		size_t len = strlen(list);
		snprintf(list + len, sizeof list - len, "%s{%s,\"platform\":{%s}}", i ? "," : "",
			 tmplayout_descriptor(TMP_MANIFEST, &m[i]), platforms[i]);
	}
	const char *text = tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[%s]}", list);
	index = tmplayout_text(&f->t, text);
	write_index(f, tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
				     tmplayout_descriptor(TMP_INDEX, &index)));
	for (int nested = 1; nested >= 0; nested--) {
		assert_int_equal(open_ref(f, "oci", "", "linux/arm64/v8", &img, &err), 0);
		assert_string_equal(img->manifest_digest, m[1].digest);
		ck_image_close(img);
		assert_int_equal(open_ref(f, "oci", "", "linux/arm/v7", &img, &err), 0);
		assert_string_equal(img->manifest_digest, m[0].digest);
		assert_string_equal(img->platform, "linux/arm/v6");
		ck_image_close(img);
		expect_refused(f, "not there", "", "linux/s390x", -EINVAL,
			       "no image for linux/s390x, only for: linux/arm/v6, linux/arm64");
		/* An index.json may itself be the list. */
		if (nested) {
			const char *pin = tmplayout_fmt("@%s", index.digest);
			assert_int_equal(open_ref(f, "oci", pin, "linux/arm64", &img, &err), 0);
			ck_image_close(img);
			/* A pinned manifest needs no platform. */
			pin = tmplayout_fmt("@%s", m[0].digest);
			assert_int_equal(open_ref(f, "oci", pin, NULL, &img, &err), 0);
			ck_image_close(img);
			write_index(f, text);
		}
	}
}

#define ON(arch) ",\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch "\"}"
#define NAMED(n) ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" n "\"}"

/* An index of two manifests, with what follows each descriptor. */
static const char *two(const struct tmpblob *a, const char *after_a, const struct tmpblob *b,
		       const char *after_b)
{
	return tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s%s},{%s%s}]}",
			     tmplayout_descriptor(TMP_MANIFEST, a), after_a,
			     tmplayout_descriptor(TMP_MANIFEST, b), after_b);
}

static void tells_names_from_platforms(void **state)
{
	struct fixture *f = *state;
	struct tmpblob a = add_manifest(f, GOOD_MANIFEST), b = add_manifest(f, GOOD_MANIFEST " ");
	struct ck_image *img;
	struct ck_err err;

	/* Two images, not one for two platforms. */
	write_index(f, two(&a, ON("amd64") NAMED("one"), &b, ON("arm64") NAMED("two")));
	expect_refused(f, "named for themselves", "", NULL, -EINVAL, "say which");
	/* One name for both: one image. Of equals the first counts. */
	write_index(f, two(&a, ON("amd64") NAMED("x"), &b, ON("amd64") NAMED("x")));
	assert_int_equal(open_ref(f, "oci", ":x", "linux/amd64", &img, &err), 0);
	assert_string_equal(img->manifest_digest, a.digest);
	ck_image_close(img);
	write_index(f, two(&a, NAMED("x"), &b, NAMED("x")));
	expect_refused(f, "nothing tells them apart", ":x", NULL, -EINVAL, "several images");
}

static void looks_below_by_platform_alone(void **state)
{
	struct fixture *f = *state;
	struct tmpblob a = add_manifest(f, GOOD_MANIFEST), b = add_manifest(f, GOOD_MANIFEST " ");
	struct tmpblob index = tmplayout_text(&f->t, two(&a, ON("s390x"), &b, ON("amd64")));
	const char *fmt = tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s" NAMED("x") "}]}",
					tmplayout_descriptor(TMP_INDEX, &index));
	struct ck_image *img;
	struct ck_err err;

	/* The name is the layout's: the index below knows it not. */
	write_index(f, fmt);
	assert_int_equal(open_ref(f, "oci", ":x", "linux/amd64", &img, &err), 0);
	assert_string_equal(img->manifest_digest, b.digest);
	ck_image_close(img);
	/* In an index a single image still has to suit. */
	index = tmplayout_text(&f->t, two(&a, ON("none"), &a, ON("none")));
	write_index(f, tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
				     tmplayout_descriptor(TMP_INDEX, &index)));
	expect_refused(f, "for another machine", "", NULL, -EINVAL, "only for: linux/none");
}

static void refuses_another_platform(void **state)
{
	struct fixture *f = *state;

	one_image(f, GOOD_MANIFEST);
	expect_refused(f, "asked for", "", "linux/arm64", -EINVAL,
		       "its platform is linux/amd64, not linux/arm64");
}

static void bounds_nested_indexes(void **state)
{
	struct fixture *f = *state;
	struct tmpblob m = add_manifest(f, GOOD_MANIFEST);
	const char *type = TMP_MANIFEST;
	struct ck_image *img;
	struct ck_err err;

	/* index.json, and 0 to 3 indexes below it. */
	for (int depth = 0; depth <= 3; depth++) {
		const char *text = tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
						 tmplayout_descriptor(type, &m));
		write_index(f, text);
		if (depth <= 2) {
			assert_int_equal(open_ref(f, "oci", "", NULL, &img, &err), 0);
			ck_image_close(img);
		} else {
			expect_refused(f, "3 deep", "", NULL, -EBADMSG, "more than 2 deep");
		}
		m = tmplayout_text(&f->t, text);
		type = TMP_INDEX;
	}
}

/* Documents that must be refused; each is otherwise well-formed. */
static void refuses_hostile_manifests(void **state)
{
	static const struct {
		const char *why, *manifest;
		int code;
		const char *part;
	} rows[] = {
		{ "not JSON", "{", -EBADMSG, "not valid JSON" },
		{ "empty", "", -EBADMSG, "not valid JSON" },
		{ "an array", "[]", -EBADMSG, "not a JSON object" },
		{ "duplicate keys hide one", "{\"schemaVersion\":2,\"schemaVersion\":2}", -EBADMSG,
		  "duplicate object key" },
		{ "schema 1", "{\"schemaVersion\":1}", -ENOTSUP, "schema version 1" },
		{ "no version", "{\"config\":{$C},\"layers\":[{$L}]}", -EBADMSG,
		  "\"schemaVersion\" is missing" },
		{ "type differs from the descriptor's",
		  "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution."
		  "manifest.v2+json\",\"config\":{$C},\"layers\":[{$L}]}",
		  -EBADMSG, "two readers would see two images" },
		{ "manifest and index at once",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{$L}],\"manifests\":[]}",
		  -EBADMSG, "both layers and manifests" },
		{ "no config", "{\"schemaVersion\":2,\"layers\":[{$L}]}", -EBADMSG,
		  "\"config\" is missing" },
		{ "an artifact",
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
		  "vnd.oci.empty.v1+json\",\"digest\":\"sha256:" HEX64 "\",\"size\":2},"
		  "\"layers\":[]}",
		  -ENOTSUP, "not a container image" },
		{ "no layers", "{\"schemaVersion\":2,\"config\":{$C}}", -EBADMSG,
		  "\"layers\" is missing" },
		{ "layers is an object", "{\"schemaVersion\":2,\"config\":{$C},\"layers\":{}}",
		  -EBADMSG, "\"layers\" is not an array" },
		{ "a layer is a string", "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[\"\"]}",
		  -EBADMSG, "layer 0: a descriptor is not an object" },
		{ "more layers than diff_ids",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{$L},{$L}]}", -EBADMSG,
		  "1 diff_ids, but the manifest has 2 layers" },
		{ "fewer layers than diff_ids",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[]}", -EBADMSG,
		  "1 diff_ids, but the manifest has 0 layers" },
		{ "a digest that climbs out",
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG "\",\"digest\":"
		  "\"sha256:../../../../etc/passwd\",\"size\":2},\"layers\":[]}",
		  -EBADMSG, "is not sha256:<64 hex digits>" },
		{ "a digest in upper case",
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG "\",\"digest\":"
		  "\"sha256:ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		  "\"size\":2},\"layers\":[]}",
		  -EBADMSG, "is not sha256:<64 hex digits>" },
		{ "another algorithm",
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG "\",\"digest\":"
		  "\"sha512:" HEX64 HEX64 "\",\"size\":2},\"layers\":[]}",
		  -ENOTSUP, "not of algorithm sha256" },
		{ "a negative size",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{\"mediaType\":\"a/b\","
		  "\"digest\":\"sha256:" HEX64 "\",\"size\":-1}]}",
		  -EBADMSG, "\"size\" is not a whole number >= 0" },
		{ "a size beyond integers",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{\"mediaType\":\"a/b\","
		  "\"digest\":\"sha256:" HEX64 "\",\"size\":9223372036854775808}]}",
		  -EBADMSG, "not valid JSON" },
		{ "sizes that overflow together",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{$L},{\"mediaType\":\"a/b\","
		  "\"digest\":\"sha256:" HEX64 "\",\"size\":9223372036854775807}]}",
		  -EBADMSG, "layer 1: its size is too large" },
		{ "a media type that drives terminals",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{\"mediaType\":\"a/b\\u001b["
		  "2J\",\"digest\":\"sha256:" HEX64 "\",\"size\":1}]}",
		  -EBADMSG, "\"mediaType\" is" },
		{ "a media type with a NUL",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{\"mediaType\":\"a/b\\u0000\","
		  "\"digest\":\"sha256:" HEX64 "\",\"size\":1}]}",
		  -EBADMSG, "not valid JSON" },
		{ "annotations that are a list",
		  "{\"schemaVersion\":2,\"config\":{$C},\"layers\":[{\"mediaType\":\"a/b\","
		  "\"digest\":\"sha256:" HEX64 "\",\"size\":1,\"annotations\":[]}]}",
		  -EBADMSG, "\"annotations\" is not an object" },
		{ "a config too large",
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG "\",\"digest\":"
		  "\"sha256:" HEX64 "\",\"size\":4194305},\"layers\":[]}",
		  -EFBIG, "more than the 4194304 allowed" },
		{ "a config that is not there",
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" TMP_CONFIG "\",\"digest\":"
		  "\"sha256:" HEX64 "\",\"size\":2},\"layers\":[]}",
		  -ENOENT, "No such file" },
	};

	for (size_t i = 0; i < N_ROWS(rows); i++) {
		one_image(*state, rows[i].manifest);
		expect_refused(*state, rows[i].why, "", NULL, rows[i].code, rows[i].part);
	}
}

static void bounds_the_number_of_layers(void **state)
{
	static char text[1 << 20];
	struct fixture *f = *state;
	size_t len = (size_t)sprintf(text, "{\"schemaVersion\":2,\"config\":{%s},\"layers\":[",
				     f->values[0]);

	for (int i = 0; i < 4097; i++)
		len += (size_t)sprintf(text + len, "%s{%s}", i ? "," : "", f->values[1]);
	strcpy(text + len, "]}");
	struct tmpblob m = tmplayout_text(&f->t, text);
	write_index(f, tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
				     tmplayout_descriptor(TMP_MANIFEST, &m)));
	expect_refused(f, "4097 layers", "", NULL, -EBADMSG, "more than the 4096 allowed");
}

static void refuses_hostile_configs(void **state)
{
	static const struct {
		const char *why, *config;
		int code;
		const char *part;
	} rows[] = {
		{ "not JSON", "nonsense", -EBADMSG, "not valid JSON" },
		{ "not an object", "[1]", -EBADMSG, "not a JSON object" },
		{ "no rootfs", "{}", -EBADMSG, "\"rootfs\" is missing" },
		{ "another type of rootfs", "{\"rootfs\":{\"type\":\"disk\"}}", -ENOTSUP,
		  "not \"layers\"" },
		{ "no diff_ids", "{\"rootfs\":{\"type\":\"layers\"}}", -EBADMSG,
		  "\"diff_ids\" is missing" },
		{ "a diff_id that is a number",
		  "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[1]}}", -EBADMSG,
		  "diff_id of layer 0" },
		{ "a diff_id cut short",
		  "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:12\"]}}", -EBADMSG,
		  "diff_id of layer 0" },
		{ "a platform that drives terminals",
		  "{\"os\":\"\\u001b[31m\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" DIFF_ID
		  "]}}",
		  -EBADMSG, "\"os\" is" },
		{ "a platform too long",
		  "{\"architecture\":\"aaaaaaaaaaaaaaaaaaaa\",\"rootfs\":{\"type\":\"layers\","
		  "\"diff_ids\":[" DIFF_ID "]}}",
		  -EBADMSG, "\"architecture\" is" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < N_ROWS(rows); i++) {
		struct tmpblob c = tmplayout_text(&f->t, rows[i].config);
		const char *values[] = { tmplayout_descriptor(TMP_CONFIG, &c), f->values[1] };
		struct tmpblob m =
		    tmplayout_text(&f->t, tmplayout_fill(GOOD_MANIFEST, "CL", values));
		write_index(f, tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
					     tmplayout_descriptor(TMP_MANIFEST, &m)));
		expect_refused(f, rows[i].why, "", NULL, rows[i].code, rows[i].part);
	}
}

static void refuses_hostile_indexes(void **state)
{
	static const struct {
		const char *why, *index;
		int code;
		const char *part;
	} rows[] = {
		{ "not JSON", "{\"schemaVersion\":2", -EBADMSG,
		  "index.json: it is not valid JSON" },
		{ "no manifests", "{\"schemaVersion\":2}", -EBADMSG, "\"manifests\" is missing" },
		{ "none", "{\"schemaVersion\":2,\"manifests\":[]}", -EINVAL, "no image in it" },
		{ "of unknown types only",
		  "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"a/b\"}]}", -EINVAL,
		  "no image in it" },
		{ "an entry is a number", "{\"schemaVersion\":2,\"manifests\":[7]}", -EBADMSG,
		  "manifest 0 is not an object" },
		{ "index and manifest at once",
		  "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", -EBADMSG,
		  "both layers and manifests" },
		{ "of another type",
		  "{\"schemaVersion\":2,\"mediaType\":\"" TMP_MANIFEST "\",\"manifests\":[]}",
		  -ENOTSUP, "not an image index" },
		{ "an entry without digest",
		  "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" TMP_MANIFEST
		  "\",\"size\":1}]}",
		  -EBADMSG, "\"digest\" is missing" },
		{ "a manifest that is not there",
		  "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" TMP_MANIFEST
		  "\",\"digest\":\"sha256:" HEX64 "\",\"size\":1}]}",
		  -ENOENT, "No such file" },
	};

	for (size_t i = 0; i < N_ROWS(rows); i++) {
		write_index(*state, rows[i].index);
		expect_refused(*state, rows[i].why, "", NULL, rows[i].code, rows[i].part);
	}
}

static void checks_what_it_reads(void **state)
{
	struct fixture *f = *state;
	struct tmpblob m = one_image(f, GOOD_MANIFEST);
	char path[256];

	tmplayout_path(path, &f->t, &f->config);
	struct tmpblob same_size = f->config;
	char *altered = strdup(GOOD_CONFIG);
	altered[10] ^= 1;
	tmplayout_file(&f->t, path + strlen(f->t.dir) + 1, altered, same_size.size);
	free(altered);
	expect_refused(f, "altered config", "", NULL, -EBADMSG, "do not have that digest");
	tmplayout_file(&f->t, path + strlen(f->t.dir) + 1, GOOD_CONFIG "  ", same_size.size + 1);
	expect_refused(f, "longer config", "", NULL, -EBADMSG, "its descriptor says");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	expect_refused(f, "a link out", "", NULL, -ELOOP, "is a symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(f, "a FIFO must not block", "", NULL, -EINVAL, "not a regular file");
	assert_int_equal(unlink(path), 0);
	tmplayout_path(path, &f->t, &m);
	assert_int_equal(truncate(path, 5), 0);
	expect_refused(f, "a cut manifest", "", NULL, -EBADMSG, "its size is 5 bytes");
}

static void checks_the_length_of_blobs(void **state)
{
	struct fixture *f = *state;
	struct ck_image *img;
	struct ck_reader *blob = NULL;
	struct ck_err err;
	char path[256];

	one_image(f, GOOD_MANIFEST);
	assert_int_equal(open_ref(f, "oci", "", NULL, &img, &err), 0);
	tmplayout_path(path, &f->t, &f->layer);
	assert_int_equal(truncate(path, 10), 0);
	assert_int_equal(ck_image_blob(img, 0, &blob, &err), -EBADMSG);
	assert_non_null(
	    strstr(err.msg, "the size of its blob is 10 bytes, but the manifest says 11"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ck_image_blob(img, 0, &blob, &err), -ENOENT);
	assert_null(blob);
	ck_image_close(img);
}

static void demands_the_platform_asked_for(void **state)
{
	struct fixture *f = *state;
	struct tmpblob m = add_manifest(f, GOOD_MANIFEST);
	struct ck_image *img;
	struct ck_err err;

	write_index(f, tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s,\"platform\":{"
				     "\"os\":\"plan9\",\"architecture\":\"mips\"}}]}",
				     tmplayout_descriptor(TMP_MANIFEST, &m)));
	expect_refused(f, "the index says", "", "linux/amd64", -EINVAL, "only for: plan9/mips");
	/* Not asked for, a single image is taken as it is. */
	assert_int_equal(open_ref(f, "oci", "", NULL, &img, &err), 0);
	ck_image_close(img);
}

static void refuses_what_is_no_layout(void **state)
{
	struct fixture *f = *state;

	one_image(f, GOOD_MANIFEST);
	assert_int_equal(unlink(tmplayout_fmt("%s/oci-layout", f->t.dir)), 0);
	expect_refused(f, "no oci-layout", "", NULL, -ENOENT, "cannot open oci-layout");
}

static void refuses_layouts_of_the_future(void **state)
{
	struct fixture *f = *state;

	one_image(f, GOOD_MANIFEST);
	tmplayout_file(&f->t, "oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}", 30);
	expect_refused(f, "version 2", "", NULL, -ENOTSUP, "layout version \"2.0.0\"");
}

static void parses_references(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *dir, *name, *pin;
	} rows[] = {
		{ "oci:/a", 0, "/a", NULL, "" },
		{ "oci:a/b:latest", 0, "a/b", "latest", "" },
		{ "oci:a:docker.io/x:1", 0, "a", "docker.io/x:1", "" },
		{ "oci:a@b:c", 0, "a@b", "c", "" },
		{ "oci:a@sha256:" HEX64, 0, "a", NULL, "sha256:" HEX64 },
		{ "oci:a:b@sha256:" HEX64, 0, "a", "b", "sha256:" HEX64 },
		{ "dir:a:b", 0, "a:b", NULL, "" },
		{ "dir:a@sha256:" HEX64, 0, "a", NULL, "sha256:" HEX64 },
		{ "oci:a@sha256:12", -EINVAL, 0, 0, 0 },
		{ "oci:", -EINVAL, 0, 0, 0 },
		{ "oci:a:", -EINVAL, 0, 0, 0 },
		{ "dir:", -EINVAL, 0, 0, 0 },
		{ "docker:x", -EINVAL, 0, 0, 0 },
		{ "", -ENOTSUP, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < N_ROWS(rows); i++) {
		struct ck_reference r = { 0 };
		struct ck_err err = { 0 };
		int rc = ck_reference_parse(&r, rows[i].text, &err);
		if (rc != rows[i].code)
			fail_msg("%s: %d %s", rows[i].text, rc, err.msg);
		if (rc < 0)
			continue;
		assert_string_equal(r.dir, rows[i].dir);
		assert_string_equal(r.name ? r.name : "(none)",
				    rows[i].name ? rows[i].name : "(none)");
		assert_string_equal(r.pin, rows[i].pin);
		ck_reference_free(&r);
	}
}

/* As containers/image's docker.ParseReference does, but that a tag and a digest may both stand, and
 * that a host alone is no image of docker.io. */
static void parses_docker_references(void **state)
{
#define H64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define A60 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	static const struct {
		const char *text; /* behind docker:// */
		const char *host, *repo, *tag, *pin;
		const char *says; /* why not */
	} rows[] = {
		{ "alpine", "docker.io", "library/alpine", "latest", "", 0 },
		{ "alpine:3", "docker.io", "library/alpine", "3", "", 0 },
		{ "docker.io/alpine", "docker.io", "library/alpine", "latest", "", 0 },
		{ "index.docker.io/a/b", "docker.io", "a/b", "latest", "", 0 },
		{ "a/b:c", "docker.io", "a/b", "c", "", 0 },
		{ "localhost/x", "localhost", "x", "latest", "", 0 },
		{ "LOCALHOST/x", "LOCALHOST", "x", "latest", "", 0 },
		{ "localhost:5000/x:1", "localhost:5000", "x", "1", "", 0 },
		{ "r.example/x", "r.example", "x", "latest", "", 0 },
		{ "r.example/x@sha256:" H64, "r.example", "x", NULL, "sha256:" H64, 0 },
		{ "r.example/x:t@sha256:" H64, "r.example", "x", "t", "sha256:" H64, 0 },
		{ "127.0.0.1:1/a/b/c", "127.0.0.1:1", "a/b/c", "latest", "", 0 },
		{ "[::1]:5000/x", "[::1]:5000", "x", "latest", "", 0 },
		{ "[fe80::1]/x", "[fe80::1]", "x", "latest", "", 0 },
		{ "r-1.example/a.b_c__d---e/0:A_b.c-D", "r-1.example", "a.b_c__d---e/0", "A_b.c-D",
		  "", 0 },
		{ "r.example:65535/x", "r.example:65535", "x", "latest", "", 0 },
		{ "r.example/" H64, "r.example", H64, "latest", "", 0 },
		{ "docker.io/library/a.b:1", "docker.io", "library/a.b", "1", "", 0 },
		{ "r.example:5000", 0, 0, 0, 0, "no repository in it" },
		{ "127.0.0.1", 0, 0, 0, 0, "no repository in it" },
		{ "localhost:5000", 0, 0, 0, 0, "no repository in it" },
		{ "localhosts:5000", "docker.io", "library/localhosts", "5000", "", 0 },
		{ "", 0, 0, 0, 0, "names nothing" },
		{ H64, 0, 0, 0, 0, "could be an image's id" },
		{ "Alpine", 0, 0, 0, 0, "must be in lower case" },
		{ "r.example/X", 0, 0, 0, 0, "must be in lower case" },
		{ "r.example/", 0, 0, 0, 0, "not a repository" },
		{ "r.example//x", 0, 0, 0, 0, "not a repository" },
		{ "r.example/x/", 0, 0, 0, 0, "not a repository" },
		{ "r.example/../x", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a..b", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a___b", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a._b", 0, 0, 0, 0, "not a repository" },
		{ "r.example/-a", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a-", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a b", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a?b", 0, 0, 0, 0, "not a repository" },
		{ "r.example/a%2fb", 0, 0, 0, 0, "not a repository" },
		{ "r.example/" A60 A60 A60 A60 "/aaaaaaaaaaaaaaa", 0, 0, 0, 0, "not a repository" },
		{ "r.example/x:", 0, 0, 0, 0, "not a tag" },
		{ "r.example/x:.a", 0, 0, 0, 0, "not a tag" },
		{ "r.example/x:-a", 0, 0, 0, 0, "not a tag" },
		{ "r.example/x:a/b", 0, 0, 0, 0, "not a tag" },
		{ "r.example/x:" A60 A60 "aaaaaaaaa", 0, 0, 0, 0, "not a tag" },
		{ "r.example/x@sha256:12", 0, 0, 0, 0, "what follows @" },
		{ "r.example/x@sha512:12", 0, 0, 0, 0, "what follows @" },
		{ "user@r.example/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "r.example:/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "r.example:65536/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "r.example:1:2/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "-r.example/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "r..example/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "r-.example/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ ".example/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "r_.example/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "[::1/x", 0, 0, 0, 0, "not a registry's HOST" },
		{ "[::1]x/x", 0, 0, 0, 0, "not a registry's HOST" },
	};

	(void)state;
	for (size_t i = 0; i < N_ROWS(rows); i++) {
		struct ck_reference r = { 0 };
		struct ck_err err = { 0 };
		char text[512];
		snprintf(text, sizeof text, "docker://%s", rows[i].text);
		int rc = ck_reference_parse(&r, text, &err);
		if (rows[i].says) {
			if (rc != -EINVAL || !strstr(err.msg, rows[i].says))
				fail_msg("%s: %d %s", text, rc, err.msg);
			continue;
		}
		if (rc < 0)
			fail_msg("%s: %d %s", text, rc, err.msg);
		assert_int_equal(r.transport, CK_TRANSPORT_DOCKER);
		assert_null(r.dir);
		assert_string_equal(r.host, rows[i].host);
		assert_string_equal(r.repo, rows[i].repo);
		assert_string_equal(r.name ? r.name : "(none)",
				    rows[i].tag ? rows[i].tag : "(none)");
		assert_string_equal(r.pin, rows[i].pin);
		ck_reference_free(&r);
	}
}

static void parses_platforms(void **state)
{
	static const char *const bad[] = {
		"", "linux", "linux/", "/amd64", "a/b c", "a/b/c/d", "linux/aaaaaaaaaaaaaaaaaaaaaaa"
	};
	struct ck_platform p;
	char text[CK_PLATFORM_STR];

	(void)state;
	assert_int_equal(ck_platform_parse(&p, "linux/arm64/v8", NULL), 0);
	ck_platform_str(text, &p);
	assert_string_equal(text, "linux/arm64/v8");
	for (size_t i = 0; i < N_ROWS(bad); i++)
		assert_int_equal(ck_platform_parse(&p, bad[i], NULL), -EINVAL);
	ck_platform_host(&p);
	assert_string_equal(p.os, "linux");
	assert_true(p.arch[0]);
}

static void ranks_platforms(void **state)
{
	static const struct {
		const char *why, *want, *best, *other; /* other: NULL when best is not to run */
	} rows[] = {
		{ "the same", "linux/amd64", "linux/amd64", "linux/amd64/v3" },
		{ "v8 is what arm64 means", "linux/arm64/v8", "linux/arm64", "linux/arm" },
		{ "and the other way round", "linux/arm64", "linux/arm64/v8", "linux/arm64/v9" },
		{ "the newest that runs", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
		{ "exactly that", "linux/arm/v6", "linux/arm/v6", "linux/arm/v7" },
		{ "newer machines run older code", "linux/amd64/v3", "linux/amd64/v2",
		  "linux/amd64" },
		{ "another system", "linux/amd64", "windows/amd64", NULL },
		{ "another machine", "linux/amd64", "linux/arm64", NULL },
		{ "newer code does not run", "linux/amd64", "linux/amd64/v2", NULL },
		{ "an unknown variant", "linux/mips64/r6", "linux/mips64/r2", NULL },
	};

	(void)state;
	for (size_t i = 0; i < N_ROWS(rows); i++) {
		struct ck_platform want, best, other;
		assert_int_equal(ck_platform_parse(&want, rows[i].want, NULL), 0);
		assert_int_equal(ck_platform_parse(&best, rows[i].best, NULL), 0);
		int rank = ck_platform_rank(&want, &best);
		if (!rows[i].other) {
			assert_int_equal(rank, -1);
			continue;
		}
		assert_int_equal(ck_platform_parse(&other, rows[i].other, NULL), 0);
		if (rank < 0 || rank <= ck_platform_rank(&want, &other))
			fail_msg("%s", rows[i].why);
	}
}

#define IN_LAYOUT(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LAYOUT(opens_a_single_image),
		IN_LAYOUT(opens_skopeos_dir),
		IN_LAYOUT(picks_by_name),
		IN_LAYOUT(picks_by_platform),
		IN_LAYOUT(tells_names_from_platforms),
		IN_LAYOUT(looks_below_by_platform_alone),
		IN_LAYOUT(refuses_another_platform),
		IN_LAYOUT(bounds_nested_indexes),
		IN_LAYOUT(refuses_hostile_manifests),
		IN_LAYOUT(bounds_the_number_of_layers),
		IN_LAYOUT(refuses_hostile_configs),
		IN_LAYOUT(refuses_hostile_indexes),
		IN_LAYOUT(checks_what_it_reads),
		IN_LAYOUT(checks_the_length_of_blobs),
		IN_LAYOUT(demands_the_platform_asked_for),
		IN_LAYOUT(refuses_what_is_no_layout),
		IN_LAYOUT(refuses_layouts_of_the_future),
		cmocka_unit_test(parses_references),
		cmocka_unit_test(parses_docker_references),
		cmocka_unit_test(parses_platforms),
		cmocka_unit_test(ranks_platforms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
