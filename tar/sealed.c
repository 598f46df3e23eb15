#include "tar/sealed.h"

#include <errno.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/chunked.h"
#include "tar/indexfile.h"
#include "tar/windowblob.h"

/* The context that binds an index to its blob. */
static void set_context(struct ck_chunked_context *c, char text[96], const uint8_t digest[32])
{
	size_t n = sizeof "cloakfs/index/v1"; /* with its NUL */

	memcpy(text, "cloakfs/index/v1", n);
	ck_digest_str(text + n, digest);
	*c = (struct ck_chunked_context){ text, n + CK_DIGEST_STR - 1 };
}

/* Packs WHAT with its windows apart, as they go into WINDOWS. */
static int pack_apart(struct ck_buf *out, struct ck_buf *windows, const struct ck_pass_result *what,
		      const struct ck_indexfile_about *about, struct ck_err *err)
{
	const struct ck_units *u = &what->units;
	CK_AUTO(ck_freep) struct ck_point *points = calloc(u->n_points, sizeof *points);
	struct ck_pass_result copy = *what;

	if (!points)
		return ck_nomem(err, "sealing a layer's index");
	memcpy(points, u->points, u->n_points * sizeof *points);
	copy.units.points = points;
	copy.apart = (struct ck_windows_apart){ 0 };
	int rc = ck_windowblob_make(windows, &copy.apart, points, u, err);
	if (rc == 0)
		rc = ck_indexfile_pack(out, &copy, about, err);
	ck_windows_apart_free(&copy.apart);
	return rc;
}

int ck_sealed_write(struct ck_buf *out, struct ck_buf *windows, const struct ck_pass_result *what,
		    const struct ck_layer_spec *spec, uint64_t blob_len, struct ck_err *err)
{
	CK_BUF plain = { .max = CK_INDEXFILE_MAX };
	struct ck_indexfile_about about = { .blob_len = blob_len };
	struct ck_chunked_context context;
	char text[96];

	memcpy(about.digest, spec->digest, sizeof about.digest);
	memcpy(about.diff_id, spec->diff_id, sizeof about.diff_id);
	if (spec->key->cipher == CK_CIPHER_CTR)
		memcpy(about.hmac, spec->key->hmac, sizeof about.hmac);
	int rc = windows && what->units.windows ? pack_apart(&plain, windows, what, &about, err)
						: ck_indexfile_pack(&plain, what, &about, err);
	if (rc < 0)
		return rc;
	set_context(&context, text, spec->digest);
	size_t n = (size_t)ck_chunked_sealed_len(plain.len);
	rc = ck_buf_reserve(out, n, err);
	if (rc == 0)
		rc = ck_chunked_seal_all(spec->key->symkey, &context, plain.data, plain.len,
					 out->data + out->len, err);
	if (rc == 0)
		out->len += n;
	return rc;
}

static int check_about(const struct ck_indexfile_about *a, const struct ck_layer_spec *spec,
		       uint64_t blob_len, struct ck_err *err)
{
	if (memcmp(a->digest, spec->digest, 32) != 0 || a->blob_len != blob_len)
		return ck_fail(err, -EBADMSG, "the index is another blob's");
	if (spec->key->cipher == CK_CIPHER_CTR && memcmp(a->hmac, spec->key->hmac, 32) != 0)
		return ck_fail(err, -EBADMSG,
			       "HMAC check failed: the index is of another ciphertext than the "
			       "manifest says");
	if (memcmp(a->diff_id, spec->diff_id, 32) != 0)
		return ck_fail(err, -EBADMSG,
			       "diff_id check failed: the index is of another tar stream than the "
			       "image's config says");
	return 0;
}

/* A CTR layer's chunks need their tags, a sealed one's prove themselves. */
static int check_tags(const struct ck_tags *t, enum ck_cipher cipher, struct ck_err *err)
{
	uint64_t n = t->len / CK_TAG_CHUNK + (t->len % CK_TAG_CHUNK != 0);

	if (t->n_tags != (cipher == CK_CIPHER_CTR ? n : 0))
		return ck_fail(err, -EBADMSG, "the index has the wrong number of chunk tags");
	return 0;
}

/* Bytes of the compressed stream in a blob. */
static int stream_len(uint64_t *out, enum ck_cipher cipher, uint64_t blob_len, struct ck_err *err)
{
	*out = blob_len;
	return cipher == CK_CIPHER_CTR ? 0 : ck_chunked_plain_len(blob_len, out, err);
}

int ck_sealed_read(struct ck_pass_result *out, const struct ck_layer_spec *spec, uint64_t blob_len,
		   const void *p, size_t nbytes, struct ck_err *err)
{
	struct ck_pass_result r = { 0 };
	struct ck_indexfile_about about;
	struct ck_chunked_context context;
	char text[96];
	uint64_t len, in_len;
	int rc = ck_chunked_plain_len(nbytes, &len, err);

	if (rc == 0)
		rc = stream_len(&in_len, spec->key->cipher, blob_len, err);
	if (rc < 0)
		return rc;
	CK_AUTO(ck_freep) uint8_t *plain = malloc(len ? (size_t)len : 1);
	if (!plain)
		return ck_nomem(err, "opening a layer's index");
	set_context(&context, text, spec->digest);
	/* On failure it holds nothing: wiping would take memory for what a stranger sent. */
	rc = ck_chunked_unseal_all(spec->key->symkey, &context, p, nbytes, plain, err);
	if (rc < 0)
		return rc;
	rc = ck_indexfile_unpack(&r, &about, in_len, plain, (size_t)len, err);
	ck_wipe(plain, (size_t)len); /* the key of the chunk tags is in it */
	if (rc < 0)
		return rc;
	rc = check_about(&about, spec, blob_len, err);
	if (rc == 0)
		rc = check_tags(&r.tags, spec->key->cipher, err);
	if (rc < 0)
		ck_pass_result_free(&r);
	else
		*out = r;
	return rc;
}
