#include "fs/registry/referrers.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/url.h"
#include "fs/oci/entries.h"
#include "fs/oci/layout.h"
#include "fs/oci/reflist.h"

enum { PAGES_MAX = 16 };

/* Whether an answer is a list, as the specification tells it from a page that says something. */
static bool is_index(const struct ck_http_res *res)
{
	const char *type = ck_http_res_header(res, "Content-Type");
	size_t n = sizeof CK_MEDIA_INDEX - 1;

	return res->status == 200 && type && strncasecmp(type, CK_MEDIA_INDEX, n) == 0;
}

/* Where the next page is, from 'Link: <URL>; rel="next"': the caller's to free; NULL: none. */
static char *next_page(const struct ck_http_res *res)
{
	const char *link = ck_http_res_header(res, "Link");
	const char *from = link ? strchr(link, '<') : NULL, *to = from ? strchr(from, '>') : NULL;

	if (!to || !strstr(to, "next"))
		return NULL;
	return strndup(from + 1, (size_t)(to - from - 1));
}

/* Of an entry what tells it from others: the rest of a page does not stay in memory beside the next
 * one's. A new reference; NULL: no memory. */
static json_t *copy_entry(const json_t *entry)
{
	static const char *const keys[] = { "mediaType", "digest", "size", "artifactType" };
	static const char created[] = "org.opencontainers.image.created";
	const json_t *at = json_object_get(json_object_get(entry, "annotations"), created);
	json_t *out = json_object();
	bool ok = out;

	for (size_t i = 0; ok && i < sizeof keys / sizeof keys[0]; i++) {
		const json_t *v = json_object_get(entry, keys[i]);
		if (json_is_string(v) || json_is_integer(v))
			ok = json_object_set_new(out, keys[i], json_copy((json_t *)(uintptr_t)v)) ==
			     0;
	}
	if (ok && json_is_string(at))
		ok = json_object_set_new(out, "annotations",
					 json_pack("{s:s%}", created, json_string_value(at),
						   json_string_length(at))) == 0;
	if (ok)
		return out;
	json_decref(out);
	return NULL;
}

/* Adds the entries of ARTIFACT_TYPE: not every registry leaves others out. */
static int add_page(json_t *list, const struct ck_http_res *res, const char *artifact_type,
		    struct ck_err *err)
{
	CK_JSON *page = NULL;
	json_t *all = json_object_get(list, "manifests");
	int rc = ck_manifest_list_parse(&page, res->body.data, res->body.len, CK_MEDIA_INDEX, err);

	if (rc < 0)
		return ck_wrap(err, "the list of what refers to the image");
	const json_t *entries = json_object_get(page, "manifests");
	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *entry = json_array_get(entries, i);
		const char *type = json_string_value(json_object_get(entry, "artifactType"));
		if (type && strcmp(type, artifact_type) == 0 &&
		    json_array_append_new(all, copy_entry(entry)) < 0)
			return ck_nomem(err, "reading a list");
	}
	return 0;
}

/* Errors: -ENOSYS (the registry has no such API). */
static int ask_api(json_t *list, struct ck_registry *r, const char *digest,
		   const char *artifact_type, unsigned hurry_ms, struct ck_err *err)
{
	CK_BUF path = { 0 };
	size_t nbytes = 0; /* of all pages */
	int rc = ck_buf_addf(&path, err, "referrers/%s?artifactType=", digest);

	if (rc == 0)
		rc = ck_url_escape(&path, artifact_type, err);
	for (unsigned n = 0; rc == 0; n++) {
		static const char *const headers[] = { "Accept: " CK_MEDIA_INDEX };
		CK_HTTP_RES res = { 0 };
		struct ck_registry_req req = { .path = ck_buf_str(&path),
					       .headers = headers,
					       .n_headers = 1,
					       .hurry_ms = hurry_ms };
		rc = ck_registry_do(r, &req, &res, err);
		if (n == 0 && (rc == -EPROTO || (rc == 0 && !is_index(&res) && res.status < 500 &&
						 res.status != 403 && res.status != 429)))
			return ck_fail(err, -ENOSYS, "the registry lists no referrers");
		if (rc == 0 && !is_index(&res))
			rc = ck_registry_refused(&res, err);
		/* A list that lacks a page is not the list, nor is the tag then. */
		if (n > 0)
			rc = ck_missing_is_damage(rc, err);
		nbytes += res.body.len;
		if (rc == 0 && nbytes > CK_LAYOUT_MAX_DOC)
			rc = ck_fail(err, -EFBIG,
				     "the list of what refers to the image is larger "
				     "than what is read");
		if (rc == 0)
			rc = add_page(list, &res, artifact_type, err);
		CK_AUTO(ck_freep) char *next = next_page(&res);
		if (rc < 0 || !next || n == PAGES_MAX)
			return rc;
		/* A name alone would be taken for one below the repository's own. */
		if (*next != '/' && !strstr(next, "://"))
			return ck_fail(err, -EBADMSG, "the list's next page is at \"%.100s\"",
				       next);
		ck_buf_free(&path);
		rc = ck_buf_adds(&path, next, err);
	}
	return rc;
}

static int ask_tag(json_t **list, struct ck_registry *r, const char *digest, struct ck_err *err)
{
	uint8_t raw[CK_SHA256_LEN];
	char name[CK_REFERRERS_NAME], got[CK_DIGEST_STR];
	CK_AUTO(ck_freep) char *type = NULL;
	CK_BUF doc = { 0 };
	int rc = ck_digest_parse(raw, digest, err);

	if (rc < 0)
		return rc;
	ck_referrers_name(name, raw);
	rc = ck_registry_resolve(r, name, &doc, &type, got, err);
	if (rc < 0)
		return rc;
	rc = ck_manifest_list_parse(list, doc.data, doc.len, type, err);
	return rc < 0 ? ck_wrap(err, "index %s", name) : 0;
}

int ck_registry_referrers(json_t **out, struct ck_registry *r, const char *digest,
			  const char *artifact_type, unsigned hurry_ms, struct ck_err *err)
{
	CK_JSON *list = json_pack("{s:[]}", "manifests");
	if (!list)
		return ck_nomem(err, "reading a list");
	int rc = ask_api(list, r, digest, artifact_type, hurry_ms, err);

	if (rc == -ENOSYS) {
		ck_json_freep(&list);
		list = NULL;
		rc = ask_tag(&list, r, digest, err);
	}
	if (rc < 0)
		return rc;
	*out = ck_take(list);
	return 0;
}
