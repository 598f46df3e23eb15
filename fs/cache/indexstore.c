#include "fs/cache/indexstore.h"

static int load(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err)
{
	uint8_t raw[CK_SHA256_LEN];
	int rc = ck_digest_parse(raw, digest, err);

	return rc < 0 ? rc : ck_blobcache_load(ctx, CK_CACHE_INDEX, raw, out, err);
}

static int save(void *ctx, const char *digest, const void *p, size_t nbytes,
		const struct ck_buf *windows, struct ck_err *err)
{
	uint8_t raw[CK_SHA256_LEN];
	int rc = ck_digest_parse(raw, digest, err);

	(void)windows;
	return rc < 0 ? rc : ck_blobcache_save(ctx, CK_CACHE_INDEX, raw, p, nbytes, err);
}

struct ck_index_store ck_blobcache_indexes(struct ck_blobcache *c)
{
	return (struct ck_index_store){ .load = load, .save = save, .ctx = c };
}
