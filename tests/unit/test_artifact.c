/* The sealed indexes of an image as an artifact in its layout: written, found, and what
 * hostile ones get. */
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/file.h"
#include "base/json.h"
#include "fs/oci/artifact.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/image.h"
#include "fs/oci/layoutstore.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/mkimage.h"
#include "tests/unit/lib/tmplayout.h"
#include "tests/unit/lib/unit.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TYPE  "application/vnd.cloakfs.index.v1"
#define EMPTY                                                                                      \
	"{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"sha256:"                \
	"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2"

/* A layout with one image, "x". */
struct fixture {
	struct tmplayout t; /* t.dir is the layout */
	struct tmplayout above;
	struct ck_descriptor subject;
	uint8_t layer[2][32]; /* digests of its layers */
	char layer_str[2][CK_DIGEST_STR];
};

static int setup(void **state)
{
	static struct fixture f;
	struct ck_err err = { 0 };
	char text[64];

	memset(&f, 0, sizeof f);
	tmplayout_make(&f.above);
	assert_true(snprintf(f.t.dir, sizeof f.t.dir, "%.60s/l", f.above.dir) < 64);
	assert_works(
	    mkimage_write(tmplayout_fmt("oci:%s:x", f.t.dir), 1, 2, f.subject.digest, &err), &err);
	f.subject.media_type = TMP_MANIFEST;
	ck_digest_str(f.subject.digest_str, f.subject.digest);
	f.subject.size = 543;
	for (size_t i = 0; i < 2; i++) {
		mkimage_layer(text, 1, i);
		ck_sha256(f.layer[i], text, strlen(text));
		ck_digest_str(f.layer_str[i], f.layer[i]);
	}
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tmplayout_remove(&f->above);
	return 0;
}

static int write_artifact(const char *dir, const struct ck_descriptor *subject,
			  const struct ck_index_blob *blobs, size_t n, uint8_t digest[32],
			  struct ck_err *err)
{
	CK_AUTO(ck_blobstore_closep) struct ck_blobstore *s = NULL;
	int rc = ck_layoutstore_open(&s, CK_TRANSPORT_OCI, dir, true, err);

	return rc < 0 ? rc : ck_artifact_write(s, subject, blobs, n, 0, digest, err);
}

/* Two indexes of the image, whose bytes are A and B. */
static int write_two(struct fixture *f, const char *a, const char *b, char digest[CK_DIGEST_STR],
		     struct ck_err *err)
{
	const struct ck_index_blob blobs[] = { { f->layer[0], a, strlen(a), NULL, 0 },
					       { f->layer[1], b, strlen(b), NULL, 0 },
					       { f->layer[0], "twice", 5, NULL, 0 } };
	uint8_t raw[32];
	int rc = write_artifact(f->t.dir, &f->subject, blobs, 3, raw, err);

	if (rc == 0)
		ck_digest_str(digest, raw);
	return rc;
}

static const char *text_of(const struct fixture *f, const char *name)
{
	CK_BUF b = { 0 };
	struct ck_err err = { 0 };

	assert_works(ck_file_read(&b, tmplayout_fmt("%s/%s", f->t.dir, name), &err), &err);
	return tmplayout_fmt("%s", ck_buf_str(&b));
}

static const char *blob_text(const struct fixture *f, const char *digest)
{
	return text_of(f, tmplayout_fmt("blobs/sha256/%s", digest + 7));
}

static const char *sha_of(const char *text)
{
	uint8_t raw[32];
	char digest[CK_DIGEST_STR];

	ck_sha256(raw, text, strlen(text));
	ck_digest_str(digest, raw);
	return tmplayout_fmt("%s", digest);
}

static void expect_loads(const struct fixture *f, const char *a, const char *b)
{
	struct ck_artifact *artifact = NULL;
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };

	assert_works(ck_artifact_open(&artifact, f->t.dir, f->subject.digest_str, &err), &err);
	struct ck_index_store store = ck_artifact_store(artifact);
	assert_null(store.save);
	/* Appended. */
	assert_works(store.load(store.ctx, f->layer_str[1], &out, &err), &err);
	assert_works(store.load(store.ctx, f->layer_str[0], &out, &err), &err);
	assert_string_equal(ck_buf_str(&out), tmplayout_fmt("%s%s", b, a));
	assert_fails(store.load(store.ctx, "sha256:" HEX64, &out, &err), -ENOENT, &err,
		     "has no index of sha256:" HEX64);
	assert_fails(store.load(store.ctx, "sha256:../x", &out, &err), -EBADMSG, &err,
		     "is not sha256:");
	ck_artifact_close(artifact);
}

static const char *index_layer(const char *bytes, const char *layer)
{
	return tmplayout_fmt("{\"mediaType\":\"" TYPE "\",\"digest\":\"%s\",\"size\":%zu,"
			     "\"annotations\":{\"io.cloakfs.layer\":\"%s\"}}",
			     sha_of(bytes), strlen(bytes), layer);
}

static void writes_what_it_finds(void **state)
{
	struct fixture *f = *state;
	struct ck_artifact *artifact = NULL;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR];

	assert_fails(ck_artifact_open(&artifact, f->t.dir, f->subject.digest_str, &err), -ENOENT,
		     &err, "nothing refers to the image");
	CK_AUTO(ck_freep) char *before = strdup(text_of(f, "index.json"));
	assert_works(write_two(f, "one", "two!", digest, &err), &err);
	expect_loads(f, "one", "two!");
	mkimage_check_names(f->t.dir);
	/* The documents, to the letter. */
	const char *manifest = blob_text(f, digest);
	assert_string_equal(
	    manifest,
	    tmplayout_fmt("{\"schemaVersion\":2,\"mediaType\":\"" TMP_MANIFEST
			  "\",\"artifactType\":\"" TYPE "\",\"config\":" EMPTY
			  ",\"data\":\"e30=\"},\"layers\":[%s,%s],\"subject\":{"
			  "\"mediaType\":\"" TMP_MANIFEST "\",\"digest\":\"%s\",\"size\":543}}",
			  index_layer("one", f->layer_str[0]), index_layer("two!", f->layer_str[1]),
			  f->subject.digest_str));
	const char *list =
	    tmplayout_fmt("{\"schemaVersion\":2,\"mediaType\":\"" TMP_INDEX
			  "\",\"manifests\":[{\"mediaType\":\"" TMP_MANIFEST
			  "\",\"digest\":\"%s\",\"size\":%zu,\"artifactType\":\"" TYPE "\"}]}",
			  digest, strlen(manifest));
	assert_string_equal(blob_text(f, sha_of(list)), list);
	assert_string_equal(text_of(f, "index.json"),
			    tmplayout_fmt("%.*s,{\"mediaType\":\"" TMP_INDEX
					  "\",\"digest\":\"%s\",\"size\":%zu,\"annotations\":{"
					  "\"org.opencontainers.image.ref.name\":\"sha256-%s\"}}]}",
					  (int)strlen(before) - 2, before, sha_of(list),
					  strlen(list), f->subject.digest_str + 7));
	assert_string_equal(text_of(f, "blobs/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e"
				       "8310c060f61caaff8a"),
			    "{}");
	/* The same again is the same. */
	CK_BUF one = { 0 }, two = { 0 };
	mkimage_list(&one, f->t.dir);
	assert_works(write_two(f, "one", "two!", digest, &err), &err);
	mkimage_list(&two, f->t.dir);
	assert_string_equal(ck_buf_str(&one), ck_buf_str(&two));
}

/* The list of referrers that index.json leads to now. */
static const char *referrers(const struct fixture *f)
{
	CK_AUTO(ck_json_freep) json_t *index = NULL;
	const char *text = text_of(f, "index.json");

	assert_int_equal(ck_json_parse(&index, text, strlen(text), "", NULL), 0);
	const json_t *manifests = json_object_get(index, "manifests");
	const json_t *last = json_array_get(manifests, json_array_size(manifests) - 1);
	return blob_text(f, json_string_value(json_object_get(last, "digest")));
}

/* Makes TEXT the list of what refers to the image. */
static void set_referrers(struct fixture *f, const char *media_type, const char *text)
{
	struct tmpblob list = tmplayout_text(&f->t, text);
	const char *index =
	    tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s,\"annotations\":{\"org."
			  "opencontainers.image.ref.name\":\"sha256-%s\"}}]}",
			  tmplayout_descriptor(media_type, &list), f->subject.digest_str + 7);

	tmplayout_file(&f->t, "index.json", index, strlen(index));
}

static void keeps_what_else_refers(void **state)
{
	struct fixture *f = *state;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR];
	const char *fmt = "{\"schemaVersion\":2,\"mediaType\":\"" TMP_INDEX
			  "\",\"manifests\":[%s{\"mediaType\":\"a/b\",\"digest\":\"sha512:1\","
			  "\"new\":{}},{\"artifactType\":\"sig/x\",\"annotations\":{\"a\":\"b\"}}"
			  "%s],\"annotations\":{\"c\":\"d\"}}";
	const char *ours =
	    tmplayout_fmt("{\"mediaType\":\"" TMP_MANIFEST "\",\"digest\":\"sha256:" HEX64
			  "\",\"size\":1,\"artifactType\":\"" TYPE "\"}");

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	set_referrers(f, TMP_INDEX,
		      tmplayout_fmt(fmt, tmplayout_fmt("%s,", ours), tmplayout_fmt(",%s", ours)));
	assert_works(write_two(f, "one", "two", digest, &err), &err);
	const char *new =
	    tmplayout_fmt(",{\"mediaType\":\"" TMP_MANIFEST
			  "\",\"digest\":\"%s\",\"size\":%zu,\"artifactType\":\"" TYPE "\"}",
			  digest, strlen(blob_text(f, digest)));
	assert_string_equal(referrers(f), tmplayout_fmt(fmt, "", new));
#pragma GCC diagnostic pop
	expect_loads(f, "one", "two");
	assert_works(write_two(f, "three", "four", digest, &err), &err);
	expect_loads(f, "three", "four");
	assert_null(strstr(strstr(text_of(f, "index.json"), "sha256-") + 7, "sha256-"));
}

static void refuses_to_write(void **state)
{
	struct fixture *f = *state;
	const struct ck_index_blob blob = { f->layer[0], "x", 1, NULL, 0 };
	CK_BUF before = { 0 }, after = { 0 };
	struct ck_err err = { 0 };
	uint8_t raw[32];
	char digest[CK_DIGEST_STR];

	assert_fails(write_artifact(f->t.dir, &f->subject, &blob, 0, raw, &err), -EINVAL, &err,
		     "an artifact of 0 indexes");
	assert_fails(write_artifact(tmplayout_fmt("%s/none/none", f->t.dir), &f->subject, &blob, 1,
				    raw, &err),
		     -ENOENT, &err, "cannot make directory");
	const struct ck_index_blob huge = { f->layer[0], "x", ((size_t)1 << 30) + 1, NULL, 0 };
	assert_fails(write_artifact(f->t.dir, &f->subject, &huge, 1, raw, &err), -EFBIG, &err,
		     "more than the 1073741824 allowed");
	/* A list that cannot be read is somebody's: it is not written over. */
	static const struct {
		const char *type, *text;
		int code;
		const char *part;
	} rows[] = {
		{ TMP_INDEX, "{", -EBADMSG, "not valid JSON" },
		{ TMP_INDEX, "{\"schemaVersion\":2}", -EBADMSG, "\"manifests\" is missing" },
		{ TMP_MANIFEST, "{\"schemaVersion\":2,\"manifests\":[]}", -EBADMSG,
		  "it is not an index but" },
	};
	for (size_t i = 0; i < N_OF(rows); i++) {
		set_referrers(f, rows[i].type, rows[i].text);
		ck_buf_free(&before);
		ck_buf_free(&after);
		mkimage_list(&before, f->t.dir);
		assert_fails(write_two(f, "one", "two", digest, &err), rows[i].code, &err,
			     rows[i].part);
		mkimage_list(&after, f->t.dir);
		assert_string_equal(ck_buf_str(&before), ck_buf_str(&after));
	}
}

#define GOOD_LAYERS "\"layers\":[$I]"
#define HEAD	    "{\"schemaVersion\":2,\"mediaType\":\"" TMP_MANIFEST "\","
#define OURS	    "\"artifactType\":\"" TYPE "\","
#define ABOUT	    "\"subject\":{$S},"
#define LAYER(rest)                                                                                \
	HEAD OURS ABOUT "\"layers\":[{\"mediaType\":\"" TYPE "\",\"digest\":\"sha256:" HEX64       \
			"\"," rest "}]}"

/* Artifacts that must be refused; each is otherwise well-formed. */
static void refuses_hostile_artifacts(void **state)
{
	static const struct {
		const char *why, *text;
		int code;
		const char *part;
	} rows[] = {
		{ "well-formed", HEAD OURS ABOUT GOOD_LAYERS "}", 0, "" },
		{ "with what nobody knows yet",
		  HEAD OURS ABOUT
		  "\"layers\":[$I,{\"mediaType\":\"new/x\",\"digest\":\"sha256:" HEX64
		  "\",\"size\":9}],\"new\":1}",
		  0, "" },
		{ "not JSON", "{", -EBADMSG, "not valid JSON" },
		{ "an array", "[]", -EBADMSG, "not a JSON object" },
		{ "duplicate keys", "{\"schemaVersion\":2,\"schemaVersion\":2}", -EBADMSG,
		  "duplicate object key" },
		{ "schema 1", "{\"schemaVersion\":1}", -ENOTSUP, "schema version 1" },
		{ "of no media type", "{\"schemaVersion\":2," OURS ABOUT GOOD_LAYERS "}", -EBADMSG,
		  "\"mediaType\" is missing" },
		{ "an index", "{\"schemaVersion\":2,\"mediaType\":\"" TMP_INDEX "\"}", -ENOTSUP,
		  "\"mediaType\" is application/vnd.oci.image.index" },
		{ "another artifact", HEAD "\"artifactType\":\"a/b\"," ABOUT GOOD_LAYERS "}",
		  -ENOTSUP, "\"artifactType\" is a/b" },
		{ "an image", HEAD ABOUT GOOD_LAYERS "}", -EBADMSG, "\"artifactType\" is missing" },
		{ "about nothing", HEAD OURS GOOD_LAYERS "}", -EBADMSG, "\"subject\" is missing" },
		{ "about another image",
		  HEAD OURS "\"subject\":{\"mediaType\":\"" TMP_MANIFEST
			    "\",\"digest\":\"sha256:" HEX64 "\",\"size\":1}," GOOD_LAYERS "}",
		  -EBADMSG, "it is about another image, sha256:" HEX64 },
		{ "a subject that is a text", HEAD OURS "\"subject\":\"$S\"," GOOD_LAYERS "}",
		  -EBADMSG, "" },
		{ "no layers", HEAD OURS ABOUT "\"x\":1}", -EBADMSG, "\"layers\" is missing" },
		{ "layers are an object", HEAD OURS ABOUT "\"layers\":{}}", -EBADMSG,
		  "\"layers\" is not an array" },
		{ "a layer is a number", HEAD OURS ABOUT "\"layers\":[1]}", -EBADMSG,
		  "index 0: a descriptor is not an object" },
		{ "two for one layer", HEAD OURS ABOUT "\"layers\":[$I,$J,$I]}", -EBADMSG,
		  "two indexes of one layer" },
		{ "no annotations", LAYER("\"size\":1"), -EBADMSG,
		  "\"io.cloakfs.layer\" is missing" },
		{ "annotations are a list", LAYER("\"size\":1,\"annotations\":[]"), -EBADMSG,
		  "\"annotations\" is not an object" },
		{ "of no layer",
		  LAYER("\"size\":1,\"annotations\":{\"io.cloakfs.layer\":\"sha256:../../x\"}"),
		  -EBADMSG, "is not sha256:" },
		{ "of a number", LAYER("\"size\":1,\"annotations\":{\"io.cloakfs.layer\":1}"),
		  -EBADMSG, "\"io.cloakfs.layer\" is not a string" },
		{ "too large",
		  LAYER("\"size\":1073741825,\"annotations\":{\"io.cloakfs.layer\":\"sha256:" HEX64
			"\"}"),
		  -EBADMSG, "more than the 1073741824 allowed" },
		{ "a digest that climbs out",
		  HEAD OURS ABOUT "\"layers\":[{\"mediaType\":\"" TYPE
				  "\",\"digest\":\"sha256:../../../etc/passwd\",\"size\":1}]}",
		  -EBADMSG, "is not sha256:" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_artifact *a = NULL;
		struct ck_err err = { 0 };
		const char *values[] = {
			tmplayout_fmt("\"mediaType\":\"" TMP_MANIFEST
				      "\",\"digest\":\"%s\",\"size\":543",
				      f->subject.digest_str),
			index_layer("one", f->layer_str[0]),
			index_layer("two", f->layer_str[1]),
		};
		struct tmpblob m =
		    tmplayout_text(&f->t, tmplayout_fill(rows[i].text, "SIJ", values));
		set_referrers(f, TMP_INDEX,
			      tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s,"
					    "\"artifactType\":\"" TYPE "\"}]}",
					    tmplayout_descriptor(TMP_MANIFEST, &m)));
		int rc = ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err);
		if (rc != rows[i].code || !strstr(err.msg, rows[i].part))
			fail_msg("%s: got %d \"%s\", want %d \"%s\"", rows[i].why, rc, err.msg,
				 rows[i].code, rows[i].part);
		assert_true(rc == 0 || a == NULL);
		ck_artifact_close(a);
	}
}

static void bounds_the_number_of_indexes(void **state)
{
	struct fixture *f = *state;
	struct ck_artifact *a = NULL;
	struct ck_err err = { 0 };
	CK_BUF text = { 0 };

	assert_int_equal(ck_buf_addf(&text, NULL,
				     HEAD OURS "\"subject\":{\"mediaType\":\"" TMP_MANIFEST
					       "\",\"digest\":\"%s\",\"size\":543},\"layers\":[0",
				     f->subject.digest_str),
			 0);
	for (int i = 0; i < 8192; i++)
		assert_int_equal(ck_buf_adds(&text, ",0", NULL), 0);
	assert_int_equal(ck_buf_adds(&text, "]}", NULL), 0);
	struct tmpblob m = tmplayout_blob(&f->t, text.data, text.len);
	set_referrers(
	    f, TMP_INDEX,
	    tmplayout_fmt("{\"schemaVersion\":2,\"manifests\":[{%s,\"artifactType\":\"" TYPE
			  "\"}]}",
			  tmplayout_descriptor(TMP_MANIFEST, &m)));
	assert_fails(ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err), -EBADMSG, &err,
		     "8193 layers, more than the 8192 allowed");
}

/* Lists of referrers that are none, and what is found there. */
static void refuses_hostile_lists(void **state)
{
	static const struct {
		const char *why, *type, *text;
		int code;
		const char *part;
	} rows[] = {
		{ "empty", TMP_INDEX, "{\"schemaVersion\":2,\"manifests\":[]}", -ENOENT,
		  "no indexes of the image's layers" },
		{ "of others", TMP_INDEX,
		  "{\"schemaVersion\":2,\"manifests\":[{\"artifactType\":\"a/b\"},{\"x\":1},{"
		  "\"artifactType\":1}]}",
		  -ENOENT, "no indexes of the image's layers" },
		{ "a manifest", TMP_MANIFEST, "{\"schemaVersion\":2,\"manifests\":[]}", -EBADMSG,
		  "it is not an index but" },
		{ "not JSON", TMP_INDEX, "?", -EBADMSG, "not valid JSON" },
		{ "no descriptor", TMP_INDEX,
		  "{\"schemaVersion\":2,\"manifests\":[{\"artifactType\":\"" TYPE "\"}]}", -EBADMSG,
		  "\"mediaType\" is missing" },
		{ "of what is not there", TMP_INDEX,
		  "{\"schemaVersion\":2,\"manifests\":[{\"artifactType\":\"" TYPE
		  "\",\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX64 "\",\"size\":2}]}",
		  -EBADMSG, "artifact sha256:" HEX64 ": cannot open" },
		{ "of what is too large", TMP_INDEX,
		  "{\"schemaVersion\":2,\"manifests\":[{\"artifactType\":\"" TYPE
		  "\",\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX64 "\",\"size\":4194305}]}",
		  -EFBIG, "more than the 4194304 allowed" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < N_OF(rows); i++) {
		struct ck_artifact *a = NULL;
		struct ck_err err = { 0 };
		set_referrers(f, rows[i].type, rows[i].text);
		int rc = ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err);
		if (rc != rows[i].code || !strstr(err.msg, rows[i].part))
			fail_msg("%s: got %d \"%s\", want %d \"%s\"", rows[i].why, rc, err.msg,
				 rows[i].code, rows[i].part);
		assert_null(a);
	}
	/* The list itself is not there. */
	struct ck_artifact *a = NULL;
	struct ck_err err = { 0 };
	set_referrers(f, TMP_INDEX, "gone");
	assert_int_equal(unlink(tmplayout_fmt("%s/blobs/sha256/%s", f->t.dir, sha_of("gone") + 7)),
			 0);
	assert_fails(ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err), -EBADMSG, &err,
		     "No such file");
	assert_fails(ck_artifact_open(&a, f->t.dir, "sha256:12", &err), -EBADMSG, &err,
		     "is not sha256:");
}

static void checks_what_it_loads(void **state)
{
	struct fixture *f = *state;
	struct ck_artifact *a = NULL;
	struct ck_err err = { 0 };
	CK_BUF out = { 0 };
	char digest[CK_DIGEST_STR], path[128];

	assert_works(write_two(f, "one", "two", digest, &err), &err);
	assert_works(ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err), &err);
	struct ck_index_store store = ck_artifact_store(a);
	const char *name = tmplayout_fmt("blobs/sha256/%s", sha_of("one") + 7);
	snprintf(path, sizeof path, "%s/%s", f->t.dir, name);
	tmplayout_file(&f->t, name, "0ne", 3);
	assert_fails(store.load(store.ctx, f->layer_str[0], &out, &err), -EBADMSG, &err,
		     "do not have that digest");
	tmplayout_file(&f->t, name, "one.", 4);
	assert_fails(store.load(store.ctx, f->layer_str[0], &out, &err), -EBADMSG, &err,
		     "its size is 4 bytes");
	assert_int_equal(unlink(path), 0);
	assert_fails(store.load(store.ctx, f->layer_str[0], &out, &err), -EBADMSG, &err,
		     "No such file");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_fails(store.load(store.ctx, f->layer_str[0], &out, &err), -ELOOP, &err,
		     "is a symbolic link");
	ck_artifact_close(a);
}

/* The image is found as if nothing referred to it. */
static void leaves_the_image_where_it_was(void **state)
{
	struct fixture *f = *state;
	struct ck_image *img = NULL;
	struct ck_err err = { 0 };
	char digest[CK_DIGEST_STR];
	uint8_t raw[32];

	assert_works(write_two(f, "one", "two", digest, &err), &err);
	const char *const good[] = { "", ":x", tmplayout_fmt("@%s", f->subject.digest_str) };
	for (size_t i = 0; i < 3; i++) {
		assert_works(ck_image_open(&img, tmplayout_fmt("oci:%s%s", f->t.dir, good[i]), NULL,
					   NULL, &err),
			     &err);
		assert_string_equal(img->manifest_digest, f->subject.digest_str);
		ck_image_close(ck_take(img));
	}
	const char *referrers_ref =
	    tmplayout_fmt("oci:%s:sha256-%s", f->t.dir, f->subject.digest_str + 7);
	assert_fails(ck_image_open(&img, referrers_ref, NULL, NULL, &err), -ENOTSUP, &err,
		     "no container image in it, only what refers to one: " TYPE);
	assert_fails(ck_image_open(&img, tmplayout_fmt("oci:%s:y", f->t.dir), NULL, NULL, &err),
		     -ENOENT, &err, "is called \"y\" there, only: x");
	assert_null(strstr(err.msg, "sha256-"));
	assert_works(mkimage_write(tmplayout_fmt("oci:%s:y", f->t.dir), 2, 1, raw, &err), &err);
	assert_fails(ck_image_open(&img, tmplayout_fmt("oci:%s", f->t.dir), NULL, NULL, &err),
		     -EINVAL, &err, "say which with oci:DIR:REF: x, y");
	/* One that stands in index.json itself. */
	const char *index = tmplayout_fmt(
	    "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" TMP_MANIFEST
	    "\",\"digest\":\"%s\",\"size\":1,\"artifactType\":\"" TYPE
	    "\"},{\"mediaType\":\"" TMP_MANIFEST "\",\"digest\":\"%s\",\"size\":543}]}",
	    digest, f->subject.digest_str);
	tmplayout_file(&f->t, "index.json", index, strlen(index));
	assert_works(ck_image_open(&img, tmplayout_fmt("oci:%s", f->t.dir), NULL, NULL, &err),
		     &err);
	assert_string_equal(img->manifest_digest, f->subject.digest_str);
	ck_image_close(img);
}

struct kept {
	struct ck_buf index, windows;
};

static int keep_index(void *ctx, const char *digest, const void *p, size_t nbytes,
		      const struct ck_buf *windows, struct ck_err *err)
{
	struct kept *k = ctx;
	int rc = ck_buf_add(&k->index, p, nbytes, err);

	(void)digest;
	return rc < 0 ? rc : ck_buf_add(&k->windows, windows->data, windows->len, err);
}

static int no_index(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	(void)ctx, (void)digest, (void)out;
	return ck_fail(err, -ENOENT, "none");
}

static void note_progress(void *ctx, uint64_t nbytes, uint64_t total)
{
	(void)nbytes, (void)total;
	*(int *)ctx += 1;
}

/* A layer opens by the index that travelled with it, without a pass, and reads by the windows that
 * did. */
static void serves_a_layer(void **state)
{
	struct fixture *f = *state;
	CK_BUF tar = { 0 }, blob = { 0 };
	struct kept kept = { 0 };
	struct ck_blob_key key;
	struct ck_unitcache *cache = NULL;
	struct ck_err err = { 0 };
	uint8_t raw[32], got[1000];

	mk_tar(&tar, 5, 40, 100000); /* several points */
	mk_gzip(&blob, tar.data, tar.len, 6, Z_DEFAULT_STRATEGY);
	mk_encrypt(&blob, &key, 5);
	struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
	assert_works(ck_unitcache_open(&cache, 8 << 20, &err), &err);
	for (int round = 0; round < 2; round++) {
		struct ck_artifact *a = NULL;
		struct ck_layer *l = NULL;
		struct ck_reader *r = NULL;
		struct ck_index_store store = {
			.load = no_index, .save = keep_index, .apart = true, .ctx = &kept
		};
		int passes = 0;
		if (round) {
			const struct ck_index_blob b = { spec.digest, kept.index.data,
							 kept.index.len, kept.windows.data,
							 kept.windows.len };
			assert_true(kept.windows.len > 1000);
			assert_works(write_artifact(f->t.dir, &f->subject, &b, 1, raw, &err), &err);
			assert_works(ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err),
				     &err);
			store = ck_artifact_store(a);
		}
		assert_works(ck_reader_open_mem(&r, blob.data, blob.len, &err), &err);
		assert_works(
		    ck_layer_open(&l, &spec, r, cache, &store, note_progress, &passes, &err), &err);
		assert_int_equal(passes > 0, !round);
		for (uint64_t off = 0; off + sizeof got < tar.len; off += 100000) {
			assert_works(ck_layer_pread(l, got, sizeof got, off, &err), &err);
			assert_memory_equal(got, tar.data + off, sizeof got);
		}
		ck_layer_close(l);
		ck_artifact_close(a);
	}
	ck_unitcache_close(cache);
	ck_buf_free(&kept.index);
	ck_buf_free(&kept.windows);
}

struct job {
	struct fixture *f;
	unsigned seed;
	int rc;
	struct ck_err err;
};

static void *add_image_and_indexes(void *arg)
{
	struct job *j = arg;
	struct ck_descriptor d = { .media_type = TMP_MANIFEST, .size = 395 };
	const struct ck_index_blob blob = { j->f->layer[0], &j->seed, sizeof j->seed, NULL, 0 };
	char ref[128];
	uint8_t raw[32];

	/* The same image's list over and over, and one of its own. */
	snprintf(ref, sizeof ref, "oci:%s:n%u", j->f->t.dir, j->seed);
	for (int i = 0; i < 5 && j->rc == 0; i++) {
		j->rc = mkimage_write(ref, j->seed, 1, d.digest, &j->err);
		if (j->rc == 0)
			j->rc = write_artifact(j->f->t.dir, &d, &blob, 1, raw, &j->err);
		if (j->rc == 0)
			j->rc = write_artifact(j->f->t.dir, &j->f->subject, &blob, 1, raw, &j->err);
	}
	return NULL;
}

static void loses_nothing_beside_others(void **state)
{
	struct fixture *f = *state;
	struct job jobs[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		jobs[i] = (struct job){ .f = f, .seed = 10 + i };
		assert_int_equal(pthread_create(&threads[i], NULL, add_image_and_indexes, &jobs[i]),
				 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_works(jobs[i].rc, &jobs[i].err);
	}
	for (unsigned i = 0; i < 4; i++) {
		struct ck_image *img = NULL;
		struct ck_artifact *a = NULL;
		struct ck_err err = { 0 };
		CK_BUF out = { 0 };
		assert_works(ck_image_open(&img, tmplayout_fmt("oci:%s:n%u", f->t.dir, 10 + i),
					   NULL, NULL, &err),
			     &err);
		assert_works(ck_artifact_open(&a, f->t.dir, img->manifest_digest, &err), &err);
		struct ck_index_store s = ck_artifact_store(a);
		assert_works(s.load(s.ctx, f->layer_str[0], &out, &err), &err);
		assert_memory_equal(out.data, &jobs[i].seed, sizeof jobs[i].seed);
		ck_artifact_close(a);
		ck_image_close(img);
	}
	struct ck_artifact *a = NULL;
	struct ck_err err = { 0 };
	assert_works(ck_artifact_open(&a, f->t.dir, f->subject.digest_str, &err), &err);
	ck_artifact_close(a);
}

#define IN_LAYOUT(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* A registry keeps old artifacts beside new ones: the newest is taken, whatever the order. */
static void picks_the_newest(void **state)
{
	static const struct {
		const char *created[3]; /* JSON; "": it does not say; NULL: there is none */
		uint64_t picked;	/* from 1 */
	} rows[] = {
		{ { "\"2026-11-26T18:00:00Z\"", "\"2026-11-26T18:00:01Z\"" }, 2 },
		{ { "\"2026-11-26T18:00:01Z\"", "\"2026-11-26T18:00:00Z\"" }, 1 },
		{ { "", "\"2025-01-01T00:00:00Z\"", "" }, 2 },
		{ { "", "" }, 1 },
		{ { "7", "null" }, 1 },
	};
	static const char none[] =
	    "0000000000000000000000000000000000000000000000000000000000000000";
	struct ck_descriptor d;
	struct ck_err err = { 0 };
	char text[2048];

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_JSON *list = NULL;
		size_t n = (size_t)snprintf(text, sizeof text, "{\"manifests\":[");
		for (size_t k = 0; k < 3 && rows[i].created[k]; k++) {
			const char *at = rows[i].created[k];
			n += (size_t)snprintf(
			    text + n, sizeof text - n,
			    "%s{\"mediaType\":\"%s\",\"artifactType\":\"%s\",\"size\":%zu,"
			    "\"digest\":\"sha256:%s\",\"annotations\":{%s%s}}",
			    k ? "," : "", CK_MEDIA_MANIFEST, CK_ARTIFACT_TYPE, k + 1, none,
			    *at ? "\"org.opencontainers.image.created\":" : "", at);
		}
		snprintf(text + n, sizeof text - n, "]}");
		assert_works(ck_json_parse(&list, text, strlen(text), "list", &err), &err);
		assert_works(ck_referrers_pick(&d, list, &err), &err);
		assert_int_equal(d.size, rows[i].picked);
	}
}

/* What a list of referrers says of an artifact is what the artifact says of itself. */
static void says_when(void **state)
{
	struct ck_descriptor subject = { .media_type = CK_MEDIA_MANIFEST, .size = 7 };
	struct ck_artifact_index x = { .size = 6 };
	struct ck_err err = { 0 };
	CK_BUF with = { 0 }, without = { 0 };

	(void)state;
	assert_works(ck_artifactdoc_make(&with, &subject, &x, 1, 1700000000, &err), &err);
	assert_non_null(strstr(ck_buf_str(&with),
			       "\"annotations\":{\"org.opencontainers.image.created\":"
			       "\"2023-11-14T22:13:20Z\"}"));
	assert_works(ck_artifactdoc_make(&without, &subject, &x, 1, 0, &err), &err);
	assert_null(strstr(ck_buf_str(&without), "created"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LAYOUT(writes_what_it_finds),
		IN_LAYOUT(keeps_what_else_refers),
		IN_LAYOUT(refuses_to_write),
		IN_LAYOUT(refuses_hostile_artifacts),
		IN_LAYOUT(bounds_the_number_of_indexes),
		IN_LAYOUT(refuses_hostile_lists),
		IN_LAYOUT(checks_what_it_loads),
		IN_LAYOUT(leaves_the_image_where_it_was),
		IN_LAYOUT(serves_a_layer),
		IN_LAYOUT(loses_nothing_beside_others),
		cmocka_unit_test(picks_the_newest),
		cmocka_unit_test(says_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
