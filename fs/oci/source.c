#include "fs/oci/source.h"

#include <errno.h>
#include <string.h>

#define KIND "doc" /* of documents in the cache */

int ck_source_open(struct ck_source *out, const struct ck_reference *ref,
		   const struct ck_registry_opts *opts, struct ck_blobcache *cache,
		   struct ck_err *err)
{
	struct ck_source s = CK_SOURCE_NONE;
	int rc;

	if (ref->transport == CK_TRANSPORT_DOCKER) {
		rc = ck_registry_open(&s.registry, ref->host, ref->repo, opts, err);
		if (rc == 0)
			rc = ck_net_open(&s.net, opts ? opts->timeout_ms : 0, err);
		s.cache = cache;
	} else {
		rc = ck_layout_open(&s.layout, ref->transport, ref->dir, err);
	}
	if (rc < 0)
		ck_source_close(&s);
	else
		*out = s;
	return rc;
}

void ck_source_close(struct ck_source *s)
{
	ck_layout_close(&s->layout);
	ck_net_close(s->net);
	s->net = NULL;
	if (!s->borrowed)
		ck_registry_close(s->registry);
	s->registry = NULL;
}

/* A document that is kept, checked: the cache says nothing of its own. False: not from there. */
static bool kept(const struct ck_source *s, const uint8_t digest[CK_SHA256_LEN], struct ck_buf *out)
{
	CK_BUF doc = { .max = CK_LAYOUT_MAX_DOC };
	uint8_t is[CK_SHA256_LEN];

	if (!s->cache || ck_blobcache_load(s->cache, KIND, digest, &doc, NULL) < 0)
		return false;
	ck_sha256(is, ck_buf_str(&doc), doc.len);
	return memcmp(is, digest, sizeof is) == 0 && ck_buf_add(out, doc.data, doc.len, NULL) == 0;
}

/* Keeping is for the next time: now it makes no difference. */
static void keep(const struct ck_source *s, const uint8_t digest[CK_SHA256_LEN], const void *p,
		 size_t nbytes)
{
	struct ck_err err;

	if (s->cache && nbytes <= CK_LAYOUT_MAX_DOC &&
	    ck_blobcache_save(s->cache, KIND, digest, p, nbytes, &err) < 0)
		return;
}

int ck_source_doc(const struct ck_source *s, const struct ck_descriptor *d, struct ck_buf *out,
		  struct ck_err *err)
{
	size_t at = out->len;

	if (!s->registry)
		return ck_layout_doc(&s->layout, d, out, err);
	if (kept(s, d->digest, out))
		return 0;
	int rc = ck_registry_whole(s->registry, d, CK_LAYOUT_MAX_DOC, out, err);
	if (rc == 0)
		keep(s, d->digest, out->data + at, out->len - at);
	return rc;
}

int ck_source_whole(const struct ck_source *s, const struct ck_descriptor *d, size_t max,
		    struct ck_buf *out, struct ck_err *err)
{
	return s->registry ? ck_registry_whole(s->registry, d, max, out, err)
			   : ck_layout_whole(&s->layout, d, max, out, err);
}

int ck_source_resolve(const struct ck_source *s, const char *reference, struct ck_buf *doc,
		      char **type, char digest[CK_DIGEST_STR], struct ck_err *err)
{
	uint8_t raw[CK_SHA256_LEN];

	if (ck_digest_parse(raw, reference, NULL) == 0 && kept(s, raw, doc)) {
		ck_digest_str(digest, raw);
		*type = ck_manifest_type(doc->data, doc->len);
		return *type ? 0 : ck_nomem(err, "reading a manifest");
	}
	int rc = ck_registry_resolve(s->registry, reference, doc, type, digest, err);
	if (rc == 0)
		rc = ck_digest_parse(raw, digest, err);
	if (rc == 0)
		keep(s, raw, doc->data, doc->len);
	return rc;
}

int ck_source_blob(const struct ck_source *s, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		   struct ck_reader **out, struct ck_remote **remote, struct ck_err *err)
{
	*remote = NULL;
	return s->registry
		   ? ck_remote_open(out, remote, s->net, s->registry, s->cache, digest, size, err)
		   : ck_layout_blob(&s->layout, digest, size, out, err);
}
