/*
 * stand - what the tests of the tar scan stand on: a tar in memory, scanned in blocks of any size.
 */
#ifndef CK_TEST_TARSCAN_STAND_H
#define CK_TEST_TARSCAN_STAND_H

#include "base/buf.h"
#include "tar/index/tarscan.h"
#include "tests/unit/lib/unit.h"

struct feed {
	const struct ck_buf *in;
	size_t off, most;
	uint8_t *block; /* of its own: what lies around it is somebody else's */
};

static inline int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	size_t n = f->in->len - f->off;

	(void)err;
	if (n > f->most)
		n = f->most;
	free(f->block);
	f->block = malloc(n);
	assert_true(f->block || n == 0);
	if (n)
		memcpy(f->block, f->in->data + f->off, n);
	*p = f->block;
	*nbytes = n;
	f->off += n;
	return 0;
}

static inline int scan(struct ck_index *x, const struct ck_buf *tar, size_t most,
		       struct ck_err *err)
{
	struct feed f = { tar, 0, most, NULL };
	CK_AUTO(ck_index_builder_freep) struct ck_index_builder *b = NULL;
	int rc = ck_index_builder_new(&b, err);

	if (rc == 0)
		rc = ck_tarscan(b, pull, NULL, &f, err);
	free(f.block);
	if (rc == 0)
		ck_index_finish(b, x);
	return rc;
}

static inline const struct ck_entry *entry(const struct ck_index *x, const char *path)
{
	for (size_t i = 0; i < x->n_entries; i++)
		if (strcmp(ck_index_bytes(x, x->entries[i].path), path) == 0)
			return &x->entries[i];
	fail_msg("no entry \"%s\" among %zu", path, x->n_entries);
	return NULL;
}

#endif
