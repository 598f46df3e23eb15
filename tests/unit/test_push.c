/* Images and index artifacts written to a registry: what is there afterwards, and when. */
#include <errno.h>
#include <pthread.h>

#include "base/json.h"
#include "fs/oci/artifact.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/entries.h"
#include "tests/unit/lib/mkimage.h"
#include "tests/unit/lib/tinyreg.h"
#include "tests/unit/lib/unit.h"

enum { CHUNK = 1000, SIZE = 3500, BIG = 300000, BIG_CHUNK = 30000 };

struct fixture {
	struct tinyreg *t;
	struct tinyreg_knobs *k;
	struct ck_descriptor subject; /* "an image" */
	char list[CK_REFERRERS_NAME]; /* its list's tag */
	uint8_t layer[32];
	uint8_t bytes[BIG], digest[32]; /* a blob to copy: SIZE of it */
	size_t size, chunk;
	char name[CK_DIGEST_STR];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->t = tinyreg_open();
	f->k = tinyreg_knobs(f->t);
	f->subject = (struct ck_descriptor){ .media_type = CK_MEDIA_MANIFEST, .size = 8 };
	ck_sha256(f->subject.digest, "an image", 8);
	ck_digest_str(f->subject.digest_str, f->subject.digest);
	ck_referrers_name(f->list, f->subject.digest);
	ck_sha256(f->layer, "a layer", 7);
	f->size = SIZE;
	f->chunk = CHUNK;
	for (size_t i = 0; i < BIG; i++)
		f->bytes[i] = (uint8_t)(i * 7 + i / 251);
	ck_sha256(f->digest, f->bytes, SIZE);
	ck_digest_str(f->name, f->digest);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tinyreg_close(f->t);
	free(f);
	return 0;
}

/* "docker://HOST/r/x" and what follows. */
static const char *ref_of(const struct fixture *f, const char *rest)
{
	static char ref[256];

	snprintf(ref, sizeof ref, "docker://%s/r/x%s", tinyreg_host(f->t), rest);
	return ref;
}

static struct ck_image_writer *open_writer(const struct fixture *f, const char *rest,
					   const char *mount_from)
{
	const struct ck_image_writer_opts opts = { .push = { .mount_from = mount_from,
							     .chunk = f->chunk } };
	struct ck_image_writer *w = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_image_writer_open(&w, ref_of(f, rest), &opts, &err), &err);
	return w;
}

static void writes_an_image(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	uint8_t digest[32], is[32];
	char name[CK_DIGEST_STR], layer[64];
	size_t nbytes = 0;

	assert_works(mkimage_write(ref_of(f, ":v1_"), 1, 2, digest, &err), &err);
	const void *manifest = tinyreg_get(f->t, "v1_", &nbytes);
	assert_non_null(manifest);
	ck_sha256(is, manifest, nbytes);
	assert_memory_equal(is, digest, 32);
	for (size_t i = 0; i < 2; i++) {
		mkimage_layer(layer, 1, i);
		ck_sha256(is, layer, strlen(layer));
		ck_digest_str(name, is);
		assert_memory_equal(tinyreg_get(f->t, name, &nbytes), layer, strlen(layer));
		assert_int_equal(nbytes, strlen(layer));
	}
	assert_int_equal(tinyreg_count(f->t, "PUT /v2/r/x/manifests/"), 1);
	/* Once more, by the tag that is meant when none is said: its blobs do not go again. */
	uint64_t received = tinyreg_received(f->t);
	assert_works(mkimage_write(ref_of(f, ""), 1, 2, digest, &err), &err);
	assert_non_null(tinyreg_get(f->t, "latest", NULL));
	assert_int_equal(tinyreg_received(f->t), received);
	assert_int_equal(tinyreg_count(f->t, "POST"), 3);
}

static void shows_nothing_without_a_commit(void **state)
{
	struct fixture *f = *state;
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = open_writer(f, ":x", NULL);
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };

	assert_works(mkimage_blobs(w, 1, 2, &manifest, &err), &err);
	assert_works(ck_new_blob_open(&b, w, &err), &err);
	assert_works(ck_new_blob_write(b, f->bytes, SIZE, &err), &err);
	ck_new_blob_drop(ck_take(b));
	ck_image_writer_close(ck_take(w));
	assert_int_equal(tinyreg_count(f->t, "PUT /v2/r/x/manifests/"), 0);
	assert_int_equal(tinyreg_n_open(f->t), 0);
}

static void refuses_references(void **state)
{
	static const struct {
		const char *rest, *part;
	} rows[] = {
		{ "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		  "cannot be asked for" },
		{ ":sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		  "what refers to an image" },
		{ ":a/b", "is not a tag" },
	};

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_image_writer *w = NULL;
		struct ck_err err = { 0 };
		assert_fails(ck_image_writer_open(&w, ref_of(*state, rows[i].rest), NULL, &err),
			     -EINVAL, &err, rows[i].part);
		assert_null(w);
	}
}

static void refuses_an_image_with_a_blob_missing(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	uint8_t digest[32];

	for (int there = 0; there < 2; there++) {
		CK_AUTO(ck_image_writer_closep)
		struct ck_image_writer *w = open_writer(f, ":x", NULL);
		CK_BUF manifest = { 0 }, more = { 0 };
		if (there) /* by somebody else */
			tinyreg_put(f->t, f->name, f->bytes, SIZE);
		assert_works(mkimage_blobs(w, 1, 1, &manifest, &err), &err);
		assert_int_equal(ck_buf_addf(&more, &err,
					     "%.*s,{\"mediaType\":\"application/x\",\"digest\":"
					     "\"%s\",\"size\":%d}]}",
					     (int)manifest.len - 2, ck_buf_str(&manifest), f->name,
					     SIZE),
				 0);
		int rc = ck_image_writer_commit(w, more.data, more.len, CK_MEDIA_MANIFEST, NULL,
						digest, &err);
		if (there)
			assert_works(rc, &err);
		else
			assert_fails(rc, -EINVAL, &err, "was not written");
		assert_int_equal(tinyreg_count(f->t, "PUT /v2/r/x/manifests/x"), there);
	}
}

static void tells_of_another_manifest(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	uint8_t digest[32];

	f->k->liar = true;
	assert_fails(mkimage_write(ref_of(f, ":x"), 1, 1, digest, &err), -EBADMSG, &err,
		     "the registry made sha256:");
}

static void puts_a_manifest_again(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	uint8_t digest[32];

	f->k->put_manifest = (struct tinyreg_fault){ .nth = 0, .times = 2 };
	assert_works(mkimage_write(ref_of(f, ":x"), 1, 1, digest, &err), &err);
	f->k->put_manifest = (struct tinyreg_fault){ 0, 1000, 0, "403 Forbidden", 0 };
	assert_fails(mkimage_write(ref_of(f, ":y"), 1, 1, digest, &err), -EACCES, &err,
		     "manifest y");
	assert_null(tinyreg_get(f->t, "y", NULL));
}

/* A source of which bytes are counted, and can be false. */
struct source {
	struct fixture *f;
	uint64_t n_read;
	bool damaged;
};

static ssize_t read_source(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct source *s = ctx;

	(void)err;
	memcpy(buf, s->f->bytes + off, nbytes);
	if (s->damaged)
		((uint8_t *)buf)[0] ^= 1;
	s->n_read += nbytes;
	return (ssize_t)nbytes;
}

static void note_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	uint64_t *seen = ctx;

	assert_true(nbytes > *seen && nbytes <= total);
	*seen = nbytes;
}

static int copy(struct fixture *f, struct source *s, const char *mount_from, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = read_source };
	CK_AUTO(ck_image_writer_closep)
	struct ck_image_writer *w = open_writer(f, ":x", mount_from);
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	uint64_t seen = 0;

	assert_works(ck_reader_open(&r, &ops, s, f->size, err), err);
	int rc = ck_image_writer_copy(w, r, f->digest, note_progress, &seen, err);
	if (rc == 0)
		assert_int_equal(seen, f->size);
	return rc;
}

static void copies_blobs(void **state)
{
	struct fixture *f = *state;
	struct source s = { .f = f };
	struct ck_err err = { 0 };
	size_t nbytes = 0;

	s.damaged = true;
	assert_fails(copy(f, &s, NULL, &err), -EBADMSG, &err, "do not have that digest");
	assert_int_equal(tinyreg_n_open(f->t), 0);
	s = (struct source){ .f = f };
	assert_works(copy(f, &s, NULL, &err), &err);
	assert_int_equal(s.n_read, SIZE);
	assert_memory_equal(tinyreg_get(f->t, f->name, &nbytes), f->bytes, SIZE);
	assert_int_equal(nbytes, SIZE);
	assert_works(copy(f, &s, NULL, &err), &err);
	assert_int_equal(s.n_read, SIZE);
}

static void mounts_blobs(void **state)
{
	struct fixture *f = *state;
	struct source s = { .f = f };
	struct ck_err err = { 0 };

	f->k->mounts = true;
	tinyreg_put_beside(f->t, f->name, f->bytes, SIZE);
	assert_works(copy(f, &s, "beside", &err), &err);
	assert_int_equal(s.n_read, 0);
	assert_int_equal(tinyreg_received(f->t), 0);
	assert_non_null(tinyreg_get(f->t, f->name, NULL));
}

static void uploads_what_cannot_be_mounted(void **state)
{
	struct fixture *f = *state;
	struct source s = { .f = f };
	struct ck_err err = { 0 };

	assert_works(copy(f, &s, "beside", &err), &err);
	assert_int_equal(tinyreg_count(f->t, "POST"), 1);
	assert_int_equal(tinyreg_received(f->t), SIZE);
	/* The same repository has been asked. */
	f->digest[0] ^= 1;
	assert_fails(copy(f, &s, "r/x", &err), -EBADMSG, &err, "damaged");
	assert_int_equal(tinyreg_count(f->t, "POST /v2/r/x/blobs/uploads/?mount"), 1);
}

static void copies_anew_what_was_lost(void **state)
{
	struct fixture *f = *state;
	struct source s = { .f = f };
	struct ck_err err = { 0 };

	f->k->strict = f->k->strict_get = true;
	f->k->patch = (struct tinyreg_fault){ .nth = 2, .times = 1, .keep = 500 };
	assert_works(copy(f, &s, NULL, &err), &err);
	assert_int_equal(s.n_read, 2 * SIZE);
	assert_memory_equal(tinyreg_get(f->t, f->name, NULL), f->bytes, SIZE);
	/* Not for ever. */
	f->digest[0] ^= 1;
	f->k->patch = (struct tinyreg_fault){ .nth = 1, .times = 0, .keep = 500 };
	f->k->one_patch = true;
	f->k->min_chunk = 0;
	s.n_read = 0;
	assert_fails(copy(f, &s, NULL, &err), -EBADMSG, &err, "damaged");
	assert_int_equal(s.n_read, 2 * SIZE); /* a second time, in one piece */
}

/* The progress stands still then. */
static void does_not_go_back(void **state)
{
	struct fixture *f = *state;
	struct source s = { .f = f };
	struct ck_err err = { 0 };

	f->size = BIG;
	f->chunk = BIG_CHUNK;
	ck_sha256(f->digest, f->bytes, BIG);
	ck_digest_str(f->name, f->digest);
	f->k->forgetful = true;
	f->k->patch = (struct tinyreg_fault){ .nth = 8, .times = 1, .keep = 500 };
	assert_works(copy(f, &s, NULL, &err), &err);
	assert_int_equal(s.n_read, 2 * BIG);
	assert_memory_equal(tinyreg_get(f->t, f->name, NULL), f->bytes, BIG);
}

/* ---- artifacts ---- */

static int write_artifact(struct fixture *f, const char *index, char digest[CK_DIGEST_STR],
			  struct ck_err *err)
{
	const struct ck_index_blob blob = { f->layer, index, strlen(index), NULL, 0 };
	const struct ck_push_opts opts = { 0 };
	const struct ck_registry_opts none = { 0 };
	CK_AUTO(ck_blobstore_closep) struct ck_blobstore *s = NULL;
	struct ck_registry *r = NULL;
	uint8_t raw[32];

	assert_works(ck_registry_open(&r, tinyreg_host(f->t), "r/x", &none, err), err);
	assert_works(ck_push_open(&s, r, &opts, err), err);
	int rc = ck_artifact_write(s, &f->subject, &blob, 1, 0, raw, err);
	if (rc == 0)
		ck_digest_str(digest, raw);
	return rc;
}

/* The artifact is there, and so is the index in it. */
static void expect_artifact(struct fixture *f, const char *digest, const char *index)
{
	struct ck_artifactdoc doc = { 0 };
	struct ck_err err = { 0 };
	char name[CK_DIGEST_STR];
	size_t nbytes = 0;
	const void *p = tinyreg_get(f->t, digest, &nbytes);

	assert_non_null(p);
	assert_works(ck_artifactdoc_parse(&doc, p, nbytes, f->subject.digest, &err), &err);
	assert_int_equal(doc.n, 1);
	ck_digest_str(name, doc.indexes[0].digest);
	ck_artifactdoc_free(&doc);
	assert_memory_equal(tinyreg_get(f->t, name, &nbytes), index, strlen(index));
}

/* The list's entries, each its digest's first 4 digits and "!" where it is ours. */
static const char *list_of(struct fixture *f)
{
	static char text[512];
	CK_AUTO(ck_json_freep) json_t *list = NULL;
	struct ck_err err = { 0 };
	size_t nbytes = 0;
	const void *p = tinyreg_get(f->t, f->list, &nbytes);

	if (!p)
		return "none";
	text[0] = 0;
	assert_works(ck_manifest_list_parse(&list, p, nbytes, NULL, &err), &err);
	const json_t *m = json_object_get(list, "manifests");
	for (size_t i = 0; i < json_array_size(m); i++) {
		const json_t *e = json_array_get(m, i);
		const char *type = json_string_value(json_object_get(e, "artifactType"));
		size_t len = strlen(text);
		snprintf(text + len, sizeof text - len, "%s%.4s%s", len ? " " : "",
			 json_string_value(json_object_get(e, "digest")) + 7,
			 strcmp(type, CK_ARTIFACT_TYPE) == 0 ? "!" : "");
	}
	return text;
}

#define ENTRY(four, type)                                                                          \
	"{\"mediaType\":\"" CK_MEDIA_MANIFEST "\",\"digest\":\"sha256:" four                       \
	"000000000000000000000000000000000000000000000000000000000000\",\"size\":3,"               \
	"\"artifactType\":\"" type "\"}"
#define LIST(entries)                                                                              \
	"{\"schemaVersion\":2,\"mediaType\":\"" CK_MEDIA_INDEX "\",\"manifests\":[" entries "]}"

static void put_list(struct tinyreg *t, const char *name, const char *text)
{
	tinyreg_put(t, name, text, strlen(text));
}

static void leaves_the_list_to_the_registry(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR];

	f->k->referrers = true;
	assert_works(write_artifact(f, "sealed", digest, &err), &err);
	expect_artifact(f, digest, "sealed");
	assert_string_equal(list_of(f), "none");
	assert_int_equal(tinyreg_count(f->t, "PUT /v2/r/x/manifests/sha256:"), 1);
	assert_int_equal(tinyreg_count(f->t, "GET"), 0);
}

static void lists_what_the_registry_does_not(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR], want[64];

	assert_works(write_artifact(f, "sealed", digest, &err), &err);
	expect_artifact(f, digest, "sealed");
	snprintf(want, sizeof want, "%.4s!", digest + 7);
	assert_string_equal(list_of(f), want);
	/* Once more: nothing changes. */
	assert_works(write_artifact(f, "sealed", digest, &err), &err);
	assert_int_equal(tinyreg_count(f->t, "PUT /v2/r/x/manifests/sha256-"), 1);
	/* Older ones of ours go, others stay. */
	put_list(f->t, f->list, LIST(ENTRY("1111", "a/b") "," ENTRY("2222", CK_ARTIFACT_TYPE)));
	assert_works(write_artifact(f, "sealed", digest, &err), &err);
	snprintf(want, sizeof want, "1111 %.4s!", digest + 7);
	assert_string_equal(list_of(f), want);
}

static void writes_over_no_list_that_it_cannot_read(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR];

	put_list(f->t, f->list, "{\"schemaVersion\":2}");
	assert_fails(write_artifact(f, "sealed", digest, &err), -EBADMSG, &err, f->list);
	f->k->get_manifest = (struct tinyreg_fault){ 0, 1000, 0, "403 Forbidden", 0 };
	assert_fails(write_artifact(f, "sealed", digest, &err), -EACCES, &err, f->list);
	assert_int_equal(tinyreg_count(f->t, "PUT /v2/r/x/manifests/sha256-"), 0);
}

/* Somebody else puts a list that he made from one without our entry. */
static void overwrite(struct tinyreg *t, const char *reference, bool after)
{
	unsigned *times = tinyreg_knobs(t)->ctx;

	if (!after || !ck_referrers_named(reference) || *times == 0)
		return;
	--*times;
	put_list(t, reference, LIST(ENTRY("1111", "a/b") "," ENTRY("2222", CK_ARTIFACT_TYPE)));
}

static void newer_one(struct tinyreg *t, const char *reference, bool after)
{
	if (after && ck_referrers_named(reference))
		put_list(t, reference, LIST(ENTRY("3333", CK_ARTIFACT_TYPE)));
}

static void wins_the_race_for_the_list(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR], want[64];
	unsigned times = 3;

	f->k->on_manifest = overwrite;
	f->k->ctx = &times;
	put_list(f->t, f->list, LIST(ENTRY("2222", CK_ARTIFACT_TYPE)));
	assert_works(write_artifact(f, "sealed", digest, &err), &err);
	snprintf(want, sizeof want, "1111 %.4s!", digest + 7);
	assert_string_equal(list_of(f), want);
	put_list(f->t, f->list, LIST(ENTRY("2222", CK_ARTIFACT_TYPE)));
	times = 1000;
	assert_fails(write_artifact(f, "another", digest, &err), -EBUSY, &err,
		     "others keep changing");
	/* Who came after us with the same is as good. */
	f->k->on_manifest = newer_one;
	assert_works(write_artifact(f, "a third", digest, &err), &err);
	assert_string_equal(list_of(f), "3333!");
}

/* ---- from many threads ---- */

struct job {
	struct ck_image_writer *w;
	unsigned idx;
	int rc;
	struct ck_err err;
};

static void *write_blobs(void *arg)
{
	struct job *j = arg;

	for (unsigned i = 0; j->rc == 0 && i < 6; i++) {
		CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
		uint8_t bytes[2500] = { (uint8_t)(j->idx % 2), (uint8_t)i }, digest[32];
		uint64_t size;
		j->rc = ck_new_blob_open(&b, j->w, &j->err);
		if (j->rc == 0)
			j->rc = ck_new_blob_write(b, bytes, sizeof bytes, &j->err);
		if (j->rc == 0)
			j->rc = ck_new_blob_end(b, digest, &size, &j->err);
		if (j->rc == 0)
			j->rc = ck_image_writer_put(j->w, bytes, 100, digest, &j->err);
	}
	return NULL;
}

static void takes_blobs_from_many_threads(void **state)
{
	struct fixture *f = *state;
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = open_writer(f, ":x", NULL);
	CK_BUF manifest = { 0 };
	struct ck_err err = { 0 };
	struct job jobs[4];
	pthread_t threads[4];
	uint8_t digest[32];

	for (unsigned i = 0; i < 4; i++) {
		jobs[i] = (struct job){ .w = w, .idx = i };
		assert_int_equal(pthread_create(&threads[i], NULL, write_blobs, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_works(jobs[i].rc, &jobs[i].err);
	}
	assert_works(mkimage_blobs(w, 1, 1, &manifest, &err), &err);
	assert_works(ck_image_writer_commit(w, manifest.data, manifest.len, CK_MEDIA_MANIFEST, NULL,
					    digest, &err),
		     &err);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(writes_an_image),
		T(shows_nothing_without_a_commit),
		T(refuses_references),
		T(refuses_an_image_with_a_blob_missing),
		T(tells_of_another_manifest),
		T(puts_a_manifest_again),
		T(copies_blobs),
		T(mounts_blobs),
		T(uploads_what_cannot_be_mounted),
		T(copies_anew_what_was_lost),
		T(does_not_go_back),
		T(leaves_the_list_to_the_registry),
		T(lists_what_the_registry_does_not),
		T(writes_over_no_list_that_it_cannot_read),
		T(wins_the_race_for_the_list),
		T(takes_blobs_from_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
