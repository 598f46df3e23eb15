/* Opening an image's layers, reading files across holes, and attributes. */
#include <errno.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/secret.h"
#include "fs/stack.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/tmplayout.h"
#include "tests/unit/lib/unit.h"

enum { N_FILES = 3, FILE_LEN = 100000 };

#define ENC "org.opencontainers.image.enc."

/* An image of plain layers, each a tar of its own. */
struct fixture {
	struct tmplayout t;
	struct ck_buf tars[2];
	struct ck_image *image;
	struct ck_keyring *keys;
	bool gzip; /* the layers */
};

/* MEDIA_TYPES and ANNOTATIONS (text with a comma before it, or "") of the two layers. */
static void open_image(struct fixture *f, const char *const media_types[2],
		       const char *const annotations[2])
{
	char diff_ids[2][CK_DIGEST_STR], layers[2][512];
	struct ck_err err = { 0 };

	for (size_t i = 0; i < 2; i++) {
		uint8_t digest[CK_SHA256_LEN];
		CK_BUF gz = { 0 };
		if (f->gzip)
			mk_gzip(&gz, f->tars[i].data, f->tars[i].len, 1, 0);
		const struct ck_buf *blob = f->gzip ? &gz : &f->tars[i];
		struct tmpblob b = tmplayout_blob(&f->t, blob->data, blob->len);
		ck_sha256(digest, f->tars[i].data, f->tars[i].len);
		ck_digest_str(diff_ids[i], digest);
		snprintf(layers[i], sizeof layers[i], "{%s%s}",
			 tmplayout_descriptor(media_types[i], &b), annotations[i]);
	}
	struct tmpblob config = tmplayout_text(
	    &f->t, tmplayout_fmt("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}",
				 diff_ids[0], diff_ids[1]));
	struct tmpblob manifest = tmplayout_text(
	    &f->t, tmplayout_fmt("{\"schemaVersion\":2,\"config\":{%s},\"layers\":[%s,%s]}",
				 tmplayout_descriptor(TMP_CONFIG, &config), layers[0], layers[1]));
	const char *index = tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s}]}",
					  tmplayout_descriptor(TMP_MANIFEST, &manifest));
	tmplayout_file(&f->t, "index.json", index, strlen(index));
	ck_image_close(ck_take(f->image));
	assert_works(ck_image_open(&f->image, tmplayout_fmt("oci:%s", f->t.dir), NULL, NULL, &err),
		     &err);
}

static const char *const plain[2] = { TMP_TAR, TMP_TAR };
static const char *const none[2] = { "", "" };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct ck_err err = { 0 };

	assert_non_null(f);
	tmplayout_make(&f->t);
	tmplayout_file(&f->t, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
	mk_tar(&f->tars[0], 1, N_FILES, FILE_LEN);
	mk_tar(&f->tars[1], 2, N_FILES + 2, FILE_LEN / 2);
	assert_works(ck_keyring_open(&f->keys, NULL, &err), &err);
	open_image(f, plain, none);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ck_image_close(f->image);
	ck_keyring_close(f->keys);
	tmplayout_remove(&f->t);
	ck_buf_free(&f->tars[0]);
	ck_buf_free(&f->tars[1]);
	free(f);
	return 0;
}

struct seen {
	uint64_t last, total;
	unsigned n;
	bool backwards;
};

static void on_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	struct seen *s = ctx;

	s->backwards |= nbytes < s->last || nbytes > total;
	s->last = nbytes;
	s->total = total;
	s->n++;
}

static void opens_and_merges(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 };
	struct ck_stack_opts opts = { .keys = f->keys,
				      .progress = on_progress,
				      .progress_ctx = &seen };
	struct ck_stack *s = NULL;
	struct ck_err err = { 0 };
	ck_ino ino = 0;

	assert_works(ck_stack_open(&s, f->image, SIZE_MAX, &opts, &err), &err);
	assert_works(ck_stack_merge(s, &err), &err);
	/* Both layers have d/0; the upper wins. */
	assert_works(ck_tree_walk(s->tree, s->index, "/d/0", true, &ino, &err), &err);
	assert_int_equal(s->tree->nodes[ino].layer, 1);
	assert_int_equal(s->tree->nodes[ino].entry->size, FILE_LEN / 2);
	/* Progress runs over both layers as over one. */
	assert_false(seen.backwards);
	assert_int_equal(seen.total, f->tars[0].len + f->tars[1].len);
	assert_int_equal(seen.last, seen.total);
	ck_stack_close(s);
}

static void opens_one_layer(void **state)
{
	struct fixture *f = *state;
	struct ck_stack_opts opts = { .keys = f->keys };
	struct ck_stack *s = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_stack_open(&s, f->image, 1, &opts, &err), &err);
	assert_null(s->layers[0]);
	assert_non_null(s->layers[1]);
	assert_int_equal(ck_layer_len(s->layers[1]), f->tars[1].len);
	struct ck_entry e = { .size = 1 };
	char c;
	assert_fails(ck_stack_read(s, 0, &e, &c, 1, 0, &err), -EINVAL, &err, "is not open");
	assert_fails(ck_stack_read(s, 2, &e, &c, 1, 0, &err), -EINVAL, &err, "is not open");
	ck_stack_close(ck_take(s));
	assert_fails(ck_stack_open(&s, f->image, 2, &opts, &err), -EINVAL, &err,
		     "there is no layer 2: the image has 2");
	assert_null(s);
}

static void refuses_a_damaged_layer(void **state)
{
	struct fixture *f = *state;
	struct ck_stack_opts opts = { .keys = f->keys };
	struct ck_stack *s = NULL;
	struct ck_err err = { 0 };
	char name[128];

	f->tars[1].data[700] ^= 1;
	snprintf(name, sizeof name, "blobs/sha256/%s", f->image->layers[1].digest_str + 7);
	tmplayout_file(&f->t, name, f->tars[1].data, f->tars[1].len);
	int rc = ck_stack_open(&s, f->image, SIZE_MAX, &opts, &err);
	assert_fails(rc, -EBADMSG, &err,
		     tmplayout_fmt("layer 1 (%.19s...)", f->image->layers[1].digest_str));
	assert_null(s);
}

/* What the manifest alone shows to be wrong; the message names the layer. */
static void judges_by_the_manifest(void **state)
{
	static const struct {
		const char *why, *media_type, *annotations;
		bool require_encrypted;
		int code;
		const char *part;
	} rows[] = {
		{ "encrypted, but nobody has the key", TMP_TAR "+encrypted", "", false, -EBADMSG,
		  "no annotation holds a wrapped key" },
		{ "other annotations do not count", TMP_TAR "+encrypted",
		  ",\"annotations\":{\"org.example\":\"x\"}", false, -EBADMSG,
		  "no annotation holds a wrapped key" },
		{ "a key for a plain layer", TMP_TAR,
		  ",\"annotations\":{\"" ENC "keys.jwe\":\"e30=\"}", false, -EBADMSG,
		  "the manifest was altered" },
		{ "plain where encryption is demanded", TMP_TAR, "", true, -EPERM,
		  "require_encrypted" },
		{ "encrypted, but without public options", TMP_TAR "+encrypted",
		  ",\"annotations\":{\"" ENC "keys.jwe\":\"e30=\"}", false, -EBADMSG, "pubopts" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *types[2] = { TMP_TAR, rows[i].media_type };
		const char *annotations[2] = { "", rows[i].annotations };
		struct ck_stack_opts opts = { .keys = f->keys };
		struct ck_stack *s = NULL;
		struct ck_err err = { 0 };

		opts.require_encrypted = rows[i].require_encrypted;
		open_image(f, types, annotations);
		int rc = ck_stack_open(&s, f->image, SIZE_MAX, &opts, &err);
		if (rc != rows[i].code || !strstr(err.msg, rows[i].part))
			fail_msg("%s: got %d \"%s\"", rows[i].why, rc, err.msg);
		assert_non_null(strstr(err.msg, rows[i].require_encrypted ? "layer 0 (sha256:"
									  : "layer 1 (sha256:"));
		assert_null(s);
	}
}

/* A file of data, holes, neighbouring extents and a hole at the end. */
static void reads_over_holes(void **state)
{
	static const struct ck_extent extents[] = {
		{ 0, 7777, 1 }, /* another file's, before ours */
		{ 100, 512, 50 }, { 150, 3000, 25 }, { 175, 0, 0 }, { 400, 9000, 100 },
	};
	static const struct ck_entry e = {
		.size = 600, .mode = S_IFREG, .first_extent = 1, .n_extents = 4
	};
	struct fixture *f = *state;
	struct ck_stack_opts opts = { .keys = f->keys };
	struct ck_stack *s = NULL;
	struct ck_err err = { 0 };
	uint8_t want[600] = { 0 }, got[600];

	assert_works(ck_stack_open(&s, f->image, 0, &opts, &err), &err);
	const struct ck_index sparse = { .extents = extents, .n_extents = 5 };
	s->index[0] = &sparse;
	for (size_t i = 1; i < 5; i++)
		memcpy(want + extents[i].file_off, f->tars[0].data + extents[i].tar_off,
		       extents[i].len);
	for (size_t off = 0; off <= 600; off++) {
		for (size_t n = 0; n <= 600 - off; n += 1 + n / 3) {
			memset(got, 0xee, sizeof got);
			assert_works(ck_stack_read(s, 0, &e, got, n, off, &err), &err);
			assert_memory_equal(got, want + off, n);
			assert_true(n == 600 || got[n] == 0xee);
		}
	}
	assert_fails(ck_stack_read(s, 0, &e, got, 2, 599, &err), -EINVAL, &err, "outside a file");
	assert_fails(ck_stack_read(s, 0, &e, got, 1, 601, &err), -EINVAL, &err, "outside a file");
	assert_fails(ck_stack_read(s, 0, &e, got, SIZE_MAX, 1, &err), -EINVAL, &err,
		     "outside a file");
	ck_stack_close(s);
}

static void tells_attributes(void **state)
{
	static const struct ck_entry file = { .size = 1025,
					      .mode = S_IFREG | 04755,
					      .uid = 1000,
					      .gid = 4294967294U,
					      .mtime_s = -5,
					      .mtime_ns = 999999999 },
				     dev = { .mode = S_IFCHR | 0600,
					     .rdev_major = 4095,
					     .rdev_minor = 1048575 },
				     link = { .mode = S_IFLNK | 0644, .link = { 0, 17 } };
	static const struct ck_node nodes[] = {
		{ 0 },
		{ .nlink = 2 },
		{ .entry = &file, .nlink = 3 },
		{ .entry = &dev, .nlink = 1 },
		{ .entry = &link, .nlink = 1 },
	};
	static const struct ck_tree tree = { .nodes = nodes, .n_nodes = 4 };
	struct stat st;

	(void)state;
	ck_stack_stat(&tree, 1, &st);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_uid, 0);
	ck_stack_stat(&tree, 2, &st);
	assert_int_equal(st.st_ino, 2);
	assert_int_equal(st.st_mode, S_IFREG | 04755);
	assert_int_equal(st.st_nlink, 3);
	assert_int_equal(st.st_size, 1025);
	assert_int_equal(st.st_blocks, 3);
	assert_int_equal(st.st_gid, 4294967294U);
	assert_int_equal(st.st_mtim.tv_sec, -5);
	assert_int_equal(st.st_mtim.tv_nsec, 999999999);
	ck_stack_stat(&tree, 3, &st);
	assert_int_equal(major(st.st_rdev), 4095);
	assert_int_equal(minor(st.st_rdev), 1048575);
	ck_stack_stat(&tree, 4, &st);
	assert_int_equal(st.st_size, 17);
	assert_int_equal(st.st_mode, S_IFLNK | 0777);
}

static int secrets(void **state)
{
	(void)state;
	return ck_secret_init(NULL);
}

#define WITH_IMAGE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* Where there is more than one CPU, units are prepared for who reads in order; on one, none are. */
static void reads_ahead(void **state)
{
	enum { UNIT = 1 << 20, STEP = 64 << 10 }; /* no unit is smaller, but the last */
	struct fixture *f = *state;
	struct ck_stack_opts opts = { .keys = f->keys };
	struct ck_stack *s = NULL;
	struct ck_err err = { 0 };
	uint8_t *buf = malloc(STEP);
	cpu_set_t all, one;

	ck_buf_free(&f->tars[0]);
	mk_tar(&f->tars[0], 1, 12, 500000);
	f->gzip = true;
	open_image(f, plain, none);
	assert_works(ck_stack_open(&s, f->image, 0, &opts, &err), &err);
	assert_int_equal(s->pool != NULL, ck_pool_n_cpus() > 1);
	for (uint64_t off = 0; off < 3 * UNIT; off += STEP)
		assert_works(ck_layer_pread(s->layers[0], buf, STEP, off, &err), &err);
	while (s->pool && !ck_unitcache_has(s->cache, s->layers[0], 3))
		sched_yield();
	ck_stack_close(s);

	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	CPU_ZERO(&one);
	for (size_t i = 0; CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
	assert_works(ck_stack_open(&s, f->image, SIZE_MAX, &opts, &err), &err);
	assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
	assert_null(s->pool);
	ck_stack_close(s);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_IMAGE(opens_and_merges),	     WITH_IMAGE(opens_one_layer),
		WITH_IMAGE(refuses_a_damaged_layer), WITH_IMAGE(judges_by_the_manifest),
		WITH_IMAGE(reads_over_holes),	     WITH_IMAGE(reads_ahead),
		cmocka_unit_test(tells_attributes),
	};

	return cmocka_run_group_tests(tests, secrets, NULL);
}
