/* What the layers do with a copy that is wrong: they say so, once, and read again. */
#include <errno.h>
#include <stdatomic.h>

#include "tar/convert.h"
#include "tar/layer.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/seal.h"
#include "tests/unit/lib/unit.h"

/* A blob with copies: a byte of them is wrong until it is refetched, unless the origin is bad. */
struct copies {
	const struct ck_buf *blob;
	uint64_t bad_at;
	bool bad, bad_origin;
	unsigned refetched;
	uint64_t off, nbytes;	       /* of the last refetch */
	uint64_t advised, advised_end; /* the first one; both 0: none */
};

static ssize_t copies_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct copies *c = ctx;

	(void)err;
	memcpy(buf, c->blob->data + off, nbytes);
	if ((c->bad || c->bad_origin) && c->bad_at >= off && c->bad_at - off < nbytes)
		((uint8_t *)buf)[c->bad_at - off] ^= 1;
	return (ssize_t)nbytes;
}

static bool copies_refetch(void *ctx, uint64_t off, uint64_t nbytes)
{
	struct copies *c = ctx;

	c->refetched++;
	c->off = off;
	c->nbytes = nbytes;
	if (c->bad_at >= off && c->bad_at - off < nbytes)
		c->bad = false;
	return true;
}

static void copies_advise(void *ctx, uint64_t off, uint64_t nbytes)
{
	struct copies *c = ctx;

	if (!c->advised_end) {
		c->advised = off;
		c->advised_end = off + nbytes;
	}
}

static const struct ck_reader_ops copies_ops = { .pread = copies_pread,
						 .refetch = copies_refetch,
						 .advise = copies_advise };

enum { PLAIN, CTR, SEALED, N_KINDS };

struct stand {
	struct ck_buf tar, blob;
	struct ck_blob_key key;
	struct mk_sealed sealed;
	struct ck_layer_spec spec;
	struct copies copies;
	struct ck_reader *reader;
	struct ck_unitcache *cache;
};

static void stand_up(struct stand *s, int kind)
{
	struct ck_err err = { 0 };

	*s = (struct stand){ 0 };
	mk_tar(&s->tar, 5, 20, 100000);
	mk_gzip(&s->blob, s->tar.data, s->tar.len, 6, 0);
	if (kind == CTR)
		mk_encrypt(&s->blob, &s->key, 1);
	s->spec = mk_spec(&s->blob, &s->tar, kind == PLAIN ? NULL : &s->key);
	if (kind == SEALED) {
		mk_seal(&s->sealed, &s->tar, 1);
		s->spec = s->sealed.spec;
		s->spec.full = true;
		ck_buf_free(&s->blob);
		assert_works(ck_buf_add(&s->blob, s->sealed.blob.data, s->sealed.blob.len, &err),
			     &err);
	}
	s->copies = (struct copies){ .blob = &s->blob, .bad_at = s->blob.len / 2, .bad = true };
	assert_works(ck_unitcache_open(&s->cache, 0, &err), &err); /* keeps nothing */
	assert_works(ck_reader_open(&s->reader, &copies_ops, &s->copies, s->blob.len, &err), &err);
}

static void stand_down(struct stand *s)
{
	ck_reader_close(s->reader);
	ck_unitcache_close(s->cache);
	ck_buf_free(&s->tar);
	ck_buf_free(&s->blob);
	if (s->sealed.blob.data)
		mk_sealed_free(&s->sealed);
}

static void read_all(const struct stand *s, struct ck_layer *l)
{
	uint8_t buf[8192];
	struct ck_err err = { 0 };

	for (uint64_t at = 0; at + sizeof buf <= s->tar.len; at += sizeof buf) {
		assert_works(ck_layer_pread(l, buf, sizeof buf, at, &err), &err);
		assert_memory_equal(buf, s->tar.data + at, sizeof buf);
	}
}

/* The pass meets a bad copy, and passes once more; a bad origin is refused, and not kept. */
static void test_pass(void **state)
{
	struct ck_err err = { 0 };
	struct ck_layer *l = NULL;
	struct stand s;

	(void)state;
	for (int kind = 0; kind < N_KINDS; kind++) {
		stand_up(&s, kind);
		assert_works(ck_layer_open(&l, &s.spec, s.reader, s.cache, NULL, NULL, NULL, &err),
			     &err);
		assert_int_equal(s.copies.refetched, 1);
		s.reader = NULL; /* the layer's */
		read_all(&s, l);
		ck_layer_close(l);
		stand_down(&s);

		stand_up(&s, kind);
		s.copies.bad_origin = true;
		assert_int_equal(
		    ck_layer_open(&l, &s.spec, s.reader, s.cache, NULL, NULL, NULL, &err),
		    -EBADMSG);
		assert_true(s.copies.refetched >= 2);
		stand_down(&s);
	}
}

/* A chunk that goes bad later is read again, the rest of the read with it; for good, it is EIO,
 * and what was wrong is not kept. */
static void test_reads(void **state)
{
	struct ck_err err = { 0 };
	struct ck_layer *l = NULL;
	struct stand s;
	uint8_t buf[512];

	(void)state;
	for (int kind = 0; kind < N_KINDS; kind++) {
		stand_up(&s, kind);
		s.copies.bad = false;
		assert_works(ck_layer_open(&l, &s.spec, s.reader, s.cache, NULL, NULL, NULL, &err),
			     &err);
		s.reader = NULL;
		s.copies.bad = true;
		assert_int_equal(ck_layer_n_wrong(l), 0);
		read_all(&s, l);
		assert_int_equal(s.copies.refetched, 1);
		assert_int_equal(ck_layer_n_wrong(l), 1);
		assert_true(s.copies.nbytes < 1 << 20); /* not more than was read */
		s.copies.bad_origin = true;
		size_t failed = 0;
		for (uint64_t at = 0; at + sizeof buf <= s.tar.len; at += 65536)
			failed += ck_layer_pread(l, buf, sizeof buf, at, &err) == -EIO;
		assert_true(failed > 0);
		assert_true(s.copies.refetched > 2);
		assert_int_equal(ck_layer_n_wrong(l), s.copies.refetched);
		s.copies.bad_origin = false;
		read_all(&s, l);
		ck_layer_close(l);
		stand_down(&s);
	}
}

/* The places where a sealed blob is looked at alone: its header, an empty last chunk. */
static void test_sealed_ends(void **state)
{
	struct ck_err err = { 0 };
	struct ck_layer *l = NULL;
	struct stand s;

	(void)state;
	stand_up(&s, SEALED);
	s.copies.bad_at = 30; /* the commitment */
	assert_works(ck_layer_open(&l, &s.spec, s.reader, s.cache, NULL, NULL, NULL, &err), &err);
	s.reader = NULL;
	assert_int_equal(s.copies.refetched, 1);
	assert_int_equal(s.copies.off, 0);
	ck_layer_close(l);
	stand_down(&s);

	stand_up(&s, SEALED);
	s.copies.bad_at = 30;
	s.copies.bad_origin = true;
	assert_int_equal(ck_layer_open(&l, &s.spec, s.reader, s.cache, NULL, NULL, NULL, &err),
			 -EBADMSG);
	assert_int_equal(s.copies.refetched, 2);
	stand_down(&s);
}

static int nowhere(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	(void)ctx, (void)p, (void)nbytes, (void)err;
	return 0;
}

static int convert(const struct stand *s, struct ck_err *err)
{
	const struct ck_conversion how = { .media_type = MK_ZSTD_TYPE };
	const struct ck_sink sink = { nowhere, NULL };
	struct ck_converted r;

	return ck_convert(&r, &s->spec, s->reader, &how, &sink, NULL, NULL, err);
}

/* What was converted from a bad copy fails, and the next try gets another. */
static void test_convert(void **state)
{
	struct ck_err err = { 0 };
	struct stand s;

	(void)state;
	stand_up(&s, CTR);
	assert_int_equal(convert(&s, &err), -EBADMSG);
	assert_int_equal(s.copies.refetched, 1);
	assert_works(convert(&s, &err), &err);
	stand_down(&s);
	stand_up(&s, SEALED); /* is read again at once, chunk by chunk */
	assert_works(convert(&s, &err), &err);
	assert_int_equal(s.copies.refetched, 1);
	stand_down(&s);
}

/* A read that spans units says at once what it will need of the blob: all of that, and no more than
 * a chunk on either side. */
static void test_advise(void **state)
{
	struct ck_err err = { 0 };
	struct ck_layer *l = NULL;
	struct ck_pool *pool = NULL;
	struct stand s;
	static uint8_t buf[1 << 20];

	(void)state;
	stand_up(&s, SEALED);
	s.copies.bad = false;
	s.spec.full = false; /* by its own index, which knows every frame */
	assert_works(ck_pool_open(&pool, 1, 64, &err), &err);
	assert_works(ck_layer_open(&l, &s.spec, s.reader, s.cache, NULL, NULL, NULL, &err), &err);
	s.reader = NULL;
	ck_layer_readahead(l, pool);
	s.copies.advised_end = 0; /* what opening said */
	assert_works(ck_layer_pread(l, buf, 4096, 0, &err), &err);
	assert_int_equal(s.copies.advised_end, 0); /* one unit */
	assert_works(ck_layer_pread(l, buf, sizeof buf, 512 << 10, &err), &err);
	assert_true(s.copies.advised_end > s.copies.advised);
	/* In the blob as in the tar, about: a half of it from a quarter on. */
	assert_in_range(s.copies.advised, s.blob.len / 8, s.blob.len / 4);
	assert_in_range(s.copies.advised_end - s.copies.advised, s.blob.len * 2 / 5,
			s.blob.len * 3 / 5);
	ck_layer_close(l);
	ck_pool_close(pool);
	stand_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass),	    cmocka_unit_test(test_reads),
		cmocka_unit_test(test_sealed_ends), cmocka_unit_test(test_convert),
		cmocka_unit_test(test_advise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
