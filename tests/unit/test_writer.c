/* Images written into layouts: what is there afterwards, and what is not. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "fs/oci/image.h"
#include "tests/unit/lib/mkimage.h"
#include "tests/unit/lib/tmplayout.h"
#include "tests/unit/lib/unit.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int setup(void **state)
{
	static struct tmplayout t;

	tmplayout_make(&t);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	tmplayout_remove(*state);
	return 0;
}

/* "oci:DIR/l:name" */
static const char *at(const struct tmplayout *t, const char *transport, const char *rest)
{
	return tmplayout_fmt("%s:%s/l%s", transport, t->dir, rest);
}

static const char *path_of(const struct tmplayout *t, const char *name)
{
	return tmplayout_fmt("%s/l%s", t->dir, name);
}

static const char *text_of(const struct tmplayout *t, const char *name)
{
	static char kept[65536];
	CK_BUF b = { .max = sizeof kept - 1 };
	struct ck_err err = { 0 };

	assert_works(ck_file_read(&b, path_of(t, name), &err), &err);
	strcpy(kept, ck_buf_str(&b));
	return kept;
}

static unsigned mode_of(const struct tmplayout *t, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(path_of(t, name), &st), 0);
	return st.st_mode & 07777;
}

/* Writes image SEED and gives its digest. */
static const char *write_image(const struct tmplayout *t, const char *transport, const char *rest,
			       unsigned seed, size_t n_layers)
{
	struct ck_err err = { 0 };
	uint8_t digest[32];
	char text[CK_DIGEST_STR];

	assert_works(mkimage_write(at(t, transport, rest), seed, n_layers, digest, &err), &err);
	ck_digest_str(text, digest);
	return tmplayout_fmt("%s", text);
}

/* What is at REST is image SEED, every byte of it. */
static void expect_image(const struct tmplayout *t, const char *transport, const char *rest,
			 unsigned seed, size_t n_layers)
{
	struct ck_image *img = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_image_open(&img, at(t, transport, rest), NULL, NULL, &err), &err);
	assert_int_equal(img->n_layers, n_layers);
	for (size_t i = 0; i < n_layers; i++) {
		CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
		char want[64], got[64];
		mkimage_layer(want, seed, i);
		assert_works(ck_image_blob(img, i, &r, &err), &err);
		assert_int_equal(ck_reader_len(r), strlen(want));
		assert_works(ck_reader_pread(r, got, strlen(want), 0, &err), &err);
		assert_memory_equal(got, want, strlen(want));
	}
	ck_image_close(img);
	mkimage_check_names(path_of(t, ""));
}

static void makes_a_layout(void **state)
{
	const struct tmplayout *t = *state;
	mode_t before = umask(027);
	const char *digest = write_image(t, "oci", ":latest", 1, 2);

	umask(before);
	expect_image(t, "oci", ":latest", 1, 2);
	assert_string_equal(text_of(t, "/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	const char *text = text_of(t, "/index.json");
	assert_int_equal(ck_json_parse(&index, text, strlen(text), "index", NULL), 0);
	const json_t *entry = json_array_get(json_object_get(index, "manifests"), 0);
	const char *want =
	    tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" TMP_MANIFEST
			  "\",\"digest\":\"%s\",\"size\":%lld,\"annotations\":{"
			  "\"org.opencontainers.image.ref.name\":\"latest\"}}]}",
			  digest, json_integer_value(json_object_get(entry, "size")));
	assert_string_equal(text, want);
	assert_int_equal(mode_of(t, ""), 0750);
	assert_int_equal(mode_of(t, "/blobs/sha256"), 0750);
	assert_int_equal(mode_of(t, "/index.json"), 0640);
	assert_int_equal(mode_of(t, "/oci-layout"), 0640);
	assert_int_equal(mode_of(t, tmplayout_fmt("/blobs/sha256/%s", digest + 7)), 0640);
}

static void makes_a_dir(void **state)
{
	const struct tmplayout *t = *state;
	CK_BUF before = { 0 }, after = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32], is[32];

	assert_works(mkimage_write(at(t, "dir", ""), 3, 2, digest, &err), &err);
	expect_image(t, "dir", "", 3, 2);
	assert_string_equal(text_of(t, "/version"), "Directory Transport Version: 1.1\n");
	const char *manifest = text_of(t, "/manifest.json");
	ck_sha256(is, manifest, strlen(manifest));
	assert_memory_equal(is, digest, 32);
	/* One image is all it holds. */
	mkimage_list(&before, path_of(t, ""));
	assert_fails(mkimage_write(at(t, "dir", ""), 4, 2, digest, &err), -EEXIST, &err,
		     "it holds an image already");
	mkimage_list(&after, path_of(t, ""));
	assert_string_equal(ck_buf_str(&before), ck_buf_str(&after));
}

static void fills_a_directory_that_is_there(void **state)
{
	const struct tmplayout *t = *state;

	assert_int_equal(mkdir(path_of(t, ""), 0700), 0);
	write_image(t, "oci", "", 1, 1);
	expect_image(t, "oci", "", 1, 1);
	assert_int_equal(mode_of(t, ""), 0700);
}

static const char *entry(const char *digest, const char *size, const char *name)
{
	return tmplayout_fmt("{\"mediaType\":\"" TMP_MANIFEST "\",\"digest\":\"%s\",\"size\":%s%s}",
			     digest, size,
			     *name ? tmplayout_fmt(",\"annotations\":{\"org.opencontainers.image."
						   "ref.name\":\"%s\"}",
						   name)
				   : "");
}

/* The steps are skopeo 1.18's, and so is what it made of each. */
static void names_as_skopeo_does(void **state)
{
	const struct tmplayout *t = *state;
	static const struct {
		unsigned seed;
		const char *name;
		const char *after; /* image and name of every entry */
	} steps[] = {
		{ 1, "", "1:" },
		{ 2, "", "1: 2:" },
		{ 1, ":x", "1:x 2:" },
		{ 1, ":y", "1:x 2: 1:y" },
		{ 2, ":x", "1: 2:x 1:y" },
		{ 1, "", "1: 2:x 1:y" },
		{ 3, ":x", "1: 2: 1:y 3:x" },
		{ 3, ":x", "1: 2: 1:y 3:x" },
		{ 3, "", "1: 2: 1:y 3:x 3:" },
	};
	char digest[4][CK_DIGEST_STR] = { "" };

	for (size_t i = 0; i < N_OF(steps); i++) {
		const char *d = write_image(t, "oci", steps[i].name, steps[i].seed, 1), *s;
		CK_BUF want = { 0 };
		strcpy(digest[steps[i].seed], d);
		assert_int_equal(ck_buf_adds(&want, "{\"schemaVersion\":2,\"manifests\":[", NULL),
				 0);
		for (s = steps[i].after; s; s = strchr(s, ' ') ? strchr(s, ' ') + 1 : NULL) {
			char name[2] = { s[2] == ' ' ? 0 : s[2], 0 };
			const char *e = entry(digest[s[0] - '0'], "395", name);
			assert_int_equal(
			    ck_buf_addf(&want, NULL, "%s%s", s == steps[i].after ? "" : ",", e), 0);
		}
		assert_int_equal(ck_buf_adds(&want, "]}", NULL), 0);
		assert_string_equal(text_of(t, "/index.json"), ck_buf_str(&want));
	}
	expect_image(t, "oci", ":x", 3, 1);
	expect_image(t, "oci", ":y", 1, 1);
}

static void adds_the_platform(void **state)
{
	const struct tmplayout *t = *state;
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	CK_JSON *platform = json_pack("{s:s,s:s}", "architecture", "amd64", "os", "linux");
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32];

	assert_works(ck_image_writer_open(&w, at(t, "oci", ":x"), NULL, &err), &err);
	assert_works(mkimage_blobs(w, 1, 1, &manifest, &err), &err);
	assert_works(ck_image_writer_commit(w, manifest.data, manifest.len, TMP_MANIFEST, platform,
					    digest, &err),
		     &err);
	assert_non_null(strstr(text_of(t, "/index.json"),
			       "\"x\"},\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}"
			       "}]}"));
	assert_fails(ck_image_writer_commit(w, manifest.data, manifest.len, TMP_MANIFEST, platform,
					    digest, &err),
		     -EINVAL, &err, "once only");
}

#define OTHERS                                                                                     \
	"{\"schemaVersion\":2,\"mediaType\":\"" TMP_INDEX "\",\"manifests\":[{\"mediaType\":"      \
	"\"application/x.y\",\"digest\":\"sha512:12\",\"size\":3,\"new\":[1,null]},{\"mediaType"   \
	"\":\"" TMP_MANIFEST "\",\"digest\":\"sha256:" HEX64                                       \
	"\",\"size\":7,\"platform\":{\"os\":\"plan9\"},\"annotations\":{\"a\":\"\\u00e9\"%s}}%s"   \
	"],\"annotations\":{\"k\":\"v\"},\"more\":{\"x\":true}}"
#define NAMED_X ",\"org.opencontainers.image.ref.name\":\"x\""

static void keeps_what_others_wrote(void **state)
{
	const struct tmplayout *t = *state;
	const char *old = tmplayout_fmt(OTHERS, NAMED_X, "");

	tmplayout_file(t, "l/oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}\n", 32);
	tmplayout_file(t, "l/index.json", old, strlen(old));
	assert_int_equal(chmod(path_of(t, "/index.json"), 0600), 0);
	const char *d = write_image(t, "oci", ":x", 1, 1);
	CK_AUTO(ck_json_freep) json_t *want = NULL;
	CK_BUF text = { 0 };
	const char *new = tmplayout_fmt(OTHERS, "", tmplayout_fmt(",%s", entry(d, "395", "x")));
	assert_int_equal(ck_json_parse(&want, new, strlen(new), "", NULL), 0);
	assert_int_equal(ck_json_dump(&text, want, NULL), 0);
	assert_string_equal(text_of(t, "/index.json"), ck_buf_str(&text));
	assert_string_equal(text_of(t, "/oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}\n");
	assert_int_equal(mode_of(t, "/index.json"), 0600);
	expect_image(t, "oci", ":x", 1, 1);
}

/* Everything but the commit. */
static void begin(const struct tmplayout *t, const char *transport, const char *rest, size_t n)
{
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };

	assert_works(ck_image_writer_open(&w, at(t, transport, rest), NULL, &err), &err);
	assert_works(mkimage_blobs(w, 9, n, &manifest, &err), &err);
	assert_works(ck_new_blob_open(&b, w, &err), &err);
	assert_works(ck_new_blob_write(b, "x", 1, &err), &err);
}

static void leaves_nothing_without_a_commit(void **state)
{
	const struct tmplayout *t = *state;
	CK_BUF before = { 0 }, after = { 0 };

	/* 100: more than are kept without a name. */
	for (int i = 0; i < 2; i++) {
		begin(t, i ? "dir" : "oci", "", 100);
		assert_int_equal(access(path_of(t, ""), F_OK), -1);
	}
	write_image(t, "oci", ":x", 1, 2);
	mkimage_list(&before, path_of(t, ""));
	begin(t, "oci", ":x", 100);
	mkimage_list(&after, path_of(t, ""));
	assert_string_equal(ck_buf_str(&before), ck_buf_str(&after));
}

static ssize_t never(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	(void)ctx, (void)buf, (void)nbytes, (void)off;
	return ck_fail(err, -EIO, "read after all");
}

static void count_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	uint64_t *seen = ctx;

	assert_true(nbytes > *seen || total == 0);
	assert_true(nbytes <= total);
	*seen = nbytes;
}

static void passes_blobs_through(void **state)
{
	static const struct ck_reader_ops never_ops = { .pread = never };
	const struct tmplayout *t = *state;
	size_t len = 1000000;
	CK_AUTO(ck_freep) uint8_t *bytes = calloc(1, len);
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL, *damaged = NULL, *shut = NULL;
	struct ck_err err = { 0 };
	uint8_t digest[32], was[32];
	uint64_t seen = 0;

	bytes[len - 1] = 7;
	ck_sha256(digest, bytes, len);
	assert_works(ck_reader_open_mem(&r, bytes, len, &err), &err);
	assert_works(ck_reader_open(&shut, &never_ops, NULL, len, &err), &err);
	for (int round = 0; round < 2; round++) {
		CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
		CK_BUF manifest = { 0 };
		assert_works(ck_image_writer_open(&w, at(t, "oci", ":x"), NULL, &err), &err);
		/* The second time it is there, and not read. */
		seen = 0;
		assert_works(
		    ck_image_writer_copy(w, round ? shut : r, digest, count_progress, &seen, &err),
		    &err);
		assert_int_equal(seen, len);
		assert_works(mkimage_blobs(w, 1, 1, &manifest, &err), &err);
		assert_works(ck_image_writer_commit(w, manifest.data, manifest.len, TMP_MANIFEST,
						    NULL, was, &err),
			     &err);
	}
	mkimage_check_names(path_of(t, ""));
	char hex[65];
	ck_hex(hex, digest, 32);
	struct stat st;
	assert_int_equal(stat(path_of(t, tmplayout_fmt("/blobs/sha256/%s", hex)), &st), 0);
	assert_int_equal(st.st_size, len);
	/* Other bytes than its name says. */
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	assert_works(ck_image_writer_open(&w, at(t, "oci", ":y"), NULL, &err), &err);
	assert_works(ck_reader_open_mem(&damaged, bytes, len - 1, &err), &err);
	assert_fails(ck_image_writer_copy(w, damaged, digest, NULL, NULL, &err), -EBADMSG, &err,
		     "do not have that digest");
	/* One byte more: what is there is not it. */
	assert_fails(ck_image_writer_copy(w, shut, was, NULL, NULL, &err), -EIO, &err,
		     "read after all");
}

static void refuses_references(void **state)
{
	static const struct {
		const char *transport, *rest;
		int code;
		const char *part;
	} rows[] = {
		{ "oci", ":x@sha256:" HEX64, -EINVAL, "cannot be asked for" },
		{ "dir", "@sha256:" HEX64, -EINVAL, "cannot be asked for" },
		{ "oci", ":sha256-" HEX64, -EINVAL, "what refers to an image" },
		{ "oci", ":a b", -EINVAL, "REF \"a b\" is not letters" },
		{ "oci", ":a..b", -EINVAL, "is not letters" },
		{ "oci", ":-a", -EINVAL, "is not letters" },
		{ "oci", ":a/", -EINVAL, "is not letters" },
		{ "oci", ":", -EINVAL, "empty REF" },
		{ "docker", "", -EINVAL, "names nothing" },
		{ "rsync", "", -ENOTSUP, "of no kind that is known" },
		{ "oci", "/missing/parent", -ENOENT, "cannot make directory" },
		{ "oci", "/x", -ENOENT, "cannot make directory" },
	};
	static const char *const good[] = {
		":a--b",      ":docker.io/library/x:1.2", ":a@b+c_d-e",
		":sha256-12", ":sha256-" HEX64 "x",	  ":sha256-" HEX64 "0"
	};
	const struct tmplayout *t = *state;

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_image_writer *w = NULL;
		struct ck_err err = { 0 };
		int rc =
		    ck_image_writer_open(&w, at(t, rows[i].transport, rows[i].rest), NULL, &err);
		assert_fails(rc, rows[i].code, &err, rows[i].part);
		assert_null(w);
		assert_int_equal(access(path_of(t, ""), F_OK), -1);
	}
	for (size_t i = 0; i < N_OF(good); i++)
		write_image(t, "oci", good[i], 1, 1);
}

static void expect_refused(const struct tmplayout *t, const char *transport, int code,
			   const char *part)
{
	struct ck_image_writer *w = NULL;
	struct ck_err err = { 0 };
	CK_BUF before = { 0 }, after = { 0 };

	mkimage_list(&before, t->dir);
	assert_fails(ck_image_writer_open(&w, at(t, transport, ""), NULL, &err), code, &err, part);
	mkimage_list(&after, t->dir);
	assert_string_equal(ck_buf_str(&before), ck_buf_str(&after));
}

static void refuses_what_is_no_layout(void **state)
{
	const struct tmplayout *t = *state;
	static const char bad[] = "{\"schemaVersion\":2";

	tmplayout_file(t, "l", "", 0);
	expect_refused(t, "oci", -ENOTDIR, "Not a directory");
	expect_refused(t, "dir", -ENOTDIR, "Not a directory");
	assert_int_equal(unlink(path_of(t, "")), 0);
	tmplayout_file(t, "l/letter.txt", "dear", 4);
	expect_refused(t, "oci", -EEXIST, "it holds letter.txt");
	expect_refused(t, "dir", -EEXIST, "it holds letter.txt");
	assert_int_equal(unlink(path_of(t, "/letter.txt")), 0);
	tmplayout_file(t, "l/index.json", bad, sizeof bad - 1);
	expect_refused(t, "oci", -EEXIST, "it holds index.json");
	tmplayout_file(t, "l/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
	expect_refused(t, "oci", -EBADMSG, "index.json");
	tmplayout_file(t, "l/oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}", 30);
	expect_refused(t, "oci", -ENOTSUP, "layout version");
}

static void follows_no_links(void **state)
{
	const struct tmplayout *t = *state;
	const char *digest = write_image(t, "oci", ":x", 1, 1);
	char outside[128], precious[396] = "";

	snprintf(outside, sizeof outside, "%s/outside", t->dir);
	/* As long as the blob that is to be replaced. */
	memset(precious, 'p', sizeof precious - 1);
	tmplayout_file(t, "outside/file", precious, sizeof precious - 1);
	/* A blob that leads elsewhere is not the blob, and is replaced. */
	const char *blob = path_of(t, tmplayout_fmt("/blobs/sha256/%s", digest + 7));
	assert_int_equal(unlink(blob), 0);
	assert_int_equal(symlink(tmplayout_fmt("%s/file", outside), blob), 0);
	write_image(t, "oci", ":x", 1, 1);
	expect_image(t, "oci", ":x", 1, 1);
	assert_string_equal(text_of(t, "/../outside/file"), precious);
	/* index.json, blobs and blobs/sha256 that do are refused. */
	static const char *const names[] = { "/index.json", "/blobs/sha256", "/blobs" };
	for (size_t i = 0; i < N_OF(names); i++) {
		char path[128], aside[128];
		snprintf(path, sizeof path, "%s", path_of(t, names[i]));
		snprintf(aside, sizeof aside, "%s/aside", t->dir);
		assert_int_equal(rename(path, aside), 0);
		assert_int_equal(symlink(aside, path), 0);
		expect_refused(t, "oci", -ELOOP, "is a symbolic link");
		assert_int_equal(unlink(path), 0);
		assert_int_equal(rename(aside, path), 0);
	}
	/* DIR itself is the user's word. */
	assert_int_equal(symlink("l", tmplayout_fmt("%s/m", t->dir)), 0);
	struct ck_err err = { 0 };
	uint8_t d[32];
	assert_works(mkimage_write(tmplayout_fmt("oci:%s/m:y", t->dir), 2, 1, d, &err), &err);
	expect_image(t, "oci", ":y", 2, 1);
}

static void replaces_a_damaged_blob(void **state)
{
	const struct tmplayout *t = *state;
	const char *digest = write_image(t, "oci", ":x", 1, 1);
	const char *blob = path_of(t, tmplayout_fmt("/blobs/sha256/%s", digest + 7));

	assert_int_equal(truncate(blob, 20), 0);
	write_image(t, "oci", ":x", 1, 1);
	expect_image(t, "oci", ":x", 1, 1);
	/* What cannot be replaced is an error, and changes nothing but what was damaged. */
	char layer[64];
	uint8_t raw[32];
	mkimage_layer(layer, 1, 0);
	ck_sha256(raw, layer, strlen(layer));
	char hex[65];
	ck_hex(hex, raw, 32);
	CK_BUF whole = { 0 }, again = { 0 };
	assert_int_equal(unlink(blob), 0);
	mkimage_list(&whole, t->dir);
	assert_int_equal(truncate(path_of(t, tmplayout_fmt("/blobs/sha256/%s", hex)), 3), 0);
	assert_int_equal(mkdir(blob, 0700), 0);
	struct ck_err damaged = { 0 };
	assert_fails(mkimage_write(at(t, "oci", ":x"), 1, 1, raw, &damaged), -EISDIR, &damaged,
		     "Is a directory");
	assert_int_equal(rmdir(blob), 0);
	mkimage_list(&again, t->dir);
	assert_string_equal(ck_buf_str(&whole), ck_buf_str(&again));
	assert_int_equal(mkdir(blob, 0700), 0);
	CK_BUF before = { 0 }, after = { 0 };
	struct ck_err err = { 0 };
	uint8_t d[32];
	mkimage_list(&before, t->dir);
	assert_fails(mkimage_write(at(t, "oci", ":x"), 1, 1, d, &err), -EISDIR, &err,
		     "Is a directory");
	mkimage_list(&after, t->dir);
	assert_string_equal(ck_buf_str(&before), ck_buf_str(&after));
}

static void refuses_an_image_with_a_blob_missing(void **state)
{
	const struct tmplayout *t = *state;
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	CK_BUF manifest = { 0 }, more = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32];

	assert_works(ck_image_writer_open(&w, at(t, "oci", ":x"), NULL, &err), &err);
	assert_works(mkimage_blobs(w, 1, 1, &manifest, &err), &err);
	const char *text = tmplayout_fmt("%.*s,{\"mediaType\":\"" TMP_TAR
					 "\",\"digest\":\"sha256:" HEX64 "\",\"size\":1}]}",
					 (int)manifest.len - 2, ck_buf_str(&manifest));
	assert_fails(
	    ck_image_writer_commit(w, text, strlen(text), TMP_MANIFEST, NULL, digest, &err),
	    -EINVAL, &err, "its blob sha256:" HEX64 " was not written");
	ck_image_writer_close(ck_take(w));
	assert_int_equal(access(path_of(t, ""), F_OK), -1);
	/* One that is elsewhere, and says so, may be. */
	assert_works(ck_image_writer_open(&w, at(t, "oci", ":x"), NULL, &err), &err);
	assert_works(mkimage_blobs(w, 1, 1, &more, &err), &err);
	text = tmplayout_fmt("%.*s,{\"mediaType\":\"" TMP_TAR "\",\"digest\":\"sha256:" HEX64
			     "\",\"size\":1,\"urls\":[\"https://x\"]}]}",
			     (int)more.len - 2, ck_buf_str(&more));
	assert_works(
	    ck_image_writer_commit(w, text, strlen(text), TMP_MANIFEST, NULL, digest, &err), &err);
}

static void notices_a_blob_that_went(void **state)
{
	const struct tmplayout *t = *state;
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32], r_digest[32];
	char layer[64], hex[65];

	write_image(t, "oci", ":x", 1, 1);
	mkimage_layer(layer, 1, 0);
	ck_sha256(r_digest, layer, strlen(layer));
	ck_hex(hex, r_digest, 32);
	assert_works(ck_image_writer_open(&w, at(t, "oci", ":y"), NULL, &err), &err);
	assert_works(ck_reader_open_mem(&r, layer, strlen(layer), &err), &err);
	assert_works(ck_image_writer_copy(w, r, r_digest, NULL, NULL, &err), &err);
	assert_works(mkimage_blobs(w, 2, 1, &manifest, &err), &err);
	assert_int_equal(unlink(path_of(t, tmplayout_fmt("/blobs/sha256/%s", hex))), 0);
	assert_fails(ck_image_writer_commit(w, manifest.data, manifest.len, TMP_MANIFEST, NULL,
					    digest, &err),
		     -ENOENT, &err, "has been removed meanwhile");
	ck_image_writer_close(ck_take(w));
	/* Not so when we have written it, too. */
	write_image(t, "oci", ":x", 1, 1);
	ck_buf_free(&manifest);
	assert_works(ck_image_writer_open(&w, at(t, "oci", ":y"), NULL, &err), &err);
	assert_works(ck_image_writer_copy(w, r, r_digest, NULL, NULL, &err), &err);
	assert_works(mkimage_blobs(w, 1, 1, &manifest, &err), &err);
	assert_int_equal(unlink(path_of(t, tmplayout_fmt("/blobs/sha256/%s", hex))), 0);
	assert_works(ck_image_writer_commit(w, manifest.data, manifest.len, TMP_MANIFEST, NULL,
					    digest, &err),
		     &err);
	expect_image(t, "oci", ":y", 1, 1);
}

static void bounds_what_it_writes(void **state)
{
	const struct tmplayout *t = *state;
	size_t len = (4 << 20) - 100;
	CK_AUTO(ck_freep) char *index = malloc(len + 1);
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	CK_BUF before = { 0 }, after = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32];

	int n = sprintf(index, "{\"schemaVersion\":2,\"manifests\":[],\"x\":\"");
	memset(index + n, 'a', len - (size_t)n);
	strcpy(index + len - 2, "\"}");
	tmplayout_file(t, "l/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
	tmplayout_file(t, "l/index.json", index, len);
	(void)mkdir(path_of(t, "/blobs"), 0755);
	(void)mkdir(path_of(t, "/blobs/sha256"), 0755);
	mkimage_list(&before, path_of(t, ""));
	assert_fails(mkimage_write(at(t, "oci", ":x"), 1, 2, digest, &err), -EFBIG, &err,
		     "index.json would grow");
	mkimage_list(&after, path_of(t, ""));
	assert_string_equal(ck_buf_str(&before), ck_buf_str(&after));
	/* A manifest that no reader would take. */
	CK_AUTO(ck_freep) char *manifest = calloc(1, (4 << 20) + 1);
	assert_works(ck_image_writer_open(&w, at(t, "oci", ":x"), NULL, &err), &err);
	assert_fails(
	    ck_image_writer_commit(w, manifest, (4 << 20) + 1, TMP_MANIFEST, NULL, digest, &err),
	    -EFBIG, &err, "its manifest has");
}

/* In a process of its own, whose limit is lowered. */
static void needs_few_descriptors(void **state)
{
	const struct tmplayout *t = *state;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit few = { 90, 90 };
		struct ck_err err = { 0 };
		uint8_t digest[32];
		int rc = setrlimit(RLIMIT_NOFILE, &few);
		if (rc == 0)
			rc = mkimage_write(at(t, "oci", ":x"), 1, 500, digest, &err);
		if (rc < 0)
			fprintf(stderr, "%s\n", err.msg);
		_exit(rc < 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	expect_image(t, "oci", ":x", 1, 500);
	CK_BUF list = { 0 };
	mkimage_list(&list, path_of(t, ""));
	assert_null(strstr(ck_buf_str(&list), ".cloakfs-"));
}

static void writes_beside_others(void **state)
{
	const struct tmplayout *t = *state;
	struct ck_image_writer *first = NULL, *second = NULL;
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32];

	/* Who made the directories goes; who is still at work keeps them. */
	assert_works(ck_image_writer_open(&first, at(t, "oci", ":x"), NULL, &err), &err);
	assert_works(ck_image_writer_open(&second, at(t, "oci", ":y"), NULL, &err), &err);
	ck_image_writer_close(first);
	assert_works(mkimage_blobs(second, 1, 1, &manifest, &err), &err);
	assert_works(ck_image_writer_commit(second, manifest.data, manifest.len, TMP_MANIFEST, NULL,
					    digest, &err),
		     &err);
	ck_image_writer_close(second);
	expect_image(t, "oci", ":y", 1, 1);
}

static void writes_a_dir_alone(void **state)
{
	const struct tmplayout *t = *state;
	struct ck_image_writer *first = NULL, *second = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_image_writer_open(&first, at(t, "dir", ""), NULL, &err), &err);
	assert_fails(ck_image_writer_open(&second, at(t, "dir", ""), NULL, &err), -EBUSY, &err,
		     "another process is writing into it");
	/* Who knows nothing of locks may come first all the same. */
	CK_BUF manifest = { 0 };
	uint8_t digest[32];
	assert_works(mkimage_blobs(first, 1, 1, &manifest, &err), &err);
	tmplayout_file(t, "l/manifest.json", "{}", 2);
	assert_fails(ck_image_writer_commit(first, manifest.data, manifest.len, TMP_MANIFEST, NULL,
					    digest, &err),
		     -EEXIST, &err, "it holds an image by now");
	ck_image_writer_close(first);
	assert_string_equal(text_of(t, "/manifest.json"), "{}");
	assert_int_equal(unlink(path_of(t, "/manifest.json")), 0);
	write_image(t, "dir", "", 1, 1);
	expect_image(t, "dir", "", 1, 1);
}

enum { N_THREADS = 6, N_IMAGES = 10 };

struct job {
	const char *dir;
	unsigned first;
	struct ck_image_writer *w;
	int rc;
	struct ck_err err;
};

static void *write_many(void *arg)
{
	struct job *j = arg;

	for (unsigned i = 0; i < N_IMAGES && j->rc == 0; i++) {
		struct ck_image_writer *w = NULL;
		char ref[128];
		uint8_t digest[32];
		/* Now and then one gives up, also when it was the one who made the layout. */
		snprintf(ref, sizeof ref, "oci:%s/l:gone", j->dir);
		j->rc = ck_image_writer_open(&w, ref, NULL, &j->err);
		ck_image_writer_close(w);
		snprintf(ref, sizeof ref, "oci:%s/l:n%u", j->dir, j->first + i);
		if (j->rc == 0)
			j->rc = mkimage_write(ref, j->first + i, 2, digest, &j->err);
	}
	return NULL;
}

static void loses_no_entry(void **state)
{
	const struct tmplayout *t = *state;
	struct job jobs[N_THREADS];
	pthread_t threads[N_THREADS];

	for (unsigned i = 0; i < N_THREADS; i++) {
		jobs[i] = (struct job){ .dir = t->dir, .first = i * N_IMAGES };
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_works(jobs[i].rc, &jobs[i].err);
	}
	for (unsigned i = 0; i < N_THREADS * N_IMAGES; i++)
		expect_image(t, "oci", tmplayout_fmt(":n%u", i), i, 2);
}

static void *write_blobs(void *arg)
{
	struct job *j = arg;

	for (unsigned i = 0; i < 40 && j->rc == 0; i++) {
		CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
		char layer[64];
		uint8_t digest[32];
		uint64_t size;
		/* Every one twice. */
		mkimage_layer(layer, 1, (j->first + i) / 2);
		j->rc = ck_new_blob_open(&b, j->w, &j->err);
		if (j->rc == 0)
			j->rc = ck_new_blob_write(b, layer, strlen(layer), &j->err);
		if (j->rc == 0)
			j->rc = ck_new_blob_end(b, digest, &size, &j->err);
	}
	return NULL;
}

static void takes_blobs_from_many_threads(void **state)
{
	const struct tmplayout *t = *state;
	struct ck_image_writer *w = NULL;
	struct job jobs[N_THREADS];
	pthread_t threads[N_THREADS];
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };
	uint8_t digest[32];

	assert_works(ck_image_writer_open(&w, at(t, "oci", ":x"), NULL, &err), &err);
	for (unsigned i = 0; i < N_THREADS; i++) {
		jobs[i] = (struct job){ .w = w, .first = i * 40 };
		assert_int_equal(pthread_create(&threads[i], NULL, write_blobs, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_works(jobs[i].rc, &jobs[i].err);
	}
	assert_works(mkimage_blobs(w, 1, N_THREADS * 20, &manifest, &err), &err);
	assert_works(ck_image_writer_commit(w, manifest.data, manifest.len, TMP_MANIFEST, NULL,
					    digest, &err),
		     &err);
	ck_image_writer_close(w);
	expect_image(t, "oci", ":x", 1, N_THREADS * 20);
	CK_BUF list = { 0 };
	mkimage_list(&list, path_of(t, ""));
	assert_null(strstr(ck_buf_str(&list), ".cloakfs-"));
}

#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(makes_a_layout),
		IN_DIR(makes_a_dir),
		IN_DIR(fills_a_directory_that_is_there),
		IN_DIR(names_as_skopeo_does),
		IN_DIR(adds_the_platform),
		IN_DIR(keeps_what_others_wrote),
		IN_DIR(leaves_nothing_without_a_commit),
		IN_DIR(passes_blobs_through),
		IN_DIR(refuses_references),
		IN_DIR(refuses_what_is_no_layout),
		IN_DIR(follows_no_links),
		IN_DIR(replaces_a_damaged_blob),
		IN_DIR(refuses_an_image_with_a_blob_missing),
		IN_DIR(notices_a_blob_that_went),
		IN_DIR(bounds_what_it_writes),
		IN_DIR(needs_few_descriptors),
		IN_DIR(writes_beside_others),
		IN_DIR(writes_a_dir_alone),
		IN_DIR(loses_no_entry),
		IN_DIR(takes_blobs_from_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
