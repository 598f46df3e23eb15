#include "tests/unit/lib/tinyreg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			perror(#x);                                                                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

enum { THINGS_MAX = 256, UPLOADS_MAX = 64 };

struct thing {
	char name[160];
	uint8_t *p;
	size_t nbytes;
	bool beside;
};

struct upload {
	uint8_t *p;
	size_t nbytes;
	unsigned n_patches;
	bool open;
};

struct tinyreg {
	struct stub *stub;
	struct tinyreg_knobs knobs;
	struct thing things[THINGS_MAX];
	size_t n_things;
	struct upload uploads[UPLOADS_MAX];
	size_t n_uploads;
	unsigned n_patch, n_put, n_put_manifest, n_get_manifest;
	uint64_t received;
	char ranges[4096];
};

static struct thing *find(struct tinyreg *t, const char *name, bool beside)
{
	for (size_t i = 0; i < t->n_things; i++)
		if (strcmp(t->things[i].name, name) == 0 && t->things[i].beside == beside)
			return &t->things[i];
	return NULL;
}

static void put(struct tinyreg *t, const char *name, const void *p, size_t nbytes, bool beside)
{
	struct thing *x = find(t, name, beside);

	if (!x) {
		MUST(t->n_things < THINGS_MAX);
		x = &t->things[t->n_things++];
		snprintf(x->name, sizeof x->name, "%s", name);
		x->beside = beside;
	}
	free(x->p);
	MUST(x->p = malloc(nbytes + 1));
	memcpy(x->p, p, nbytes);
	x->nbytes = nbytes;
}

void tinyreg_put(struct tinyreg *t, const char *name, const void *p, size_t nbytes)
{
	put(t, name, p, nbytes, false);
}

void tinyreg_put_beside(struct tinyreg *t, const char *name, const void *p, size_t nbytes)
{
	put(t, name, p, nbytes, true);
}

const void *tinyreg_get(const struct tinyreg *t, const char *name, size_t *nbytes)
{
	const struct thing *x = find((struct tinyreg *)(uintptr_t)t, name, false);

	if (x && nbytes)
		*nbytes = x->nbytes;
	return x ? x->p : NULL;
}

/* 1: the fault happened, and the request is answered or cut. */
static bool faulty(const struct tinyreg_fault *f, unsigned n, struct stub_conn *c)
{
	if (n < f->nth || n - f->nth >= f->times || (f->every && (n - f->nth) % f->every))
		return false;
	if (f->status)
		stub_replys(c, f->status, "", "{\"errors\":[{\"code\":\"TROUBLE\"}]}");
	else
		stub_cut(c);
	return true;
}

static void take(struct upload *u, const struct stub_req *req, size_t nbytes)
{
	MUST(u->p = realloc(u->p, u->nbytes + nbytes + 1));
	memcpy(u->p + u->nbytes, req->body, nbytes);
	u->nbytes += nbytes;
}

/* The headers that say where upload I goes on. */
static void where(const struct tinyreg *t, char out[512], size_t i, const char *range)
{
	const struct upload *u = &t->uploads[i];
	char has[64] = "", min[64] = "";

	if (range)
		snprintf(has, sizeof has, "Range: %s\r\n", range);
	else
		snprintf(has, sizeof has, "Range: 0-%zu\r\n", u->nbytes ? u->nbytes - 1 : 0);
	if (t->knobs.min_chunk)
		snprintf(min, sizeof min, "OCI-Chunk-Min-Length: %u\r\n", t->knobs.min_chunk);
	snprintf(out, 512,
		 "Location: %s%s/v2/r/x/blobs/uploads/u%zu?_state=a%%3D%zu&more=1\r\n%s%s",
		 t->knobs.relative ? "" : "http://", t->knobs.relative ? "" : stub_host(t->stub), i,
		 u->nbytes, has, min);
}

static void start_upload(struct tinyreg *t, const struct stub_req *req, struct stub_conn *c)
{
	const char *mount = strstr(req->target, "?mount=sha256%3A");
	char headers[512], name[CK_DIGEST_STR];

	if (mount) {
		snprintf(name, sizeof name, "sha256:%.64s", mount + 16);
		const struct thing *x = find(t, name, true);
		if (t->knobs.mounts && x && strcmp(mount + 16 + 64, "&from=beside") == 0) {
			put(t, name, x->p, x->nbytes, false);
			stub_replys(c, "201 Created", "Location: /v2/r/x/blobs/y\r\n", "");
			return;
		}
	}
	MUST(t->n_uploads < UPLOADS_MAX);
	t->uploads[t->n_uploads].open = true;
	where(t, headers, t->n_uploads++, NULL);
	stub_replys(c, "202 Accepted", headers, "");
}

static void patch(struct tinyreg *t, size_t i, const struct stub_req *req, struct stub_conn *c)
{
	struct upload *u = &t->uploads[i];
	const struct tinyreg_knobs *k = &t->knobs;
	const char *type = stub_header(req, "content-type");
	char headers[512], want[64];
	size_t used = strlen(t->ranges);

	MUST(type && strcmp(type, "application/octet-stream") == 0);
	const char *range = stub_header(req, "content-range");
	MUST(range && req->body_len);
	snprintf(t->ranges + used, sizeof t->ranges - used, "%s%s", used ? " " : "", range);
	t->received += req->body_len;
	snprintf(want, sizeof want, "%zu-%zu", u->nbytes, u->nbytes + req->body_len - 1);
	bool ours = strcmp(want, range) == 0;
	if (k->no_patch || (k->one_patch && u->n_patches)) {
		stub_replys(c, "405 Method Not Allowed", "", "");
	} else if (k->max_body && req->body_len > k->max_body) {
		stub_replys(c, "413 Content Too Large", "", "");
	} else if (faulty(&k->patch, t->n_patch++, c)) {
		take(u, req, k->patch.status || !ours ? 0 : k->patch.keep);
	} else if (!ours) {
		stub_replys(c, "416 Range Not Satisfiable", "", "");
	} else {
		u->n_patches++;
		take(u, req, req->body_len);
		where(t, headers, i, k->patch_range);
		stub_replys(c, "202 Accepted", k->quiet ? "" : headers, "");
	}
}

static void end_upload(struct tinyreg *t, size_t i, const struct stub_req *req, struct stub_conn *c)
{
	struct upload *u = &t->uploads[i];
	const char *digest = strstr(req->target, "&digest=sha256%3A");
	const struct tinyreg_fault *f = &t->knobs.put;
	char name[CK_DIGEST_STR], is[CK_DIGEST_STR];
	uint8_t raw[CK_SHA256_LEN];

	MUST(digest);
	snprintf(name, sizeof name, "sha256:%.64s", digest + 17);
	t->received += req->body_len;
	if (t->knobs.max_body && req->body_len > t->knobs.max_body) {
		stub_replys(c, "413 Content Too Large", "", "");
		return;
	}
	bool fault = faulty(f, t->n_put++, c);
	if (fault && (f->status || f->keep < req->body_len)) {
		take(u, req, f->status ? 0 : f->keep);
		return;
	}
	take(u, req, req->body_len);
	ck_sha256(raw, u->p, u->nbytes);
	ck_digest_str(is, raw);
	u->open = false;
	if (strcmp(is, name) != 0) {
		stub_replys(c, "400 Bad Request", "",
			    "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}");
		return;
	}
	put(t, name, u->p, u->nbytes, false);
	if (!fault)
		stub_replys(c, "201 Created", "", "");
}

static void on_upload(struct tinyreg *t, const struct stub_req *req, struct stub_conn *c)
{
	const char *at = strstr(req->target, "/blobs/uploads/");
	const char *state = strstr(req->target, "?_state=a%3D");
	char headers[512];
	size_t i = 0;

	if (strcmp(req->method, "POST") == 0) {
		start_upload(t, req, c);
		return;
	}
	/* The query is to be kept as it was given. */
	MUST(sscanf(at, "/blobs/uploads/u%zu?", &i) == 1 && i < t->n_uploads && state);
	struct upload *u = &t->uploads[i];
	bool strict = strcmp(req->method, "GET") ? t->knobs.strict : t->knobs.strict_get;
	bool stale = strict && strtoul(state + 12, NULL, 10) != u->nbytes;
	if (!u->open || stale) {
		stub_replys(c, "404 Not Found", "",
			    "{\"errors\":[{\"code\":\"BLOB_UPLOAD_INVALID\"}]}");
	} else if (strcmp(req->method, "PATCH") == 0) {
		patch(t, i, req, c);
	} else if (strcmp(req->method, "PUT") == 0) {
		end_upload(t, i, req, c);
	} else if (strcmp(req->method, "DELETE") == 0) {
		u->open = false;
		stub_sendf(c, "HTTP/1.1 204 No Content\r\n\r\n");
	} else if (t->knobs.forgetful) {
		stub_replys(c, "404 Not Found", "", "");
	} else {
		where(t, headers, i, t->knobs.get_range);
		stub_sendf(c, "HTTP/1.1 204 No Content\r\n%s\r\n", headers);
	}
}

/* GET and HEAD of what is there. */
static void give(struct tinyreg *t, const struct stub_req *req, const char *name,
		 struct stub_conn *c)
{
	const struct thing *x = find(t, name, false);

	if (!x)
		stub_replys(c, "404 Not Found", "", strcmp(req->method, "HEAD") ? "{}" : "");
	else if (strcmp(req->method, "HEAD") == 0)
		stub_sendf(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", x->nbytes);
	else
		stub_reply(c, "200 OK", "", x->p, x->nbytes);
}

static void on_manifest(struct tinyreg *t, const struct stub_req *req, const char *name,
			struct stub_conn *c)
{
	char is[CK_DIGEST_STR], headers[256];
	uint8_t raw[CK_SHA256_LEN];

	if (strcmp(req->method, "PUT") != 0) {
		if (!faulty(&t->knobs.get_manifest, t->n_get_manifest++, c))
			give(t, req, name, c);
		return;
	}
	MUST(stub_header(req, "content-type"));
	if (t->knobs.on_manifest)
		t->knobs.on_manifest(t, name, false);
	bool fault = faulty(&t->knobs.put_manifest, t->n_put_manifest++, c);
	if (fault && t->knobs.put_manifest.status)
		return;
	put(t, name, req->body, req->body_len, false);
	if (t->knobs.on_manifest)
		t->knobs.on_manifest(t, name, true);
	ck_sha256(raw, req->body, req->body_len);
	raw[0] ^= t->knobs.liar;
	ck_digest_str(is, raw);
	snprintf(headers, sizeof headers, "Docker-Content-Digest: %s\r\n%s", is,
		 t->knobs.referrers && strstr(req->body, "\"subject\"") ? "OCI-Subject: x\r\n"
									: "");
	if (!fault)
		stub_replys(c, "201 Created", headers, "");
}

static void answer(void *ctx, const struct stub_req *req, struct stub_conn *c)
{
	struct tinyreg *t = ctx;
	static const char blobs[] = "/v2/r/x/blobs/", manifests[] = "/v2/r/x/manifests/";

	if (strcmp(req->target, "/v2/") == 0)
		stub_replys(c, "200 OK", "", "{}");
	else if (strstr(req->target, "/blobs/uploads/"))
		on_upload(t, req, c);
	else if (strncmp(req->target, blobs, sizeof blobs - 1) == 0)
		give(t, req, req->target + sizeof blobs - 1, c);
	else if (strncmp(req->target, manifests, sizeof manifests - 1) == 0)
		on_manifest(t, req, req->target + sizeof manifests - 1, c);
	else
		stub_replys(c, "404 Not Found", "", "{}");
}

struct tinyreg *tinyreg_open(void)
{
	struct tinyreg *t = calloc(1, sizeof *t);

	MUST(t);
	t->stub = stub_open(&(struct stub_opts){ .answer = answer, .ctx = t });
	return t;
}

void tinyreg_close(struct tinyreg *t)
{
	stub_close(t->stub);
	for (size_t i = 0; i < t->n_things; i++)
		free(t->things[i].p);
	for (size_t i = 0; i < t->n_uploads; i++)
		free(t->uploads[i].p);
	free(t);
}

struct tinyreg_knobs *tinyreg_knobs(struct tinyreg *t)
{
	return &t->knobs;
}

const char *tinyreg_host(const struct tinyreg *t)
{
	return stub_host(t->stub);
}

unsigned tinyreg_count(struct tinyreg *t, const char *what)
{
	return stub_count(t->stub, what);
}

uint64_t tinyreg_received(const struct tinyreg *t)
{
	return t->received;
}

unsigned tinyreg_n_open(const struct tinyreg *t)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->n_uploads; i++)
		n += t->uploads[i].open;
	return n;
}

const char *tinyreg_ranges(const struct tinyreg *t)
{
	return t->ranges;
}
