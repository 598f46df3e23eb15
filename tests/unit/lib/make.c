#include "tests/unit/lib/make.h"

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/text.h"

#define MUST(e)                                                                                    \
	do {                                                                                       \
		if (!(e)) {                                                                        \
			fprintf(stderr, "%s:%d: cannot %s\n", __FILE__, __LINE__, #e);             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

uint64_t mk_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void mk_bytes(struct ck_buf *out, uint64_t seed, size_t nbytes)
{
	MUST(ck_buf_reserve(out, nbytes, NULL) == 0);
	uint8_t *p = out->data + out->len;
	for (size_t i = 0; i < nbytes;) {
		uint64_t r = mk_random(&seed);
		size_t n = 16 + r % 240;
		if (n > nbytes - i)
			n = nbytes - i;
		if ((r & 0x700) && i > 4096) { /* a repeat from within the last 32 KiB */
			size_t back = 256 + (r >> 16) % (i < 32000 ? i - 256 : 31000);
			for (size_t k = 0; k < n; k++, i++)
				p[i] = p[i - back];
		} else {
			for (size_t k = 0; k < n; k++, i++)
				p[i] = (uint8_t)(mk_random(&seed) % 97);
		}
	}
	out->len += nbytes;
	out->data[out->len] = 0;
}

static la_ssize_t to_buf(struct archive *a, void *ctx, const void *p, size_t n)
{
	(void)a;
	return ck_buf_add(ctx, p, n, NULL) == 0 ? (la_ssize_t)n : -1;
}

void mk_tar(struct ck_buf *out, uint64_t seed, size_t n_files, size_t file_len)
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();

	MUST(a && e && archive_write_set_format_pax_restricted(a) == ARCHIVE_OK);
	archive_write_set_bytes_per_block(a, 0);
	MUST(archive_write_open(a, out, NULL, to_buf, NULL) == ARCHIVE_OK);
	for (size_t i = 0; i < n_files; i++) {
		char name[32];
		CK_BUF data = { 0 };
		snprintf(name, sizeof name, "d/%zu", i);
		mk_bytes(&data, seed + i, file_len);
		archive_entry_clear(e);
		archive_entry_set_pathname(e, name);
		archive_entry_set_filetype(e, AE_IFREG);
		archive_entry_set_perm(e, 0640);
		archive_entry_set_size(e, (la_int64_t)file_len);
		archive_entry_set_mtime(e, 1700000000, 0);
		MUST(archive_write_header(a, e) == ARCHIVE_OK);
		MUST(archive_write_data(a, data.data, data.len) == (la_ssize_t)data.len);
	}
	MUST(archive_write_close(a) == ARCHIVE_OK);
	archive_entry_free(e);
	archive_write_free(a);
}

void mk_gzip(struct ck_buf *out, const void *p, size_t nbytes, int level, int strategy)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)nbytes };

	MUST(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, strategy) == Z_OK);
	MUST(ck_buf_reserve(out, deflateBound(&z, nbytes) + 64, NULL) == 0);
	z.next_out = out->data + out->len;
	z.avail_out = (uInt)(out->cap - out->len);
	MUST(deflate(&z, Z_FINISH) == Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}

void mk_zstd(struct ck_buf *out, const void *p, size_t nbytes, int level)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	MUST(c && ck_buf_reserve(out, ZSTD_compressBound(nbytes) + 64, NULL) == 0);
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	size_t n = ZSTD_compress2(c, out->data + out->len, out->cap - out->len, p, nbytes);
	MUST(!ZSTD_isError(n));
	out->len += n;
	ZSTD_freeCCtx(c);
}

void mk_encrypt(struct ck_buf *blob, struct ck_blob_key *key, uint64_t seed)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	key->cipher = CK_CIPHER_CTR;
	for (size_t i = 0; i < 32; i++)
		key->symkey[i] = (uint8_t)mk_random(&seed);
	for (size_t i = 0; i < 16; i++)
		key->nonce[i] = (uint8_t)mk_random(&seed);
	/* One stream from the start, as the other side does it: no offsets here. */
	MUST(c && EVP_EncryptInit_ex(c, EVP_aes_256_ctr(), NULL, key->symkey, key->nonce));
	MUST(EVP_EncryptUpdate(c, blob->data, &n, blob->data, (int)blob->len));
	EVP_CIPHER_CTX_free(c);
	mk_hmac(blob, key);
}

void mk_hmac(const struct ck_buf *blob, struct ck_blob_key *key)
{
	MUST(HMAC(EVP_sha256(), key->symkey, 32, blob->data, blob->len, key->hmac, NULL));
}

struct ck_layer_spec mk_spec(const struct ck_buf *blob, const struct ck_buf *tar,
			     const struct ck_blob_key *key)
{
	struct ck_layer_spec s = { .name = "layer under test", .key = key };

	ck_sha256(s.digest, blob->data, blob->len);
	ck_sha256(s.diff_id, tar->data, tar->len);
	return s;
}
