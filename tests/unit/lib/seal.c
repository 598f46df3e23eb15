#include "tests/unit/lib/seal.h"

#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "base/text.h"
#include "tar/convert.h"
#include "tar/embedded.h"
#include "tar/sealedblob.h"

#define MUST(e)                                                                                    \
	do {                                                                                       \
		if (!(e)) {                                                                        \
			fprintf(stderr, "%s:%d: cannot %s\n", __FILE__, __LINE__, #e);             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static int to_buf(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_buf_add(ctx, p, nbytes, err);
}

void mk_redigest(struct mk_sealed *f)
{
	ck_sha256(f->spec.digest, f->blob.data, f->blob.len);
}

void mk_seal(struct mk_sealed *f, const struct ck_buf *tar, uint64_t key_seed)
{
	CK_AUTO(ck_pool_closep) struct ck_pool *pool = NULL;
	CK_AUTO(ck_reader_closep) struct ck_reader *from = NULL;
	const struct ck_sink sink = { to_buf, &f->blob };
	struct ck_converted made;

	*f = (struct mk_sealed){ .key = { .cipher = CK_CIPHER_CHUNKED } };
	for (size_t i = 0; i < sizeof f->key.symkey; i++)
		f->key.symkey[i] = (uint8_t)mk_random(&key_seed);
	MUST(ck_buf_add(&f->tar, tar->data, tar->len, NULL) == 0);
	MUST(ck_pool_open(&pool, 1, 4, NULL) == 0);
	MUST(ck_reader_open_mem(&from, tar->data, tar->len, NULL) == 0);
	const struct ck_layer_spec plain = mk_spec(tar, tar, NULL);
	const struct ck_conversion how = { .key = &f->key,
					   .media_type = MK_ZSTD_TYPE,
					   .recompress = true,
					   .level = 1,
					   .pool = pool };
	MUST(ck_convert(&made, &plain, from, &how, &sink, NULL, NULL, NULL) == 0);
	f->index_off = made.index_off;
	f->spec = mk_spec(&f->blob, tar, &f->key);
	f->spec.media_type = MK_ZSTD_TYPE;
	f->spec.index_off = made.index_off;
}

void mk_sealed_free(struct mk_sealed *f)
{
	ck_buf_free(&f->tar);
	ck_buf_free(&f->blob);
}

void mk_light_tar(struct ck_buf *out, uint64_t seed, size_t n_files, size_t file_len)
{
	size_t start = out->len;

	mk_tar(out, seed, n_files, file_len);
	for (size_t at = start, i = 0; i < n_files; i++) {
		uint8_t *data = out->data + at + 512; /* behind the header */
		for (size_t k = 0; k < file_len; k++)
			data[k] = k % 48 < 4 ? (uint8_t)mk_random(&seed) : (uint8_t)(k % 48);
		at += 512 + (file_len + 511) / 512 * 512;
	}
}

void mk_unseal(struct ck_buf *out, const struct mk_sealed *f)
{
	struct ck_chunked_context context;
	char text[CK_LAYER_CONTEXT_MAX];
	uint64_t len;

	MUST(ck_layer_context(&context, text, f->spec.media_type, NULL) == 0);
	MUST(ck_chunked_plain_len(f->blob.len, &len, NULL) == 0);
	MUST(ck_buf_reserve(out, len, NULL) == 0);
	MUST(ck_chunked_unseal_all(f->key.symkey, &context, f->blob.data, f->blob.len,
				   out->data + out->len, NULL) == 0);
	out->len += len;
}

void mk_reseal(struct mk_sealed *f, const void *plain, size_t nbytes)
{
	struct ck_chunked_context context;
	char text[CK_LAYER_CONTEXT_MAX];
	size_t n = (size_t)ck_chunked_sealed_len(nbytes);

	MUST(ck_layer_context(&context, text, f->spec.media_type, NULL) == 0);
	ck_buf_free(&f->blob);
	MUST(ck_buf_reserve(&f->blob, n, NULL) == 0);
	MUST(ck_chunked_seal_all(f->key.symkey, &context, plain, nbytes, f->blob.data, NULL) == 0);
	f->blob.len = n;
	mk_redigest(f);
}

void mk_index_of(struct ck_pass_result *out, const struct mk_sealed *f)
{
	CK_BUF plain = { 0 };
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;

	mk_unseal(&plain, f);
	MUST(ck_reader_open_mem(&r, plain.data, plain.len, NULL) == 0);
	MUST(ck_embedded_read(out, r, 0, f->spec.diff_id, NULL) == 0);
}

void mk_skippable(struct ck_buf *out, unsigned nibble, const void *p, size_t nbytes)
{
	uint8_t header[CK_SKIPPABLE_HEADER];

	ck_skippable_header(header, nibble, (uint32_t)nbytes);
	MUST(ck_buf_add(out, header, sizeof header, NULL) == 0);
	MUST(ck_buf_add(out, p, nbytes, NULL) == 0);
}

size_t mk_frames(struct ck_seek_frame *frames, size_t cap, const uint8_t *p, size_t nbytes)
{
	size_t n = 0;

	for (size_t at = 0; at < nbytes; n++) {
		MUST(n < cap);
		size_t in = ZSTD_findFrameCompressedSize(p + at, nbytes - at);
		unsigned long long out = ZSTD_getFrameContentSize(p + at, nbytes - at);
		MUST(!ZSTD_isError(in) && out < UINT32_MAX);
		frames[n] = (struct ck_seek_frame){ (uint32_t)in, (uint32_t)out };
		at += in;
	}
	return n;
}
