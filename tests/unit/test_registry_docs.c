/* Manifests, small blobs, referrers, requests of other kinds, and images from a registry. */
#include "tests/unit/lib/regstand.h"

#include "base/json.h"
#include "fs/oci/artifact.h"
#include "fs/oci/artifactdoc.h"
#include "fs/oci/image.h"
#include "fs/registry/referrers.h"

/* A registry of documents, by their names: "manifests/x", "blobs/sha256:...", and more. */
enum { DOCS_MAX = 32 };

struct shelf {
	struct stub *s;
	struct doc {
		char name[160];
		char text[2048];
		const char *large;	 /* NULL, or what comes in the place of text */
		const char *type, *more; /* more headers */
		unsigned status;	 /* 0: 200 */
		unsigned n_times;	 /* so often it comes, then the next of the name; 0: ever */
	} docs[DOCS_MAX];
	size_t n;
	char last[4096];
};

static void answer(void *ctx, const struct stub_req *q, struct stub_conn *c)
{
	static const char prefix[] = "/v2/r/x/";
	struct shelf *s = ctx;
	const char *name = q->target;

	snprintf(s->last, sizeof s->last, "%s %s\n%s\n%s", q->method, q->target, q->head, q->body);
	if (strncmp(name, prefix, sizeof prefix - 1) == 0)
		name += sizeof prefix - 1;
	for (size_t i = 0; i < s->n; i++) {
		struct doc *d = &s->docs[i];
		char status[32], headers[512];
		if (strcmp(d->name, name) != 0)
			continue;
		snprintf(status, sizeof status, "%u X", d->status ? d->status : 200);
		snprintf(headers, sizeof headers, "%s%s%s%s", d->type ? "Content-Type: " : "",
			 d->type ? d->type : "", d->type ? "\r\n" : "", d->more ? d->more : "");
		if (d->n_times && --d->n_times == 0)
			d->name[0] = 0;
		stub_replys(c, status, headers, d->large ? d->large : d->text);
		return;
	}
	stub_replys(c, "404 Not Found", "", "");
}

static struct shelf shelf;

static int setup(void **state)
{
	struct stub_opts o = { .answer = answer, .ctx = &shelf };

	(void)state;
	memset(&shelf, 0, sizeof shelf);
	shelf.s = stub_open(&o);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stub_close(shelf.s);
	return 0;
}

static struct doc *put(const char *name, const char *type, const char *text)
{
	stub_pause(shelf.s);
	assert_true(shelf.n < DOCS_MAX);
	struct doc *d = &shelf.docs[shelf.n++];
	snprintf(d->name, sizeof d->name, "%s", name);
	snprintf(d->text, sizeof d->text, "%s", text);
	d->type = type;
	stub_resume(shelf.s);
	return d;
}

static void digest_of(char out[CK_DIGEST_STR], const char *text)
{
	uint8_t raw[CK_SHA256_LEN];

	ck_sha256(raw, text, strlen(text));
	ck_digest_str(out, raw);
}

/* Puts TEXT below its digest. */
static const char *put_by_digest(const char *kind, const char *type, const char *text)
{
	static char digests[8][CK_DIGEST_STR];
	static unsigned n;
	char *digest = digests[n++ % 8], name[160];

	digest_of(digest, text);
	snprintf(name, sizeof name, "%s/%s", kind, digest);
	put(name, type, text);
	return digest;
}

static struct ck_registry_opts opts;

static struct ck_registry *client(void)
{
	struct ck_registry *r = NULL;
	struct ck_err err = { 0 };

	opts = (struct ck_registry_opts){ .timeout_ms = 1500,
					  .hosts_dir = tmp_path("none"),
					  .certs_dir = tmp_path("none") };
	assert_works(ck_registry_open(&r, stub_host(shelf.s), "r/x", &opts, &err), &err);
	return r;
}

static void opens(void **state)
{
	struct ck_registry *r = NULL;
	struct ck_err err = { 0 };

	(void)state;
	assert_int_equal(ck_registry_open(&r, "a b", "x", NULL, &err), -EINVAL);
	assert_int_equal(ck_registry_open(&r, "a", "X", NULL, &err), -EINVAL);
	assert_int_equal(ck_registry_open(&r, "a", "../x", NULL, &err), -EINVAL);
	assert_int_equal(ck_registry_open(&r, "a/b", "x", NULL, &err), -EINVAL);
	r = client();
	assert_string_equal(ck_registry_host(r), stub_host(shelf.s));
	assert_string_equal(ck_registry_repo(r), "r/x");
	ck_registry_close(r);
	assert_int_equal(stub_conns(shelf.s), 0);
}

static void resolves(void **state)
{
	static const char text[] = "{\"schemaVersion\":2,\"config\":{}}";
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client();
	char digest[CK_DIGEST_STR], want[CK_DIGEST_STR], name[128];
	CK_AUTO(ck_freep) char *type = NULL;
	CK_BUF doc = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	digest_of(want, text);
	put("manifests/t", CK_MEDIA_DOCKER_MANIFEST "; charset=utf-8", text);
	assert_works(ck_registry_resolve(r, "t", &doc, &type, digest, &err), &err);
	assert_string_equal(ck_buf_str(&doc), text);
	assert_string_equal(type, CK_MEDIA_DOCKER_MANIFEST);
	assert_string_equal(digest, want);
	assert_non_null(strstr(shelf.last, "Accept: " CK_MEDIA_INDEX "\r\n"));
	assert_non_null(strstr(shelf.last, "Accept: " CK_MEDIA_DOCKER_MANIFEST "\r\n"));
	/* By its digest; bytes that do not have it are refused. */
	snprintf(name, sizeof name, "manifests/%s", want);
	put(name, CK_MEDIA_MANIFEST, "{\"schemaVersion\":2}")->n_times = 1;
	put(name, CK_MEDIA_MANIFEST, text);
	ck_buf_free(&doc);
	free(ck_take(type));
	assert_works(ck_registry_resolve(r, want, &doc, &type, digest, &err), &err);
	assert_string_equal(ck_buf_str(&doc), text);
	shelf.docs[2].text[0] = '[';
	ck_buf_free(&doc);
	assert_fails(ck_registry_resolve(r, want, &doc, &type, digest, &err), -EBADMSG, &err,
		     "do not have that digest");
	assert_int_equal(doc.len, 0);
	assert_fails(ck_registry_resolve(r, "no", &doc, &type, digest, &err), -ENOENT, &err,
		     "/r/x:no: http://127.0.0.1");
	put("manifests/cut", CK_MEDIA_MANIFEST, text)->more =
	    "Docker-Content-Digest: sha256:"
	    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
	assert_fails(ck_registry_resolve(r, "cut", &doc, &type, digest, &err), -EBADMSG, &err,
		     "as it says");
	put("manifests/zip", CK_MEDIA_MANIFEST, text)->more = "Content-Encoding: gzip\r\n";
	assert_fails(ck_registry_resolve(r, "zip", &doc, &type, digest, &err), -EPROTO, &err,
		     "compressed");
}

static void types(void **state)
{
	static const struct {
		const char *header, *text, *type;
	} rows[] = {
		{ CK_MEDIA_INDEX, "{}", CK_MEDIA_INDEX },
		{ "application/json", "{\"mediaType\":\"" CK_MEDIA_DOCKER_LIST "\"}",
		  CK_MEDIA_DOCKER_LIST },
		{ NULL, "{\"manifests\":[]}", CK_MEDIA_INDEX },
		{ "text/plain", "{\"config\":{}}", CK_MEDIA_MANIFEST },
		{ "application/x", "{}", "application/x" },
		{ NULL, "{}", "" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_registry_closep) struct ck_registry *r = client();
		CK_AUTO(ck_freep) char *type = NULL;
		char digest[CK_DIGEST_STR], name[32];
		CK_BUF doc = { 0 };
		struct ck_err err = { 0 };
		snprintf(name, sizeof name, "manifests/t%zu", i);
		put(name, rows[i].header, rows[i].text);
		assert_works(ck_registry_resolve(r, name + 10, &doc, &type, digest, &err), &err);
		assert_string_equal(type, rows[i].type);
	}
}

static int whole(struct ck_registry *r, const char *type, const char *digest, size_t size,
		 size_t max, struct ck_buf *out, struct ck_err *err)
{
	struct ck_descriptor d = { .media_type = type, .size = size };

	memcpy(d.digest_str, digest, CK_DIGEST_STR);
	assert_int_equal(ck_digest_parse(d.digest, digest, NULL), 0);
	return ck_registry_whole(r, &d, max, out, err);
}

static void wholes(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client();
	const char *blob_at = put_by_digest("blobs", "application/octet-stream", "some bytes");
	const char *index_at = put_by_digest("manifests", CK_MEDIA_INDEX, "{\"manifests\":[]}");
	char empty[CK_DIGEST_STR], wrong[CK_DIGEST_STR], name[160];
	CK_BUF b = { 0 };
	struct ck_err err = { 0 };

	(void)state;
	digest_of(empty, "");
	assert_works(whole(r, CK_MEDIA_CONFIG, blob_at, 10, 10, &b, &err), &err);
	assert_works(whole(r, CK_MEDIA_INDEX, index_at, 16, 100, &b, &err), &err);
	assert_string_equal(ck_buf_str(&b), "some bytes{\"manifests\":[]}");
	unsigned n = stub_count(shelf.s, "GET");
	assert_works(whole(r, CK_MEDIA_CONFIG, empty, 0, 10, &b, &err), &err);
	assert_fails(whole(r, CK_MEDIA_CONFIG, blob_at, 10, 9, &b, &err), -EFBIG, &err, "10 bytes");
	assert_int_equal(stub_count(shelf.s, "GET"), n);
	assert_fails(whole(r, CK_MEDIA_INDEX, index_at, 17, 100, &b, &err), -EBADMSG, &err,
		     "its size is 16 bytes");
	assert_int_equal(whole(r, CK_MEDIA_INDEX, index_at, 15, 100, &b, &err), -EFBIG);
	assert_int_equal(whole(r, CK_MEDIA_CONFIG, index_at, 16, 100, &b, &err), -ENOENT);
	/* Damaged once, on the way: asked for afresh. */
	digest_of(wrong, "right");
	snprintf(name, sizeof name, "blobs/%s", wrong);
	put(name, "application/octet-stream", "wrong")->n_times = 1;
	put(name, "application/octet-stream", "right");
	ck_buf_free(&b);
	assert_works(whole(r, CK_MEDIA_CONFIG, wrong, 5, 100, &b, &err), &err);
	assert_string_equal(ck_buf_str(&b), "right");
	assert_non_null(strstr(shelf.last, "no-cache"));
	shelf.docs[shelf.n - 1].text[0] = 'l';
	assert_fails(whole(r, CK_MEDIA_CONFIG, wrong, 5, 100, &b, &err), -EBADMSG, &err, "damaged");
	assert_string_equal(ck_buf_str(&b), "right");
	shelf.docs[shelf.n - 1].text[3] = 0;
	assert_int_equal(whole(r, CK_MEDIA_CONFIG, wrong, 5, 100, &b, &err), -EPROTO);
}

static void requests(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client();
	static const char *const headers[] = { "Content-Type: application/x" };
	struct ck_registry_req q = { .method = "PUT",
				     .path = "blobs/uploads/1?digest=x",
				     .headers = headers,
				     .n_headers = 1,
				     .body = "abc",
				     .body_len = 3,
				     .push = true };
	char url[128];
	struct ck_err err = { 0 };
	CK_HTTP_RES res = { 0 };

	(void)state;
	put("blobs/uploads/1?digest=x", NULL, "")->status = 201;
	assert_works(ck_registry_do(r, &q, &res, &err), &err);
	assert_int_equal(res.status, 201);
	assert_non_null(strstr(shelf.last, "PUT /v2/r/x/blobs/uploads/1?digest=x\n"));
	assert_non_null(strstr(shelf.last, "Content-Type: application/x\r\n"));
	assert_non_null(strstr(shelf.last, "\nabc"));
	/* A location of the registry's, as a path and as a URL. */
	put("/up/2", NULL, "")->status = 204;
	q = (struct ck_registry_req){ .method = "PATCH", .path = "/up/2", .push = true };
	assert_works(ck_registry_do(r, &q, &res, &err), &err);
	assert_int_equal(res.status, 204);
	snprintf(url, sizeof url, "http://%s/up/2", stub_host(shelf.s));
	q.path = url;
	assert_works(ck_registry_do(r, &q, &res, &err), &err);
	assert_int_equal(res.status, 204);
	/* What may pass is tried again, as often as was said. */
	q = (struct ck_registry_req){ .path = "tags/list" };
	struct doc *d = put("tags/list", NULL, "{\"errors\":[{\"code\":\"BUSY\"}]}");
	d->status = 503;
	d->n_times = 2;
	put("tags/list", NULL, "{}");
	assert_works(ck_registry_do(r, &q, &res, &err), &err);
	assert_int_equal(res.status, 200);
	assert_int_equal(stub_count(shelf.s, "GET /v2/r/x/tags/list"), 3);
	put("once", NULL, "{\"errors\":[{\"code\":\"BUSY\"}]}")->status = 500;
	q = (struct ck_registry_req){ .path = "once", .tries = 1 };
	assert_works(ck_registry_do(r, &q, &res, &err), &err);
	assert_int_equal(res.status, 500);
	assert_int_equal(stub_count(shelf.s, "GET /v2/r/x/once"), 1);
	assert_fails(ck_registry_refused(&res, &err), -EPROTO, &err, "500: BUSY");
	q.path = "none";
	assert_works(ck_registry_do(r, &q, &res, &err), &err);
	assert_fails(ck_registry_refused(&res, &err), -ENOENT, &err, "404 (not found)");
	q.path = "tags/list";
	q.max_body = 1;
	assert_int_equal(ck_registry_do(r, &q, &res, &err), -EFBIG);
}

/* ---- referrers ---------------------------------------------------------------------- */

#define SUBJECT "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define API	"referrers/" SUBJECT "?artifactType=application%2Fvnd.x"
#define TAG	"manifests/sha256-1111111111111111111111111111111111111111111111111111111111111111"
#define LIST(name)                                                                                 \
	"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" CK_MEDIA_MANIFEST                  \
	"\",\"size\":1,\"digest\":\"" SUBJECT                                                      \
	"\",\"artifactType\":\"application/vnd.x\",\"annotations\":{\"more\":\"" name              \
	"\",\"org.opencontainers.image.created\":\"" name                                          \
	"\"}},{\"mediaType\":\"" CK_MEDIA_MANIFEST "\",\"size\":1,\"digest\":\"" SUBJECT           \
	"\",\"artifactType\":\"application/vnd.y\"}]}"

static size_t ask(struct ck_registry *r, int want_rc, const char *says)
{
	CK_AUTO(ck_json_freep) json_t *list = NULL;
	struct ck_err err = { 0 };
	int rc = ck_registry_referrers(&list, r, SUBJECT, "application/vnd.x", 0, &err);

	if (rc != want_rc || !strstr(err.msg, says))
		fail_msg("%d %s", rc, err.msg);
	return json_array_size(json_object_get(list, "manifests"));
}

/* What is kept of an entry is what tells it from others: a list of many pages would fill the
 * memory else. */
static void entries_are(struct ck_registry *r, const char *first, const char *second)
{
	CK_AUTO(ck_json_freep) json_t *list = NULL;
	struct ck_err err = { 0 };

	assert_works(ck_registry_referrers(&list, r, SUBJECT, "application/vnd.x", 0, &err), &err);
	for (size_t i = 0; i < 2; i++) {
		CK_AUTO(ck_json_freep)
		json_t *want = json_pack("{s:s,s:s,s:i,s:s,s:{s:s}}", "mediaType",
					 CK_MEDIA_MANIFEST, "digest", SUBJECT, "size", 1,
					 "artifactType", "application/vnd.x", "annotations",
					 "org.opencontainers.image.created", i ? second : first);
		assert_true(
		    json_equal(json_array_get(json_object_get(list, "manifests"), i), want));
	}
}

/* Of half a MiB. It stays: the server may be sending it to who has stopped reading. */
static const char *large_list(void)
{
	static const char list[] = LIST("");
	static char s[(512 << 10) + 1];

	memset(s, ' ', sizeof s - 1);
	memcpy(s, list, sizeof list - 1);
	return s;
}

static void referrers(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client();

	(void)state;
	assert_int_equal(ask(r, -ENOENT, "404"), 0);
	/* No API: the tag. */
	put(TAG, CK_MEDIA_INDEX, LIST("tag"));
	assert_int_equal(ask(r, 0, ""), 2);
	/* A page that is no list is no API. */
	struct doc *d = put(API, "text/html", "<h1>Welcome</h1>");
	assert_int_equal(ask(r, 0, ""), 2);
	d->type = CK_MEDIA_INDEX;
	d->status = 400;
	assert_int_equal(ask(r, 0, ""), 2);
	/* The API, of two pages, each with something that was not asked for. */
	d->status = 200;
	snprintf(d->text, sizeof d->text, "%s", LIST("one"));
	d->more = "Link: </v2/r/x/page2?n=1>; rel=\"next\"\r\n";
	put("page2?n=1", CK_MEDIA_INDEX, LIST("two"));
	unsigned n = stub_count(shelf.s, "GET /v2/r/x/" TAG);
	assert_int_equal(ask(r, 0, ""), 2);
	assert_int_equal(stub_count(shelf.s, "GET /v2/r/x/" TAG), n);
	entries_are(r, "one", "two");
	/* One that goes on for ever ends. */
	d->more = "Link: </v2/r/x/" API ">; rel=\"next\"\r\n";
	assert_true(ask(r, 0, "") < 100);
	/* Or sooner, when it is long. */
	d->large = large_list();
	(void)ask(r, -EFBIG, "larger than");
	d->large = NULL;
	d->more = "Link: <page2>; rel=\"next\"\r\n";
	(void)ask(r, -EBADMSG, "next page");
	/* A list of which a page is missing is not one, and the tag not the same list. */
	d->more = "Link: </v2/r/x/nowhere>; rel=\"next\"\r\n";
	(void)ask(r, -EBADMSG, "404");
	d->more = "Link: <http://127.0.0.1:1/v2/r/x/page2>; rel=\"next\"\r\n";
	(void)ask(r, -ECONNREFUSED, "127.0.0.1:1");
	d->more = NULL;
	d->text[0] = '[';
	(void)ask(r, -EBADMSG, "the list of what refers");
}

/* ---- images ------------------------------------------------------------------------- */

#define CONFIG                                                                                     \
	"{\"os\":\"linux\",\"architecture\":\"%s\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" \
	"\"" SUBJECT "\"]}}"

/* Puts an image for ARCH whose layer has the bytes LAYER, and its manifest under TAG (may be
 * NULL); returns its digest. */
static const char *put_image(const char *arch, const char *layer, const char *tag)
{
	char config[512], text[1024], name[64];

	snprintf(config, sizeof config, CONFIG, arch);
	const char *c = put_by_digest("blobs", "application/octet-stream", config);
	const char *l = put_by_digest("blobs", "application/octet-stream", layer);
	snprintf(text, sizeof text,
		 "{\"schemaVersion\":2,\"mediaType\":\"" CK_MEDIA_MANIFEST
		 "\",\"config\":{\"mediaType\":\"" CK_MEDIA_CONFIG
		 "\",\"size\":%zu,\"digest\":\"%s\"},\"layers\":[{\"mediaType\":"
		 "\"application/vnd.oci.image.layer.v1.tar\",\"size\":%zu,\"digest\":\"%s\"}]}",
		 strlen(config), c, strlen(layer), l);
	if (tag) {
		snprintf(name, sizeof name, "manifests/%s", tag);
		put(name, CK_MEDIA_MANIFEST, text);
	}
	return put_by_digest("manifests", CK_MEDIA_MANIFEST, text);
}

static int open_image(struct ck_image **img, const char *rest, const char *platform,
		      struct ck_err *err)
{
	char ref[512];

	opts = (struct ck_registry_opts){ .timeout_ms = 1500,
					  .hosts_dir = tmp_path("none"),
					  .certs_dir = tmp_path("none") };
	snprintf(ref, sizeof ref, "docker://%s/r/x%s", stub_host(shelf.s), rest);
	const struct ck_image_from from = { .registry = &opts };
	return ck_image_open(img, ref, platform, &from, err);
}

static void expect_layer(const struct ck_image *img, const char *want)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *blob_reader = NULL;
	struct ck_err err = { 0 };
	char text[64] = "";

	assert_works(ck_image_blob(img, 0, &blob_reader, &err), &err);
	assert_int_equal(ck_reader_len(blob_reader), strlen(want));
	assert_works(ck_reader_pread(blob_reader, text, strlen(want) - 1, 1, &err), &err);
	assert_string_equal(text, want + 1);
}

static void images(void **state)
{
	CK_AUTO(ck_image_closep) struct ck_image *img = NULL;
	const char *digest = put_image("amd64", "the layer", "latest");
	char pinned[128];
	struct ck_err err = { 0 };

	(void)state;
	assert_works(open_image(&img, "", NULL, &err), &err);
	assert_string_equal(img->manifest_digest, digest);
	assert_string_equal(img->platform, "linux/amd64");
	assert_int_equal(img->n_layers, 1);
	assert_non_null(img->registry);
	expect_layer(img, "the layer");
	ck_image_close(ck_take(img));
	/* Pinned: the tag is not asked for. */
	snprintf(pinned, sizeof pinned, ":other@%s", digest);
	assert_works(open_image(&img, pinned, "linux/amd64", &err), &err);
	assert_string_equal(img->manifest_digest, digest);
	assert_int_equal(stub_count(shelf.s, "GET /v2/r/x/manifests/other"), 0);
	assert_fails(open_image(&img, ":nothing", NULL, &err), -ENOENT, &err, "404");
	assert_fails(open_image(&img, "", "linux/arm64", &err), -EINVAL, &err,
		     "its platform is linux/amd64");
	assert_fails(open_image(&img, "@" SUBJECT, NULL, &err), -ENOENT, &err, "404");
}

/* Of a registry's index the host's, or what was asked for; a pin of the index binds all below. */
static void indexes(void **state)
{
	char text[1024], first[CK_DIGEST_STR], second[CK_DIGEST_STR], pin[128];
	CK_AUTO(ck_image_closep) struct ck_image *img = NULL;
	struct ck_err err = { 0 };

	(void)state;
	memcpy(first, put_image("amd64", "layer of amd64", NULL), sizeof first);
	memcpy(second, put_image("s390x", "layer of s390x", NULL), sizeof second);
	size_t a = 0, b = 0;
	for (size_t i = 0; i < shelf.n; i++) {
		if (strstr(shelf.docs[i].name, first))
			a = strlen(shelf.docs[i].text);
		if (strstr(shelf.docs[i].name, second))
			b = strlen(shelf.docs[i].text);
	}
	snprintf(text, sizeof text,
		 "{\"schemaVersion\":2,\"mediaType\":\"" CK_MEDIA_INDEX "\",\"manifests\":["
		 "{\"mediaType\":\"" CK_MEDIA_MANIFEST "\",\"size\":%zu,\"digest\":\"%s\","
		 "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},"
		 "{\"mediaType\":\"" CK_MEDIA_MANIFEST "\",\"size\":%zu,\"digest\":\"%s\","
		 "\"platform\":{\"os\":\"linux\",\"architecture\":\"s390x\"}}]}",
		 a, first, b, second);
	put("manifests/multi", CK_MEDIA_INDEX, text);
	snprintf(pin, sizeof pin, "@%s", put_by_digest("manifests", CK_MEDIA_INDEX, text));
	assert_works(open_image(&img, ":multi", "linux/s390x", &err), &err);
	assert_string_equal(img->manifest_digest, second);
	expect_layer(img, "layer of s390x");
	ck_image_close(ck_take(img));
	assert_works(open_image(&img, pin, "linux/amd64", &err), &err);
	assert_string_equal(img->manifest_digest, first);
	assert_fails(open_image(&img, pin, "linux/arm64", &err), -EINVAL, &err,
		     "there is no image for linux/arm64");
}

/* The sealed indexes beside an image, by the API or by the tag. */
static void artifacts(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client();
	struct ck_artifact_index x = { .size = 6 };
	struct ck_descriptor subject = { .media_type = CK_MEDIA_MANIFEST, .size = 7 };
	struct ck_artifact *a = NULL;
	struct ck_err err = { 0 };
	char list[1024], layer[CK_DIGEST_STR];
	CK_BUF doc = { 0 };

	(void)state;
	assert_int_equal(ck_digest_parse(subject.digest, SUBJECT, NULL), 0);
	memcpy(subject.digest_str, SUBJECT, sizeof subject.digest_str);
	assert_int_equal(ck_artifact_open_remote(&a, r, NULL, SUBJECT, 0, &err), -ENOENT);
	put_by_digest("blobs", "application/octet-stream", "sealed");
	ck_sha256(x.digest, "sealed", 6);
	memset(x.layer, 7, sizeof x.layer);
	ck_digest_str(layer, x.layer);
	assert_works(ck_artifactdoc_make(&doc, &subject, &x, 1, 0, &err), &err);
	const char *at = put_by_digest("manifests", CK_MEDIA_MANIFEST, ck_buf_str(&doc));
	snprintf(list, sizeof list,
		 "{\"schemaVersion\":2,\"mediaType\":\"" CK_MEDIA_INDEX
		 "\",\"manifests\":[{\"mediaType\":\"" CK_MEDIA_MANIFEST
		 "\",\"artifactType\":\"" CK_ARTIFACT_TYPE "\",\"size\":%zu,\"digest\":\"%s\"}]}",
		 doc.len, at);
	const char *const places[] = { TAG, "referrers/" SUBJECT "?artifactType=application%2Fvnd."
					    "cloakfs.index.v1" };
	for (size_t i = 0; i < N_OF(places); i++) {
		struct doc *d = put(places[i], CK_MEDIA_INDEX, list);
		CK_BUF index = { 0 };
		assert_works(ck_artifact_open_remote(&a, r, NULL, SUBJECT, 0, &err), &err);
		struct ck_index_store store = ck_artifact_store(a);
		assert_works(store.load(store.ctx, layer, &index, &err), &err);
		assert_string_equal(ck_buf_str(&index), "sealed");
		assert_int_equal(store.load(store.ctx, SUBJECT, &index, &err), -ENOENT);
		ck_artifact_close(a);
		d->name[0] = 0;
	}
	/* What is led to must be there. */
	put(TAG, CK_MEDIA_INDEX, list);
	for (size_t i = 0; i < shelf.n; i++)
		if (strstr(shelf.docs[i].name, at))
			shelf.docs[i].name[0] = 0;
	assert_fails(ck_artifact_open_remote(&a, r, NULL, SUBJECT, 0, &err), -EBADMSG, &err,
		     "artifact");
}

int main(void)
{
#define STAND(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		STAND(opens),  STAND(resolves), STAND(types),
		STAND(wholes), STAND(requests), STAND(referrers),
		STAND(images), STAND(indexes),	STAND(artifacts),
	};

	return cmocka_run_group_tests(tests, stand_group_setup, stand_group_teardown);
}
