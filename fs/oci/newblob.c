/* newblob - blobs in the making: hashed and written, then given to the store. */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/file.h"
#include "fs/oci/blobstore_steps.h"

enum { COPY_PIECE = 1 << 18 };

struct ck_new_blob {
	struct ck_blobstore *store; /* borrowed */
	struct ck_tempfile file;
	EVP_MD_CTX *hash; /* owned; NULL once ended */
	uint64_t size;
};

int ck_blobstore_blob(struct ck_new_blob **out, struct ck_blobstore *s, struct ck_err *err)
{
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = malloc(sizeof *b);

	if (!b)
		return ck_nomem(err, "making a blob");
	*b = (struct ck_new_blob){ .store = s, .file = CK_TEMPFILE_NONE, .hash = EVP_MD_CTX_new() };
	if (!b->hash || !EVP_DigestInit_ex(b->hash, EVP_sha256(), NULL))
		return ck_nomem(err, "hashing a blob");
	int rc = ck_tempfile_open(&b->file, s->dir.blobs, err);
	if (rc == 0)
		*out = ck_take(b);
	return rc;
}

int ck_new_blob_write(struct ck_new_blob *b, const void *p, size_t nbytes, struct ck_err *err)
{
	if (!b->hash)
		return ck_fail(err, -EINVAL, "the blob was ended");
	if (nbytes > INT64_MAX - b->size)
		return ck_fail(err, -EFBIG, "a blob grows too large");
	int rc = ck_fd_write(b->file.fd, p, nbytes, "a blob", err);
	if (rc < 0)
		return ck_wrap(err, "%s", b->store->dir.path);
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
	if (fsync(b->file.fd) < 0)
		return ck_fail(err, -errno, "%s: cannot write a blob: %s", b->store->dir.path,
			       strerror(errno));
	return ck_blobstore_add(b->store, &b->file, digest, b->size, err);
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
	ck_tempfile_drop(&b->file);
	free(b);
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

static int copy_bytes(struct ck_new_blob *b, struct ck_reader *from, ck_progress_fn *progress,
		      void *ctx, struct ck_err *err)
{
	CK_AUTO(ck_freep) uint8_t *piece = malloc(COPY_PIECE);
	uint64_t len = ck_reader_len(from);

	if (!piece)
		return ck_nomem(err, "copying a blob");
	for (uint64_t off = 0; off < len;) {
		size_t n = len - off < COPY_PIECE ? (size_t)(len - off) : COPY_PIECE;
		int rc = ck_reader_pread(from, piece, n, off, err);
		if (rc == 0)
			rc = ck_new_blob_write(b, piece, n, err);
		if (rc < 0)
			return rc;
		off += n;
		if (progress)
			progress(ctx, off, len);
	}
	return 0;
}

int ck_blobstore_copy(struct ck_blobstore *s, struct ck_reader *from,
		      const uint8_t digest[CK_SHA256_LEN], ck_progress_fn *progress, void *ctx,
		      struct ck_err *err)
{
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	uint8_t is[CK_SHA256_LEN];
	uint64_t len = ck_reader_len(from);

	if (ck_blobstore_there(s, digest, len)) {
		if (progress)
			progress(ctx, len, len);
		return ck_blobstore_add(s, NULL, digest, len, err);
	}
	int rc = ck_blobstore_blob(&b, s, err);
	if (rc == 0)
		rc = copy_bytes(b, from, progress, ctx, err);
	if (rc == 0)
		rc = finish_hash(b, is, err);
	if (rc < 0)
		return rc;
	if (memcmp(is, digest, sizeof is) != 0)
		return ck_fail(err, -EBADMSG, "its bytes do not have that digest: it is damaged");
	return hand_over(b, digest, err);
}
