#include "fs/oci/blobstore.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fs/oci/blobstore_ops.h"
#include "fs/oci/layout.h"

enum { COPY_PIECE = 1 << 18, COPY_TRIES = 4 };

void ck_blobstore_close(struct ck_blobstore *s)
{
	if (s)
		s->ops->close(s);
}

const char *ck_blobstore_name(const struct ck_blobstore *s)
{
	return s->name;
}

/* 1: what is KNOWN is there already. */
static int open_blob(struct ck_new_blob **out, struct ck_blobstore *s,
		     const struct ck_known_blob *known, struct ck_err *err)
{
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	int rc = s->ops->blob(&b, s, known, err);

	if (rc)
		return rc;
	b->store = s;
	b->hash = EVP_MD_CTX_new();
	if (!b->hash || !EVP_DigestInit_ex(b->hash, EVP_sha256(), NULL))
		return ck_nomem(err, "hashing a blob");
	*out = ck_take(b);
	return 0;
}

int ck_blobstore_blob(struct ck_new_blob **out, struct ck_blobstore *s, struct ck_err *err)
{
	return open_blob(out, s, NULL, err);
}

int ck_new_blob_write(struct ck_new_blob *b, const void *p, size_t nbytes, struct ck_err *err)
{
	if (!b->hash)
		return ck_fail(err, -EINVAL, "the blob was ended");
	if (nbytes > INT64_MAX - b->size)
		return ck_fail(err, -EFBIG, "a blob grows too large");
	int rc = b->store->ops->write(b, p, nbytes, err);
	if (rc < 0)
		return ck_wrap(err, "%s", b->store->name);
	if (!EVP_DigestUpdate(b->hash, p, nbytes))
		return ck_fail(err, -EIO, "cannot hash a blob");
	b->size += nbytes;
	return 0;
}

/* Its digest, which can be had once. */
static int finish_hash(struct ck_new_blob *b, uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	if (!b->hash)
		return ck_fail(err, -EINVAL, "the blob was ended");
	int ok = EVP_DigestFinal_ex(b->hash, digest, NULL);
	EVP_MD_CTX_free(ck_take(b->hash));
	return ok ? 0 : ck_fail(err, -EIO, "cannot hash a blob");
}

static int hand_over(struct ck_new_blob *b, const uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	int rc = b->store->ops->end(b, digest, err);

	return rc < 0 ? ck_wrap(err, "%s", b->store->name) : 0;
}

int ck_new_blob_end(struct ck_new_blob *b, uint8_t digest[CK_SHA256_LEN], uint64_t *size,
		    struct ck_err *err)
{
	int rc = finish_hash(b, digest, err);
	if (rc == 0)
		rc = hand_over(b, digest, err);
	*size = b->size;
	return rc;
}

void ck_new_blob_drop(struct ck_new_blob *b)
{
	if (!b)
		return;
	EVP_MD_CTX_free(b->hash);
	b->store->ops->drop(b);
}

int ck_blobstore_put(struct ck_blobstore *s, const void *p, size_t nbytes,
		     uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	uint64_t size;

	int rc = ck_blobstore_blob(&b, s, err);
	if (rc == 0)
		rc = ck_new_blob_write(b, p, nbytes, err);
	return rc < 0 ? rc : ck_new_blob_end(b, digest, &size, err);
}

/* A copy in the making. */
struct copy {
	struct ck_reader *from;
	uint8_t *piece; /* room for COPY_PIECE bytes */
	ck_progress_fn *progress;
	void *ctx;
	uint64_t told; /* how far the progress is: it does not go back */
};

static void tell(struct copy *c, uint64_t nbytes)
{
	if (!c->progress || (nbytes <= c->told && nbytes))
		return;
	c->told = nbytes;
	c->progress(c->ctx, nbytes, ck_reader_len(c->from));
}

static int copy_bytes(struct copy *c, struct ck_new_blob *b, struct ck_err *err)
{
	uint64_t len = ck_reader_len(c->from);

	for (uint64_t off = 0; off < len;) {
		size_t n = len - off < COPY_PIECE ? (size_t)(len - off) : COPY_PIECE;
		int rc = ck_reader_pread(c->from, c->piece, n, off, err);
		if (rc == 0)
			rc = ck_new_blob_write(b, c->piece, n, err);
		if (rc < 0)
			return rc;
		off += n;
		tell(c, off);
	}
	return 0;
}

static int copy_once(struct copy *c, struct ck_blobstore *s, const uint8_t digest[CK_SHA256_LEN],
		     struct ck_err *err)
{
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	uint8_t is[CK_SHA256_LEN];
	uint64_t len = ck_reader_len(c->from);

	int rc = open_blob(&b, s, &(struct ck_known_blob){ digest, len }, err);
	if (rc > 0)
		tell(c, len);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = copy_bytes(c, b, err);
	if (rc == 0)
		rc = finish_hash(b, is, err);
	if (rc < 0)
		return rc;
	if (memcmp(is, digest, sizeof is) != 0)
		return ck_fail(err, -EBADMSG, "its bytes do not have that digest: it is damaged");
	return hand_over(b, digest, err);
}

int ck_blobstore_copy(struct ck_blobstore *s, struct ck_reader *from,
		      const uint8_t digest[CK_SHA256_LEN], ck_progress_fn *progress, void *ctx,
		      struct ck_err *err)
{
	CK_AUTO(ck_freep) uint8_t *piece = malloc(COPY_PIECE);
	struct copy c = { from, piece, progress, ctx, 0 };
	int rc = -ESTALE;

	if (!piece)
		return ck_nomem(err, "copying a blob");
	for (int i = 0; rc == -ESTALE && i < COPY_TRIES; i++)
		rc = copy_once(&c, s, digest, err);
	return rc;
}

static int check_blob(struct ck_blobstore *s, const json_t *obj, const struct ck_descriptor *d,
		      struct ck_err *err)
{
	/* A foreign layer is elsewhere. */
	int rc = json_object_get(obj, "urls") ? 1 : s->ops->has(s, d->digest, d->size, err);

	if (rc)
		return rc < 0 ? rc : 0;
	return ck_fail(err, -EINVAL, "its blob %s was not written", d->digest_str);
}

int ck_blobstore_whole(struct ck_blobstore *s, const struct ck_new_manifest *new,
		       struct ck_err *err)
{
	CK_AUTO(ck_manifest_free) struct ck_manifest m = { 0 };
	int rc = ck_manifest_parse(&m, new->p, new->d.size, new->d.media_type, err);

	if (rc == 0)
		rc = check_blob(s, json_object_get(m.json, "config"), &m.config, err);
	for (size_t i = 0; rc == 0 && i < m.n_layers; i++)
		rc = check_blob(s, json_array_get(json_object_get(m.json, "layers"), i),
				&m.layers[i], err);
	return rc < 0 ? ck_wrap(err, "manifest") : 0;
}

int ck_blobstore_add(struct ck_blobstore *s, const struct ck_new_manifest *m, struct ck_err *err)
{
	if (m->d.size > CK_LAYOUT_MAX_DOC)
		return ck_fail(err, -EFBIG,
			       "its manifest has %" PRIu64 " bytes, more than the %d allowed",
			       m->d.size, CK_LAYOUT_MAX_DOC);
	if (s->tried)
		return ck_fail(err, -EINVAL, "%s is changed once only", s->name);
	s->tried = true;
	return s->ops->add(s, m, err);
}
