#include "fs/registry/uploadstep.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define OCTETS "Content-Type: application/octet-stream"

enum { MAX_LOCATION = 8192 };

/* A step, or an error that stays one. */
static int judge(int rc, const struct ck_http_res *res, struct ck_err *err)
{
	if (rc < 0)
		return rc == -EACCES || rc == -ENOMEM || rc == -ECANCELED ? rc : CK_STEP_UNCLEAR;
	rc = ck_registry_refused(res, err);
	switch (res->status) {
	case 404:
		return CK_STEP_GONE;
	case 400:
	case 405:
	case 501:
		return CK_STEP_REFUSED;
	case 413:
		return CK_STEP_LARGE;
	case 408:
	case 409:
	case 416:
	case 429:
		return CK_STEP_UNCLEAR;
	}
	return res->status >= 500 ? CK_STEP_UNCLEAR : rc;
}

/* Follows the answer's Location, if it has one. */
static int move_on(struct ck_uploadplace *p, const struct ck_http_res *res, struct ck_err *err)
{
	const char *to = ck_http_res_header(res, "location");

	if (!to)
		return 0;
	if (!*to || strlen(to) > MAX_LOCATION)
		return ck_fail(err, -EPROTO, "the registry's Location is empty or too long");
	char *copy = strdup(to);
	if (!copy)
		return ck_nomem(err, "uploading a blob");
	free(p->location);
	p->location = copy;
	return 0;
}

static int min_chunk(struct ck_uploadplace *p, const struct ck_http_res *res, struct ck_err *err)
{
	const char *text = ck_http_res_header(res, "oci-chunk-min-length");
	char *end;

	if (!text)
		return 0;
	errno = 0;
	uint64_t n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno)
		return ck_fail(err, -EPROTO,
			       "the registry's OCI-Chunk-Min-Length is no number: %.40s", text);
	p->min_chunk = n;
	return 0;
}

static int opened(struct ck_uploadplace *p, const struct ck_http_res *res, struct ck_err *err)
{
	if (res->status != 202)
		return ck_registry_refused(res, err);
	int rc = move_on(p, res, err);
	if (rc == 0 && !p->location)
		rc = ck_fail(err, -EPROTO, "the registry opened an upload and did not say where");
	return rc < 0 ? rc : min_chunk(p, res, err);
}

/* 1: mounted, 0: not, but an upload may be open. */
static int mount(struct ck_uploadplace *p, const uint8_t *digest, const char *from)
{
	CK_HTTP_RES res = { 0 };
	CK_BUF path = { 0 };
	char hex[2 * CK_SHA256_LEN + 1];

	ck_hex(hex, digest, CK_SHA256_LEN);
	if (ck_buf_addf(&path, NULL, "blobs/uploads/?mount=sha256%%3A%s&from=%s", hex, from) < 0)
		return 0;
	const struct ck_registry_req req = { .method = "POST",
					     .path = ck_buf_str(&path),
					     .body = "",
					     .push = true,
					     .mount_from = from };
	/* Whoever may not read there, or whose registry knows no such thing, uploads. */
	if (ck_registry_do(p->r, &req, &res, NULL) < 0)
		return 0;
	if (res.status == 202)
		(void)!opened(p, &res, NULL);
	return res.status == 201 && ck_uploadstep_same(&res, digest, NULL) == 0;
}

int ck_uploadstep_open(struct ck_uploadplace *p, const uint8_t *digest, const char *from,
		       bool *mounted, struct ck_err *err)
{
	static const struct ck_registry_req req = {
		.method = "POST", .path = "blobs/uploads/", .body = "", .push = true
	};
	CK_HTTP_RES res = { 0 };

	*mounted = digest && from && mount(p, digest, from);
	if (*mounted || p->location)
		return 0;
	int rc = ck_registry_do(p->r, &req, &res, err);
	return rc < 0 ? rc : opened(p, &res, err);
}

bool ck_uploadstep_range(const char *text, uint64_t *end)
{
	char *rest;

	if (strncmp(text, "bytes", 5) == 0 && (text[5] == '=' || text[5] == ' '))
		text += 6;
	if (strncmp(text, "0-", 2) != 0 || text[2] < '0' || text[2] > '9')
		return false;
	errno = 0;
	uint64_t last = strtoull(text + 2, &rest, 10);
	if (*rest || errno || last >= INT64_MAX)
		return false;
	*end = last + 1;
	return true;
}

int ck_uploadstep_patch(struct ck_uploadplace *p, const void *bytes, size_t nbytes, uint64_t off,
			uint64_t *end, struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	char range[64];
	const char *const headers[] = { OCTETS, range };
	const struct ck_registry_req req = { .method = "PATCH",
					     .path = p->location,
					     .headers = headers,
					     .n_headers = 2,
					     .body = bytes,
					     .body_len = nbytes,
					     .push = true,
					     .tries = 1 };

	snprintf(range, sizeof range, "Content-Range: %" PRIu64 "-%" PRIu64, off, off + nbytes - 1);
	int rc = ck_registry_do(p->r, &req, &res, err);
	if (rc < 0 || res.status < 200 || res.status > 204)
		return judge(rc, &res, err);
	rc = move_on(p, &res, err);
	if (rc < 0)
		return rc;
	const char *taken = ck_http_res_header(&res, "range");
	*end = off + nbytes;
	if (!taken)
		return CK_STEP_DONE;
	if (!ck_uploadstep_range(taken, end) || *end <= off) {
		(void)ck_fail(err, -EPROTO, "the registry took bytes %.40s of %" PRIu64 "-%" PRIu64,
			      taken, off, off + nbytes - 1);
		return CK_STEP_UNCLEAR;
	}
	if (*end > off + nbytes)
		*end = off + nbytes; /* there are some who count from 1 */
	return CK_STEP_DONE;
}

int ck_uploadstep_status(struct ck_uploadplace *p, uint64_t off, uint64_t *end, struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	const struct ck_registry_req req = { .method = "GET", .path = p->location, .push = true };

	int rc = ck_registry_do(p->r, &req, &res, err);
	if (rc < 0)
		return rc;
	if (res.status < 200 || res.status > 204)
		return judge(rc, &res, err);
	const char *taken = ck_http_res_header(&res, "range");
	if (!taken || !ck_uploadstep_range(taken, end)) {
		(void)ck_fail(err, -EPROTO, "the registry does not say what it has of an upload");
		return CK_STEP_GONE;
	}
	rc = move_on(p, &res, err);
	if (rc < 0 || *end > 1 || off)
		return rc;
	/* "0-0" is one byte, and what some say of none: there is little to lose. */
	(void)ck_fail(err, -EPROTO, "the registry has next to nothing of an upload");
	return CK_STEP_GONE;
}

/* LOCATION with the digest behind it. */
static int put_path(struct ck_buf *out, const char *location, const uint8_t digest[CK_SHA256_LEN],
		    struct ck_err *err)
{
	char hex[2 * CK_SHA256_LEN + 1];

	ck_hex(hex, digest, CK_SHA256_LEN);
	return ck_buf_addf(out, err, "%s%cdigest=sha256%%3A%s", location,
			   strchr(location, '?') ? '&' : '?', hex);
}

int ck_uploadstep_put(struct ck_uploadplace *p, const uint8_t digest[CK_SHA256_LEN],
		      const void *bytes, size_t nbytes, struct ck_err *err)
{
	static const char *const headers[] = { OCTETS };
	CK_HTTP_RES res = { 0 };
	CK_BUF path = { 0 };
	int rc = put_path(&path, p->location, digest, err);

	if (rc < 0)
		return rc;
	const struct ck_registry_req req = { .method = "PUT",
					     .path = ck_buf_str(&path),
					     .headers = headers,
					     .n_headers = 1,
					     .body = nbytes ? bytes : "",
					     .body_len = nbytes,
					     .push = true,
					     .tries = 1 };
	rc = ck_registry_do(p->r, &req, &res, err);
	if (rc < 0 || res.status < 200 || res.status > 204 || res.status == 202)
		return judge(rc, &res, err);
	free(ck_take(p->location));
	return ck_uploadstep_same(&res, digest, err);
}

void ck_uploadstep_cancel(struct ck_uploadplace *p)
{
	CK_AUTO(ck_freep) char *location = ck_take(p->location);
	CK_HTTP_RES res = { 0 };
	const struct ck_registry_req req = {
		.method = "DELETE", .path = location, .push = true, .tries = 1
	};

	if (location)
		(void)!ck_registry_do(p->r, &req, &res, NULL);
}

int ck_uploadstep_has(struct ck_registry *r, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		      struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	char path[sizeof "blobs/" + CK_DIGEST_STR], *end;
	const struct ck_registry_req req = { .method = "HEAD", .path = path, .push = true };

	memcpy(path, "blobs/", 6);
	ck_digest_str(path + 6, digest);
	int rc = ck_registry_do(r, &req, &res, err);
	if (rc < 0)
		return rc;
	if (res.status == 404)
		return 0;
	if (res.status != 200)
		return ck_registry_refused(&res, err);
	const char *len = ck_http_res_header(&res, "content-length");
	return !len || strtoull(len, &end, 10) == size;
}

int ck_uploadstep_same(const struct ck_http_res *res, const uint8_t digest[CK_SHA256_LEN],
		       struct ck_err *err)
{
	const char *is = ck_http_res_header(res, "docker-content-digest");
	char want[CK_DIGEST_STR];

	ck_digest_str(want, digest);
	if (!is || strcmp(is, want) == 0)
		return 0;
	return ck_fail(err, -EBADMSG, "the registry made %.80s of what was sent as %s", is, want);
}
