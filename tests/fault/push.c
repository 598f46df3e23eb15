/*
 * push - uploads of blobs, in pieces or whole, mounts, and manifests.
 * Source: OCI distribution spec 1.1, "Push"; Docker Registry HTTP API V2.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fault/answer.h"

enum { MAX_MANIFEST = 4 << 20 };

/* Where the upload stands, and where it goes on. The number in it must be that of the last
 * answer: who goes on with an older one has not listened. */
static void answer_upload(struct fr_exchange *x, const char *repo, const struct fr_upload *u,
			  int status)
{
	char headers[1400] = "";

	fr_append(headers, sizeof headers,
		  "Location: /v2/%s/blobs/uploads/%s?state=%" PRIu64
		  "\r\nDocker-Upload-UUID: %s\r\n"
		  "Range: 0-%zu\r\n",
		  repo, u->id, u->n_patches, u->id, u->len ? u->len - 1 : 0);
	fr_answer_none(x, status, headers);
}

static void answer_blob(struct fr_exchange *x, const char *repo, const char *digest)
{
	char headers[1400] = "";

	fr_append(headers, sizeof headers,
		  "Location: /v2/%s/blobs/%s\r\nDocker-Content-Digest: %s\r\n", repo, digest,
		  digest);
	fr_answer_none(x, 201, headers);
}

/* Adds the request's body to what came; false: it was cut, by the client or the plan. */
static bool take_body(struct fr_exchange *x, struct fr_upload *u)
{
	char buf[64 << 10];
	uint64_t left = x->f.eat ? x->f.eat_at : UINT64_MAX;
	size_t n;

	while (left && !x->q.ended) {
		n = fr_request_body(&x->q, buf, left < sizeof buf ? (size_t)left : sizeof buf);
		if (n == 0 && !x->q.ended) {
			x->over = true;
			return false;
		}
		fr_upload_append(u, buf, n);
		left -= n;
	}
	if (!x->f.eat)
		return true;
	x->over = x->reset = true;
	return false;
}

/* The upload becomes a blob, where it has the digest that it should. */
static void finish(struct fr_exchange *x, const char *repo, struct fr_upload *u)
{
	char want[FR_DIGEST + 8], got[FR_DIGEST];

	fr_digest(u->len ? (void *)u->mem : "", u->len, got);
	if (!fr_request_param(x->q.query, "digest", want, sizeof want) || strcmp(want, got) != 0) {
		fr_answer_error(x, 400, "DIGEST_INVALID",
				"provided digest did not match uploaded content");
		return;
	}
	fr_store_add(x->server->store, repo, got, u->mem, u->len);
	fr_upload_end(&x->server->uploads, u);
	answer_blob(x, repo, got);
}

static void start(struct fr_exchange *x, const char *repo)
{
	char digest[FR_DIGEST + 8], from[1024];

	if (fr_request_param(x->q.query, "mount", digest, sizeof digest) &&
	    fr_request_param(x->q.query, "from", from, sizeof from) &&
	    fr_store_mount(x->server->store, repo, from, digest)) {
		answer_blob(x, repo, digest);
		return;
	}
	struct fr_upload *u = fr_upload_new(&x->server->uploads);
	if (!fr_request_param(x->q.query, "digest", digest, sizeof digest))
		answer_upload(x, repo, u, 202);
	else if (take_body(x, u))
		finish(x, repo, u);
}

/* Whether the request goes on where the upload stands. */
static bool goes_on(const struct fr_exchange *x, const struct fr_upload *u)
{
	char value[64];
	uint64_t state = 0, first;

	(void)fr_request_param(x->q.query, "state", value, sizeof value);
	if (!fr_number(value, &state) || state != u->n_patches)
		return false;
	if (!fr_request_header(&x->q, "Content-Range", value, sizeof value))
		return true;
	value[strcspn(value, "-")] = 0;
	return fr_number(value, &first) && first == u->len;
}

void fr_push_upload(struct fr_exchange *x, const char *repo, const char *id)
{
	const char *method = x->q.method;

	if (!*id && strcmp(method, "POST") == 0) {
		start(x, repo);
		return;
	}
	struct fr_upload *u = fr_upload_find(&x->server->uploads, id);
	if (!u) {
		fr_answer_error(x, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
	} else if (strcmp(method, "GET") == 0) {
		answer_upload(x, repo, u, 204);
	} else if (strcmp(method, "DELETE") == 0) {
		fr_upload_end(&x->server->uploads, u);
		fr_answer_none(x, 204, NULL);
	} else if (strcmp(method, "PATCH") != 0 && strcmp(method, "PUT") != 0) {
		fr_answer_error(x, 405, "UNSUPPORTED", "The operation is unsupported.");
	} else if (!goes_on(x, u)) {
		answer_upload(x, repo, u, 416);
	} else if (take_body(x, u)) {
		u->n_patches++;
		if (strcmp(method, "PUT") == 0)
			finish(x, repo, u);
		else
			answer_upload(x, repo, u, 202);
	}
}

void fr_push_manifest(struct fr_exchange *x, const char *repo, const char *reference)
{
	char type[256], why[256], headers[1400] = "";
	size_t len;
	char *doc = fr_request_whole(&x->q, MAX_MANIFEST, &len);

	if (!doc) {
		x->over = true;
		return;
	}
	if (!fr_request_header(&x->q, "Content-Type", type, sizeof type))
		(void)snprintf(type, sizeof type, "application/octet-stream");
	const struct fr_manifest *m =
	    fr_store_put(x->server->store, repo, reference, type, doc, len, why, sizeof why);
	free(doc);
	if (!m) {
		char *message = strchr(why, ' ');
		*message++ = 0;
		fr_answer_error(x, 400, why, message);
		return;
	}
	const char *subject =
	    json_string_value(json_object_get(json_object_get(m->json, "subject"), "digest"));
	fr_append(headers, sizeof headers,
		  "Location: /v2/%s/manifests/%s\r\nDocker-Content-Digest: %s\r\n", repo, m->digest,
		  m->digest);
	if (subject && !x->server->no_referrers)
		fr_append(headers, sizeof headers, "OCI-Subject: %s\r\n", subject);
	fr_answer_none(x, 201, headers);
}
