#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "fs/registry/steps.h"

enum { TRIES = 5 };

/* What a document must be. */
struct asked {
	const char *path;   /* behind the repository's name */
	unsigned can;	    /* of enum ck_hosts_can */
	const char *digest; /* NULL: any */
	size_t max;
};

static bool is_plain_coding(const struct ck_http_res *res)
{
	const char *v = ck_http_res_header(res, "Content-Encoding");

	return !v || !*v || strcasecmp(v, "identity") == 0;
}

/* A page of a proxy or a login, with status 200, is none. */
static bool is_object(const struct ck_http_res *res)
{
	const char *s = ck_buf_str(&res->body);

	return s[strspn(s, " \t\r\n")] == '{';
}

/* Checks a whole answer, and says its DIGEST. */
static int check(const struct ck_http_res *res, const struct asked *q, char digest[CK_DIGEST_STR],
		 struct ck_err *err)
{
	const char *said = ck_http_res_header(res, "Docker-Content-Digest");
	uint8_t sha256[CK_SHA256_LEN];

	if (!is_plain_coding(res))
		return ck_fail(err, -EPROTO, "it comes compressed, which was not asked for");
	ck_sha256(sha256, ck_buf_str(&res->body), res->body.len);
	ck_digest_str(digest, sha256);
	if (q->digest && strcmp(digest, q->digest) != 0)
		return ck_fail(err, -EBADMSG, "its bytes do not have that digest, but %s", digest);
	if (!q->digest && !is_object(res))
		return ck_fail(err, -EBADMSG, "it is no manifest, but %s",
			       res->content_type[0] ? res->content_type : "something else");
	/* A cut that nothing else shows. */
	if (!q->digest && said && strncmp(said, "sha256:", 7) == 0 && strcmp(said, digest) != 0)
		return ck_fail(err, -EBADMSG, "its bytes have the digest %s, not %.80s as it says",
			       digest, said);
	return 0;
}

static int take_turn(struct ck_registry *r, struct ck_endpoint *e, const struct asked *q,
		     struct ck_turns *t, struct ck_http_res *res, char digest[CK_DIGEST_STR],
		     struct ck_err *err)
{
	static const char *const accept[] = {
		"Accept: " CK_MEDIA_INDEX,
		"Accept: " CK_MEDIA_MANIFEST,
		"Accept: " CK_MEDIA_DOCKER_LIST,
		"Accept: " CK_MEDIA_DOCKER_MANIFEST,
		/* Schema 1, so that it is refused by its name. */
		"Accept: application/vnd.docker.distribution.manifest.v1+prettyjws",
	};
	const struct ck_request req = {
		.repo = r->repo,
		.path = q->path,
		.headers = accept,
		.n_headers = sizeof accept / sizeof accept[0],
		.need = { .deadline_ms = t->end_ms },
		.max_body = q->max,
		.stall_ms = ck_registry_stall_ms(r->timeout_ms),
	};
	int rc = ck_request_send(e, &req, res, err);
	/* Behind a 401, it is the token service that did not answer. */
	bool no_token = rc < 0 && res->status == 401;

	if (rc == 0 && res->status != 200)
		rc = ck_registry_refused(res, err);
	else if (rc == 0)
		rc = check(res, q, digest, err);
	if (rc == 0)
		return 0;
	bool passes = no_token || res->status == 0 || res->status == 200 ||
		      ck_registry_status_passes(res->status);
	bool final = ck_registry_error_stays(rc, res) || rc == -ENOENT || rc == -EFBIG || !passes ||
		     (rc == -EBADMSG && t->round > 0);
	ck_turns_end(t, final ? CK_TURN_FINAL : CK_TURN_FAILED, ck_http_res_retry_ms(res));
	ck_registry_blame(e, err);
	return rc;
}

static int get_document(struct ck_registry *r, const struct asked *q, struct ck_http_res *res,
			char digest[CK_DIGEST_STR], struct ck_err *err)
{
	struct ck_turns t = { .end_ms = ck_now_ms() + r->timeout_ms };
	struct ck_endpoint *e;
	struct ck_err last = { 0 };
	int rc = ck_fail(err, -ETIMEDOUT, "no time left"), old = 0;

	ck_turns_start(&t, r->endpoints, r->n_endpoints, q->can, false);
	t.tries_left = TRIES * (unsigned)t.n;
	while ((e = ck_turns_next(&t, &rc, err))) {
		rc = take_turn(r, e, q, &t, res, digest, err);
		if (rc == 0)
			return 0;
		ck_registry_keep_reason(&rc, err, old, &last);
		old = rc;
		if (err)
			last = *err;
	}
	return rc;
}

/* The media type that the answer says it has, or, where that says nothing, the document itself.
 * The caller's to free. */
static char *type_of(const struct ck_http_res *res)
{
	const char *header = ck_http_res_header(res, "Content-Type");
	CK_AUTO(ck_freep) char *type = NULL;

	type = header ? strndup(header, strcspn(header, "; \t")) : NULL;
	if (type && (ck_media_is_index(type) || ck_media_is_manifest(type)))
		return ck_take(type);
	char *own = ck_manifest_type(res->body.data, res->body.len);
	if (!own || *own || !type)
		return own;
	free(own);
	return ck_take(type);
}

int ck_registry_resolve(struct ck_registry *r, const char *reference, struct ck_buf *doc,
			char **type, char digest[CK_DIGEST_STR], struct ck_err *err)
{
	bool pinned = strncmp(reference, "sha256:", 7) == 0;
	struct asked q = { .can = pinned ? CK_CAN_PULL : CK_CAN_RESOLVE | CK_CAN_PULL,
			   .digest = pinned ? reference : NULL,
			   .max = CK_REGISTRY_MAX_DOC };
	CK_HTTP_RES res = { 0 };
	CK_BUF path = { 0 };
	int rc = ck_buf_addf(&path, err, "manifests/%s", reference);

	if (rc < 0)
		return rc;
	q.path = ck_buf_str(&path);
	rc = get_document(r, &q, &res, digest, err);
	if (rc == 0)
		rc = ck_buf_add(doc, res.body.data, res.body.len, err);
	if (rc < 0) {
		ck_wrap(err, "%s/%s%s%s", r->host, r->repo, pinned ? "@" : ":", reference);
		return rc;
	}
	*type = type_of(&res);
	return *type ? 0 : ck_nomem(err, "reading a manifest");
}

/* ---- blobs, whole ------------------------------------------------------------------ */

struct gathering {
	struct ck_buf bytes;
};

static int gather(void *ctx, uint64_t off, const void *p, size_t nbytes, struct ck_err *err)
{
	struct gathering *g = ctx;

	/* A second answer may start over. */
	if (off > g->bytes.len)
		return ck_fail(err, -EPROTO, "bytes are missing");
	size_t known = g->bytes.len - (size_t)off;
	if (known >= nbytes)
		return 0;
	return ck_buf_add(&g->bytes, (const uint8_t *)p + known, nbytes - known, err);
}

static int get_blob(struct ck_registry *r, const struct ck_descriptor *d, bool afresh,
		    struct ck_buf *out, struct ck_err *err)
{
	struct gathering g = { .bytes.max = d->size ? (size_t)d->size : 1 };
	struct ck_registry_want want = { .size = d->size, .len = d->size, .afresh = afresh };
	const struct ck_registry_taker taker = { gather, &g };
	struct ck_registry_fetched fetched;
	uint8_t digest[CK_SHA256_LEN];

	memcpy(want.digest, d->digest, sizeof want.digest);
	int rc = d->size ? ck_registry_fetch(r, &want, &taker, &fetched, err) : 0;
	if (rc == 0) {
		ck_sha256(digest, ck_buf_str(&g.bytes), g.bytes.len);
		if (memcmp(digest, d->digest, sizeof digest) != 0)
			rc = ck_fail(err, -EBADMSG,
				     "its bytes do not have that digest: it is damaged");
	}
	if (rc == 0)
		rc = ck_buf_add(out, g.bytes.data, g.bytes.len, err);
	ck_buf_free(&g.bytes);
	return rc;
}

static int get_manifest(struct ck_registry *r, const struct ck_descriptor *d, struct ck_buf *out,
			struct ck_err *err)
{
	char path[sizeof "manifests/" + CK_DIGEST_STR], digest[CK_DIGEST_STR],
	    wanted[CK_DIGEST_STR];
	struct asked q = { .path = path,
			   .can = CK_CAN_PULL,
			   .digest = wanted,
			   .max = d->size ? (size_t)d->size : 1 };
	CK_HTTP_RES res = { 0 };

	ck_digest_str(wanted, d->digest);
	snprintf(path, sizeof path, "manifests/%s", wanted);
	int rc = get_document(r, &q, &res, digest, err);
	if (rc == 0 && res.body.len != d->size)
		rc = ck_fail(err, -EBADMSG,
			     "its size is %zu bytes, but its descriptor says %" PRIu64,
			     res.body.len, d->size);
	return rc < 0 ? rc : ck_buf_add(out, res.body.data, res.body.len, err);
}

int ck_registry_whole(struct ck_registry *r, const struct ck_descriptor *d, size_t max,
		      struct ck_buf *out, struct ck_err *err)
{
	bool manifest = d->media_type &&
			(ck_media_is_index(d->media_type) || ck_media_is_manifest(d->media_type));
	size_t limit = out->max;

	if (d->size > max)
		return ck_fail(err, -EFBIG, "its %" PRIu64 " bytes are more than the %zu allowed",
			       d->size, max);
	out->max = out->len + (d->size ? (size_t)d->size : 1);
	int rc = manifest ? get_manifest(r, d, out, err) : get_blob(r, d, false, out, err);
	if (rc == -EBADMSG && !manifest)
		rc = get_blob(r, d, true, out, err);
	out->max = limit;
	return rc;
}
