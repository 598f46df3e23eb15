#include "tar/encryptor.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "base/secret.h"
#include "tar/cipher/ctr.h"
#include "tar/cipher/hmac.h"
#include "tar/sealedblob.h"

/* Chunks are gathered and written together. */
enum { N_CHUNKS = 64, BLOCK = N_CHUNKS * CK_CHUNK };

struct ck_encryptor {
	const struct ck_blob_key *key;
	const struct ck_sink *out;
	struct ck_chunked *chunks; /* sealed */
	EVP_MAC_CTX *hmac;	   /* CTR */
	uint8_t *block;		   /* BLOCK bytes of plaintext, used of them used */
	size_t used;
	uint8_t *sealed; /* room for a block's chunks with their tags */
	uint64_t len;	 /* plaintext bytes, those in the block too */
};

static int begin_sealed(struct ck_encryptor *e, const char *media_type, struct ck_err *err)
{
	struct ck_chunked_context context;
	char text[CK_LAYER_CONTEXT_MAX];
	uint8_t header[CK_CHUNKED_HEADER];
	int rc = ck_layer_context(&context, text, media_type, err);

	e->sealed = malloc(N_CHUNKS * CK_CHUNK_SEALED);
	if (!e->sealed)
		return ck_nomem(err, "encrypting a layer");
	if (rc == 0)
		rc = ck_chunked_new(&e->chunks, e->key->symkey, &context, header, err);
	return rc < 0 ? rc : ck_sink_write(e->out, header, sizeof header, err);
}

int ck_encryptor_open(struct ck_encryptor **out, const struct ck_blob_key *key,
		      const char *media_type, const struct ck_sink *sink, struct ck_err *err)
{
	CK_AUTO(ck_encryptor_closep) struct ck_encryptor *e = calloc(1, sizeof *e);
	int rc = 0;

	if (!e || !(e->block = malloc(BLOCK)))
		return ck_nomem(err, "encrypting a layer");
	e->key = key;
	e->out = sink;
	if (key && key->cipher == CK_CIPHER_CHUNKED)
		rc = begin_sealed(e, media_type, err);
	else if (key && !(e->hmac = ck_hmac_new(key->symkey)))
		rc = ck_nomem(err, "encrypting a layer");
	if (rc == 0)
		*out = ck_take(e);
	return rc;
}

void ck_encryptor_close(struct ck_encryptor *e)
{
	if (!e)
		return;
	if (e->block)
		ck_wipe(e->block, BLOCK);
	free(e->block);
	free(e->sealed);
	ck_chunked_free(e->chunks);
	EVP_MAC_CTX_free(e->hmac);
	free(e);
}

uint64_t ck_encryptor_len(const struct ck_encryptor *e)
{
	return e->len;
}

/* Seals the block, whose chunks are full but for the last of all. */
static int seal_block(struct ck_encryptor *e, bool last, struct ck_err *err)
{
	uint64_t idx = (e->len - e->used) / CK_CHUNK;
	uint8_t *to = e->sealed;
	size_t off = 0;
	int rc = 0;

	/* The last chunk is a short one, and be it empty. */
	while (rc == 0 && (off < e->used || last)) {
		size_t n = e->used - off < CK_CHUNK ? e->used - off : CK_CHUNK;
		rc = ck_chunked_seal(e->chunks, idx++, e->block + off, n, to, err);
		to += n + CK_CHUNK_TAG;
		off += n;
		if (n < CK_CHUNK)
			break;
	}
	return rc < 0 ? rc : ck_sink_write(e->out, e->sealed, (size_t)(to - e->sealed), err);
}

static int flush(struct ck_encryptor *e, bool last, struct ck_err *err)
{
	int rc = 0;

	if (e->chunks)
		rc = seal_block(e, last, err);
	else if (e->used && e->key)
		rc = ck_ctr_crypt(e->key->symkey, e->key->nonce, e->len - e->used, e->block,
				  e->used, err);
	if (rc == 0 && e->hmac && !EVP_MAC_update(e->hmac, e->block, e->used))
		rc = ck_fail(err, -EIO, "HMAC-SHA256 failed");
	if (rc == 0 && !e->chunks && e->used)
		rc = ck_sink_write(e->out, e->block, e->used, err);
	e->used = 0;
	return rc;
}

int ck_encryptor_write(struct ck_encryptor *e, const void *p, size_t nbytes, struct ck_err *err)
{
	const uint8_t *from = p;

	while (nbytes) {
		size_t n = nbytes < BLOCK - e->used ? nbytes : BLOCK - e->used;
		memcpy(e->block + e->used, from, n);
		e->used += n;
		e->len += n;
		from += n;
		nbytes -= n;
		int rc = e->used == BLOCK ? flush(e, false, err) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

int ck_encryptor_end(struct ck_encryptor *e, uint8_t hmac[32], struct ck_err *err)
{
	size_t n = 0;
	int rc = flush(e, true, err);

	if (hmac)
		memset(hmac, 0, 32);
	if (rc == 0 && hmac && e->hmac && (!EVP_MAC_final(e->hmac, hmac, &n, 32) || n != 32))
		rc = ck_fail(err, -EIO, "HMAC-SHA256 failed");
	return rc;
}
