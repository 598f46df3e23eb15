#include "tar/intake.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/ctr.h"
#include "tar/cipher/twohash.h"
#include "tar/sealedblob.h"

enum { SEALED_BLOCK = CK_INTAKE_BLOCK / CK_CHUNK * CK_CHUNK_SEALED };

struct ck_intake {
	const struct ck_layer_spec *spec;
	struct ck_reader *blob;
	struct ck_tags *tags;
	struct ck_twohash *hash;
	struct ck_chunked *chunks; /* sealed */
	uint8_t *sealed;	   /* SEALED_BLOCK bytes, or NULL */
	uint64_t off;		   /* next byte of the blob */
};

/* The header of a sealed blob counts for the digest like the rest. */
static int begin_sealed(struct ck_intake *in, struct ck_err *err)
{
	uint8_t header[CK_CHUNKED_HEADER];

	in->sealed = malloc(SEALED_BLOCK);
	if (!in->sealed)
		return ck_nomem(err, "verifying a layer");
	int rc = ck_sealedblob_begin(&in->chunks, in->blob, in->spec->key, in->spec->media_type,
				     header, err);
	if (rc < 0)
		return rc;
	in->off = sizeof header;
	return ck_twohash_update(in->hash, header, sizeof header, err);
}

int ck_intake_open(struct ck_intake **out, const struct ck_layer_spec *spec, struct ck_reader *blob,
		   struct ck_tags *tags, struct ck_err *err)
{
	CK_AUTO(ck_intake_closep) struct ck_intake *in = calloc(1, sizeof *in);
	const struct ck_blob_key *key = spec->key;

	if (!in)
		return ck_nomem(err, "verifying a layer");
	in->spec = spec;
	in->blob = blob;
	in->tags = tags;
	int rc = ck_twohash_new(&in->hash, key && key->cipher == CK_CIPHER_CTR ? key->symkey : NULL,
				err);
	if (rc == 0 && key && key->cipher == CK_CIPHER_CHUNKED)
		rc = begin_sealed(in, err);
	if (rc == 0)
		*out = ck_take(in);
	return rc;
}

void ck_intake_close(struct ck_intake *in)
{
	if (!in)
		return;
	ck_twohash_free(in->hash);
	ck_chunked_free(in->chunks);
	free(in->sealed); /* ciphertext */
	free(in);
}

uint64_t ck_intake_through(const struct ck_intake *in)
{
	return in->off;
}

static int next_sealed(struct ck_intake *in, uint8_t *buf, size_t n, size_t *nbytes,
		       struct ck_err *err)
{
	uint64_t idx = (in->off - CK_CHUNKED_HEADER) / CK_CHUNK_SEALED;
	int rc;

	for (int again = 0;; again++) {
		rc = ck_reader_pread(in->blob, in->sealed, n, in->off, err);
		if (rc == 0)
			rc = ck_sealedblob_unseal(in->chunks, idx, in->sealed, n, buf, nbytes, err);
		if (rc != -EBADMSG || !ck_reader_refetch(in->blob, in->off, n) || again)
			break;
	}
	return rc < 0 ? rc : ck_twohash_update(in->hash, in->sealed, n, err);
}

static int next_whole(struct ck_intake *in, uint8_t *buf, size_t n, struct ck_err *err)
{
	const struct ck_blob_key *key = in->spec->key;
	int rc = ck_reader_pread(in->blob, buf, n, in->off, err);

	if (rc == 0)
		rc = ck_twohash_update(in->hash, buf, n, err);
	if (rc == 0 && in->tags)
		rc = ck_tags_set(in->tags, in->off / CK_TAG_CHUNK, buf, n, err);
	if (rc == 0 && key)
		rc = ck_ctr_crypt(key->symkey, key->nonce, in->off, buf, n, err);
	return rc;
}

int ck_intake_next(struct ck_intake *in, uint8_t *buf, size_t *nbytes, struct ck_err *err)
{
	uint64_t left = ck_reader_len(in->blob) - in->off;
	size_t cap = in->chunks ? SEALED_BLOCK : CK_INTAKE_BLOCK;
	size_t n = left < cap ? (size_t)left : cap;
	int rc = 0;

	*nbytes = n;
	if (n)
		rc =
		    in->chunks ? next_sealed(in, buf, n, nbytes, err) : next_whole(in, buf, n, err);
	if (rc == 0)
		in->off += n;
	return rc;
}

int ck_intake_verdict(struct ck_intake *in, struct ck_err *err)
{
	const struct ck_layer_spec *spec = in->spec;
	uint8_t digest[CK_SHA256_LEN], hmac[CK_SHA256_LEN];
	char is[CK_DIGEST_STR], want[CK_DIGEST_STR];
	int rc = ck_twohash_final(in->hash, digest, hmac, err);

	if (rc < 0)
		return rc;
	if (memcmp(digest, spec->digest, sizeof digest) != 0) {
		ck_digest_str(is, digest);
		ck_digest_str(want, spec->digest);
		return ck_fail(err, -EBADMSG,
			       "digest check failed: the blob is %s, the manifest says %s; it was "
			       "changed or damaged",
			       is, want);
	}
	if (spec->key && spec->key->cipher == CK_CIPHER_CTR &&
	    CRYPTO_memcmp(hmac, spec->key->hmac, sizeof hmac) != 0)
		return ck_fail(err, -EBADMSG,
			       "HMAC check failed: the ciphertext was changed since it was "
			       "encrypted, or its key is another layer's");
	return 0;
}
