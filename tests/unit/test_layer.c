/* A layer: what it serves equals what was packed, in every compression and at every
 * offset; what was changed is refused, and the message names the check. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <zlib.h>

#include "base/text.h"
#include "tar/cipher/tags.h"
#include "tests/unit/lib/make.h"
#include "tests/unit/lib/unit.h"

enum { N_FILES = 40, FILE_LEN = 300000 };

struct shape {
	const char *name, *compression;
	void (*pack)(struct ck_buf *out, const struct ck_buf *tar);
	bool encrypted;
};

static void pack_raw(struct ck_buf *out, const struct ck_buf *tar)
{
	assert_int_equal(ck_buf_add(out, tar->data, tar->len, NULL), 0);
}

static void pack_gzip(struct ck_buf *out, const struct ck_buf *tar)
{
	mk_gzip(out, tar->data, tar->len, 6, Z_DEFAULT_STRATEGY);
}

static void pack_gzip_stored(struct ck_buf *out, const struct ck_buf *tar)
{
	mk_gzip(out, tar->data, tar->len, 0, Z_DEFAULT_STRATEGY);
}

static void pack_gzip_fixed(struct ck_buf *out, const struct ck_buf *tar)
{
	mk_gzip(out, tar->data, tar->len, 6, Z_FIXED);
}

/* Members of growing length: many to a unit, then units to a member. */
static void pack_gzip_members(struct ck_buf *out, const struct ck_buf *tar)
{
	size_t n = 1;

	for (size_t off = 0; off < tar->len; off += n, n = n * 3 + 1)
		mk_gzip(out, tar->data + off, tar->len - off < n ? tar->len - off : n, 6,
			Z_DEFAULT_STRATEGY);
	mk_gzip(out, "", 0, 6, Z_DEFAULT_STRATEGY); /* an empty one at the end */
}

static void pack_zstd(struct ck_buf *out, const struct ck_buf *tar)
{
	mk_zstd(out, tar->data, tar->len, 3);
}

static void pack_zstd_frames(struct ck_buf *out, const struct ck_buf *tar)
{
	static const uint8_t skippable[] = { 0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
	size_t n = 1000;

	assert_int_equal(ck_buf_add(out, skippable, sizeof skippable, NULL), 0);
	for (size_t off = 0; off < tar->len; off += n, n = n * 2) {
		mk_zstd(out, tar->data + off, tar->len - off < n ? tar->len - off : n, 3);
		assert_int_equal(ck_buf_add(out, skippable, sizeof skippable, NULL), 0);
	}
}

static const struct shape shapes[] = {
	{ "raw", "none", pack_raw, false },
	{ "raw, encrypted", "none", pack_raw, true },
	{ "gzip", "gzip", pack_gzip, true },
	{ "gzip, stored blocks only", "gzip", pack_gzip_stored, true },
	{ "gzip, fixed codes only", "gzip", pack_gzip_fixed, true },
	{ "gzip, several members", "gzip", pack_gzip_members, true },
	{ "gzip, plain", "gzip", pack_gzip, false },
	{ "zstd, one large frame", "zstd", pack_zstd, true },
	{ "zstd, several frames and skippable ones", "zstd", pack_zstd_frames, true },
};

/* Opens the layer of BLOB; the caller's err says why not. */
static int open_blob(struct ck_layer **out, const struct ck_buf *blob,
		     const struct ck_layer_spec *spec, struct ck_unitcache *cache,
		     struct ck_err *err)
{
	struct ck_reader *r = NULL;
	assert_int_equal(ck_reader_open_mem(&r, blob->data, blob->len, err), 0);
	int rc = ck_layer_open(out, spec, r, cache, NULL, NULL, NULL, err);
	if (rc < 0)
		ck_reader_close(r);
	return rc;
}

static void check_reads(struct ck_layer *l, const struct ck_buf *tar, uint64_t seed)
{
	struct ck_err err = { 0 };
	uint8_t *buf = malloc(1 << 20);

	for (int i = 0; i < 300; i++) {
		size_t n = mk_random(&seed) % (i % 10 ? 9000 : 1 << 20);
		uint64_t off = mk_random(&seed) % tar->len;
		if (n > tar->len - off)
			n = (size_t)(tar->len - off);
		assert_works(ck_layer_pread(l, buf, n, off, &err), &err);
		if (memcmp(buf, tar->data + off, n) != 0)
			fail_msg("%zu bytes at %llu differ", n, (unsigned long long)off);
	}
	for (uint64_t off = 0; off < tar->len; off += 1 << 20) { /* and in order */
		size_t n = tar->len - off < 1 << 20 ? (size_t)(tar->len - off) : 1 << 20;
		assert_works(ck_layer_pread(l, buf, n, off, &err), &err);
		assert_memory_equal(buf, tar->data + off, n);
	}
	free(buf);
}

static void test_shapes(void **state)
{
	CK_BUF tar = { 0 };
	(void)state;
	mk_tar(&tar, 7, N_FILES, FILE_LEN);
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		CK_BUF blob = { 0 };
		struct ck_blob_key key;
		struct ck_err err = { 0 };
		struct ck_layer *l = NULL;
		struct ck_unitcache *cache = NULL;
		shapes[i].pack(&blob, &tar);
		if (shapes[i].encrypted)
			mk_encrypt(&blob, &key, i);
		struct ck_layer_spec spec = mk_spec(&blob, &tar, shapes[i].encrypted ? &key : NULL);
		/* A small cache, so that units come and go. */
		assert_works(ck_unitcache_open(&cache, 6 << 20, &err), &err);
		int rc = open_blob(&l, &blob, &spec, cache, &err);
		if (rc < 0)
			fail_msg("%s: %s", shapes[i].name, err.msg);
		assert_string_equal(ck_layer_compression(l), shapes[i].compression);
		assert_int_equal(ck_layer_len(l), tar.len);
		assert_int_equal(ck_layer_index(l)->n_entries, N_FILES);
		check_reads(l, &tar, i);
		ck_layer_close(l);
		ck_unitcache_close(cache);
	}
}

static void test_empty_streams(void **state)
{
	static const uint8_t zeros[1024];
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	(void)state;
	assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
	for (size_t len = 0; len <= sizeof zeros; len += sizeof zeros) {
		for (int packed = 0; packed < 3; packed++) {
			CK_BUF tar = { 0 }, blob = { 0 };
			struct ck_layer *l = NULL;
			uint8_t byte;
			assert_works(ck_buf_add(&tar, zeros, len, &err), &err);
			if (packed == 0)
				pack_raw(&blob, &tar);
			else if (packed == 1)
				pack_gzip(&blob, &tar);
			else
				pack_zstd(&blob, &tar);
			struct ck_layer_spec spec = mk_spec(&blob, &tar, NULL);
			assert_works(open_blob(&l, &blob, &spec, cache, &err), &err);
			assert_int_equal(ck_layer_index(l)->n_entries, 0);
			assert_works(ck_layer_pread(l, &byte, 0, len, &err), &err);
			assert_fails(ck_layer_pread(l, &byte, 1, len, &err), -EINVAL, &err,
				     "outside");
			ck_layer_close(l);
		}
	}
	ck_unitcache_close(cache);
}

enum change { FLIP, CUT, GROW, BAD_HMAC, BAD_KEY, BAD_NONCE, BAD_DIFF_ID, BAD_DIGEST };

static void test_refusals(void **state)
{
	static const struct {
		const char *why;
		enum change change;
		bool fix_digest, fix_hmac;
		const char *text;
	} rows[] = {
		{ "a flipped bit shows in the digest", FLIP, false, false, "digest check" },
		{ "with a digest made to fit, in the HMAC", FLIP, true, false, "HMAC check" },
		{ "with an HMAC made to fit, in the contents", FLIP, true, true, "" },
		{ "a cut shows in the digest", CUT, false, false, "digest check" },
		{ "and in the HMAC", CUT, true, false, "HMAC check" },
		{ "and in the gzip trailer", CUT, true, true, "truncated" },
		{ "more bytes show in the digest", GROW, false, false, "digest check" },
		{ "and in the HMAC", GROW, true, false, "HMAC check" },
		{ "and behind the gzip member", GROW, true, true, "gzip" },
		{ "a wrong HMAC", BAD_HMAC, false, false, "HMAC check" },
		{ "a wrong key", BAD_KEY, false, false, "HMAC check" },
		{ "a nonce that is not the layer's", BAD_NONCE, false, false, "diff_id check" },
		{ "a config of another image", BAD_DIFF_ID, false, false, "diff_id check" },
		{ "a manifest of another blob", BAD_DIGEST, false, false, "digest check" },
	};
	CK_BUF tar = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_err err = { 0 };
	(void)state;
	mk_tar(&tar, 3, 5, 200000);
	assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CK_BUF blob = { 0 };
		struct ck_blob_key key;
		struct ck_layer *l = NULL;
		pack_gzip(&blob, &tar);
		mk_encrypt(&blob, &key, i);
		struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
		switch (rows[i].change) {
		case FLIP:
			blob.data[blob.len / 2] ^= 4;
			break;
		case CUT:
			blob.len -= 9;
			break;
		case GROW:
			assert_works(ck_buf_add(&blob, "x", 1, &err), &err);
			break;
		case BAD_HMAC:
			key.hmac[31] ^= 1;
			break;
		case BAD_KEY:
			key.symkey[0] ^= 1;
			break;
		case BAD_NONCE:
			key.nonce[15] ^= 1;
			break;
		case BAD_DIFF_ID:
			spec.diff_id[0] ^= 1;
			break;
		case BAD_DIGEST:
			spec.digest[31] ^= 0x80;
			break;
		}
		if (rows[i].fix_digest)
			ck_sha256(spec.digest, blob.data, blob.len);
		if (rows[i].fix_hmac)
			mk_hmac(&blob, &key);
		int rc = open_blob(&l, &blob, &spec, cache, &err);
		if (rc != -EBADMSG || !strstr(err.msg, rows[i].text) ||
		    !strstr(err.msg, "layer under test"))
			fail_msg("%s: got %d \"%s\"", rows[i].why, rc, err.msg);
	}
	ck_unitcache_close(cache);
}

/* A blob whose bytes change after they were verified. */
struct moody {
	const struct ck_buf *blob;
	uint64_t bad_at;      /* flip this byte */
	atomic_int bad_times; /* in so many of the next reads that hold it */
};

static ssize_t moody_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct moody *m = ctx;

	(void)err;
	memcpy(buf, m->blob->data + off, nbytes);
	if (m->bad_times > 0 && m->bad_at >= off && m->bad_at - off < nbytes) {
		((uint8_t *)buf)[m->bad_at - off] ^= 1;
		m->bad_times--;
	}
	return (ssize_t)nbytes;
}

static void check_changed_later(void (*pack)(struct ck_buf *, const struct ck_buf *),
				size_t n_files)
{
	static const struct ck_reader_ops ops = { .pread = moody_pread };
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_blob_key key;
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_layer *l = NULL;
	struct ck_reader *r = NULL;
	uint8_t buf[4096], none[4096] = { 0 };
	mk_tar(&tar, 5, n_files, 400000);
	pack(&blob, &tar);
	mk_encrypt(&blob, &key, 1);
	struct moody m = { &blob, 0, 0 };
	struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
	assert_works(ck_unitcache_open(&cache, 0, &err), &err); /* keeps nothing */
	assert_works(ck_reader_open(&r, &ops, &m, blob.len, &err), &err);
	assert_works(ck_layer_open(&l, &spec, r, cache, NULL, NULL, NULL, &err), &err);
	/* Once: it is fetched again, and nobody notices. */
	m = (struct moody){ &blob, blob.len / 2, 1 };
	uint64_t off = tar.len / 2;
	for (uint64_t at = 0; at < tar.len; at += 65536) {
		size_t n = tar.len - at < sizeof buf ? (size_t)(tar.len - at) : sizeof buf;
		assert_works(ck_layer_pread(l, buf, n, at, &err), &err);
		assert_memory_equal(buf, tar.data + at, n);
	}
	assert_int_equal(m.bad_times, 0);
	/* For good: an error for what depends on it, and no byte of it. */
	m = (struct moody){ &blob, blob.len / 2, 1 << 30 };
	size_t failed = 0, fine = 0;
	for (uint64_t at = 0; at + sizeof buf <= tar.len; at += 65536) {
		memset(buf, 0xee, sizeof buf);
		int rc = ck_layer_pread(l, buf, sizeof buf, at, &err);
		if (rc == 0) {
			assert_memory_equal(buf, tar.data + at, sizeof buf);
			fine++;
			continue;
		}
		assert_fails(rc, -EIO, &err, "chunk tag");
		assert_null(strstr(strstr(err.msg, "layer under test") + 1, "layer under test"));
		assert_memory_equal(buf, none, sizeof buf);
		failed++;
	}
	assert_true(failed > 0 && fine > (pack == pack_zstd ? 0 : failed));
	/* And it heals. */
	m.bad_times = 0;
	for (uint64_t at = off; at + sizeof buf <= tar.len; at += 65536) {
		assert_works(ck_layer_pread(l, buf, sizeof buf, at, &err), &err);
		assert_memory_equal(buf, tar.data + at, sizeof buf);
	}
	/* So does who failed on the way to somewhere else. */
	m.bad_times = 1 << 30;
	off = tar.len - sizeof buf;
	assert_int_equal(ck_layer_pread(l, buf, sizeof buf, off, &err),
			 pack == pack_zstd ? -EIO : 0);
	m.bad_times = 0;
	assert_works(ck_layer_pread(l, buf, sizeof buf, off, &err), &err);
	assert_memory_equal(buf, tar.data + off, sizeof buf);
	ck_layer_close(l);
	ck_unitcache_close(cache);
}

static void test_changed_later(void **state)
{
	(void)state;
	check_changed_later(pack_gzip, 20);
	check_changed_later(pack_zstd, 12); /* what comes after the bad place in a frame is lost */
}

/* A blob that counts what is fetched of it. */
struct counted {
	const struct ck_buf *blob;
	atomic_size_t n_reads, nbytes;
};

static ssize_t counted_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct counted *c = ctx;

	(void)err;
	memcpy(buf, c->blob->data + off, nbytes);
	c->n_reads++;
	c->nbytes += nbytes;
	return (ssize_t)nbytes;
}

/* Opens the layer of BLOB over C. */
static struct ck_layer *open_counted(struct counted *c, const struct ck_buf *blob,
				     const struct ck_layer_spec *spec, struct ck_unitcache *cache)
{
	static const struct ck_reader_ops ops = { .pread = counted_pread };
	struct ck_err err = { 0 };
	struct ck_reader *r = NULL;
	struct ck_layer *l = NULL;

	c->blob = blob;
	assert_works(ck_reader_open(&r, &ops, c, blob->len, &err), &err);
	assert_works(ck_layer_open(&l, spec, r, cache, NULL, NULL, NULL, &err), &err);
	c->n_reads = c->nbytes = 0;
	return l;
}

/* An empty archive, and behind it bytes that compress to about a third. */
static void mk_thin(struct ck_buf *out, size_t nbytes)
{
	static const uint8_t zeros[1024];
	uint64_t seed = 5;

	assert_int_equal(ck_buf_add(out, zeros, sizeof zeros, NULL), 0);
	while (out->len < nbytes) {
		uint64_t r = mk_random(&seed);
		assert_int_equal(ck_buf_add(out, &r, sizeof r, NULL), 0);
		assert_int_equal(ck_buf_add(out, zeros, r % 40, NULL), 0);
	}
}

static void pack_zstd_1m(struct ck_buf *out, const struct ck_buf *tar)
{
	for (size_t off = 0; off < tar->len; off += 1 << 20)
		mk_zstd(out, tar->data + off, tar->len - off < 1 << 20 ? tar->len - off : 1 << 20,
			3);
}

/* Something else of 3 MiB behind the last frame. */
static void pack_zstd_trailer(struct ck_buf *out, const struct ck_buf *tar)
{
	static const uint8_t skippable[] = { 0x5c, 0x2a, 0x4d, 0x18, 0, 0, 0x30, 0 };
	static uint8_t zeros[3 << 20];

	pack_zstd_1m(out, tar);
	assert_int_equal(ck_buf_add(out, skippable, sizeof skippable, NULL), 0);
	assert_int_equal(ck_buf_add(out, zeros, sizeof zeros, NULL), 0);
}

/* What a unit needs comes at once, and its neighbours' bytes no more than chunks demand. */
static void test_fetches(void **state)
{
	static void (*const packs[])(struct ck_buf *,
				     const struct ck_buf *) = { pack_raw, pack_gzip, pack_zstd_1m,
								pack_zstd_trailer };
	CK_BUF tar = { 0 };
	uint8_t buf[65536];
	(void)state;
	mk_thin(&tar, (12 << 20) + 100000);
	for (size_t i = 0; i < N_OF(packs); i++) {
		CK_BUF blob = { 0 };
		struct counted c;
		struct ck_err err = { 0 };
		struct ck_unitcache *cache = NULL;
		struct ck_unitcache_stats s;
		struct ck_blob_key key;
		packs[i](&blob, &tar);
		mk_encrypt(&blob, &key, i);
		struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
		assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
		struct ck_layer *l = open_counted(&c, &blob, &spec, cache);
		for (uint64_t off = 0; off < tar.len; off += sizeof buf) {
			size_t n =
			    tar.len - off < sizeof buf ? (size_t)(tar.len - off) : sizeof buf;
			assert_works(ck_layer_pread(l, buf, n, off, &err), &err);
			assert_memory_equal(buf, tar.data + off, n);
		}
		ck_unitcache_stats(cache, &s);
		if (packs[i] == pack_raw) { /* no units, and no chunk twice */
			assert_int_equal(s.misses, 0);
			assert_int_equal(c.nbytes, blob.len);
			ck_layer_close(l);
			ck_unitcache_close(cache);
			continue;
		}
		assert_true(s.misses >= 11);
		assert_int_equal(c.n_reads, s.misses);
		/* a unit's first and last chunk hold bytes of its neighbours */
		assert_true(c.nbytes <= blob.len + s.misses * CK_TAG_CHUNK -
					    (packs[i] == pack_zstd_trailer ? 2 << 20 : 0));
		ck_layer_close(l);
		ck_unitcache_close(cache);
	}
}

/* What the threads of test_threads share. */
static struct {
	struct ck_layer *layer;
	const struct ck_buf *tar;
} shared;

static void *read_at_random(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	uint8_t *buf = malloc(100000);

	for (int i = 0; i < 60; i++) {
		struct ck_err err = { 0 };
		size_t n = mk_random(&seed) % 100000;
		uint64_t off = mk_random(&seed) % (shared.tar->len - n);
		if (!buf || ck_layer_pread(shared.layer, buf, n, off, &err) < 0 ||
		    memcmp(buf, shared.tar->data + off, n) != 0)
			abort();
	}
	free(buf);
	return NULL;
}

/* Many readers, hardly any cache: cursors are taken, left and moved all the time. */
static void test_threads(void **state)
{
	enum { N_THREADS = 6 };
	static void (*const packs[])(
	    struct ck_buf *, const struct ck_buf *) = { pack_raw, pack_gzip, pack_zstd_frames };
	CK_BUF tar = { 0 };
	(void)state;
	mk_tar(&tar, 8, 12, FILE_LEN);
	for (size_t i = 0; i < sizeof packs / sizeof *packs; i++) {
		CK_BUF blob = { 0 };
		struct ck_blob_key key;
		struct ck_err err = { 0 };
		struct ck_unitcache *cache = NULL;
		pthread_t t[N_THREADS];
		packs[i](&blob, &tar);
		mk_encrypt(&blob, &key, i);
		struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
		shared.tar = &tar;
		assert_works(ck_unitcache_open(&cache, 1 << 20, &err), &err);
		assert_works(open_blob(&shared.layer, &blob, &spec, cache, &err), &err);
		for (size_t k = 0; k < N_THREADS; k++)
			assert_int_equal(
			    pthread_create(&t[k], NULL, read_at_random, (void *)(k + 1)), 0);
		for (size_t k = 0; k < N_THREADS; k++)
			pthread_join(t[k], NULL);
		ck_layer_close(shared.layer);
		ck_unitcache_close(cache);
	}
}

/* Read-ahead. With one thread a pool works in order: what was queued before is then done. */

static sem_t reached;

static void post(void *arg)
{
	sem_post(arg);
}

static void finish_jobs(struct ck_pool *pool)
{
	while (!ck_pool_submit(pool, post, &reached))
		sched_yield();
	while (sem_wait(&reached) < 0)
		;
}

static struct ck_unitcache_stats stats(struct ck_unitcache *cache)
{
	struct ck_unitcache_stats s;

	ck_unitcache_stats(cache, &s);
	return s;
}

static void read_some(struct ck_layer *l, const struct ck_buf *tar, uint64_t off, size_t nbytes)
{
	struct ck_err err = { 0 };
	uint8_t *buf = malloc(nbytes);

	assert_non_null(buf);
	assert_works(ck_layer_pread(l, buf, nbytes, off, &err), &err);
	assert_memory_equal(buf, tar->data + off, nbytes);
	free(buf);
}

enum { UNIT = 512 << 10, N_UNITS = 40 };

/* An empty archive with noise behind it, in N zstd frames of UNIT, which noise fills: so each
 * has a chunk of ciphertext to itself. */
static void make_noise(struct ck_buf *tar, struct ck_buf *blob, size_t n)
{
	uint64_t seed = 5;

	mk_thin(tar, 1024);
	for (uint64_t r; tar->len < n * UNIT;) {
		r = mk_random(&seed);
		assert_int_equal(ck_buf_add(tar, &r, sizeof r, NULL), 0);
	}
	for (size_t i = 0; i < n; i++)
		mk_zstd(blob, tar->data + i * UNIT, UNIT, 1);
}

/* A byte of unit IDX that lies in a chunk of no other; the frames differ by little. */
static uint64_t inside(const struct ck_buf *blob, size_t n, uint64_t idx)
{
	return idx * (blob->len / n) + UNIT / 2 + 5000;
}

/* A layer of 40 units of 512 KiB, encrypted. */
static struct ck_layer *open_40(struct counted *c, struct ck_buf *tar, struct ck_buf *blob,
				struct ck_unitcache *cache)
{
	struct ck_blob_key key;

	make_noise(tar, blob, N_UNITS);
	mk_encrypt(blob, &key, 1);
	struct ck_layer_spec spec = mk_spec(blob, tar, &key);
	return open_counted(c, blob, &spec, cache);
}

static sem_t go_on;

static void wait_at_gate(void *arg)
{
	sem_post(&reached);
	while (sem_wait(arg) < 0)
		;
}

enum { QUEUE = 16 };

/* Where all units are there, reading in order costs the pool nothing. */
static void check_nothing_queued(struct ck_layer *l, const struct ck_buf *tar, struct ck_pool *pool)
{
	assert_true(ck_pool_submit(pool, wait_at_gate, &go_on));
	while (sem_wait(&reached) < 0) /* it is busy then */
		;
	for (uint64_t i = 0; i < N_UNITS; i++)
		read_some(l, tar, i * UNIT, UNIT);
	for (int i = 0; i < QUEUE; i++)
		assert_true(ck_pool_submit(pool, post, &reached));
	sem_post(&go_on);
	for (int i = 0; i < QUEUE; i++)
		while (sem_wait(&reached) < 0)
			;
}

/* Who reads in order finds all but the first three units prepared, and who reads here and
 * there causes nothing to be. */
static void test_readahead_counts(void **state)
{
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_pool *pool = NULL;
	struct counted c;
	bool touched[N_UNITS] = { false };
	uint64_t seed = 3, n_touched = 0;
	(void)state;
	assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
	assert_works(ck_pool_open(&pool, 1, QUEUE, &err), &err);
	struct ck_layer *l = open_40(&c, &tar, &blob, cache);
	ck_layer_readahead(l, pool);
	size_t prepared = 0;
	for (uint64_t i = 0; i < N_UNITS; i++) {
		for (uint64_t k = 0; k < UNIT; k += 16384) {
			uint64_t before = stats(cache).hits; /* of readers: jobs have none */
			read_some(l, &tar, i * UNIT + k, 16384);
			prepared += k == 0 && stats(cache).hits > before;
			finish_jobs(pool);
		}
	}
	print_message("%zu of %d units were prepared\n", prepared, N_UNITS);
	assert_int_equal(prepared, N_UNITS - 3);
	check_nothing_queued(l, &tar, pool);
	assert_int_equal(stats(cache).misses, N_UNITS); /* nothing was made twice */
	assert_true(c.nbytes <= blob.len + N_UNITS * CK_TAG_CHUNK);
	ck_layer_close(l);

	uint64_t before = stats(cache).misses;
	ck_buf_free(&tar);
	ck_buf_free(&blob);
	l = open_40(&c, &tar, &blob, cache);
	ck_layer_readahead(l, pool);
	for (int i = 0; i < 2000; i++) {
		/* Not everywhere: all units at once would hide what is prepared. */
		uint64_t idx = mk_random(&seed) % N_UNITS / 2 * 2;
		n_touched += !touched[idx];
		touched[idx] = true;
		read_some(l, &tar, idx * UNIT + mk_random(&seed) % (UNIT - 4096), 4096);
	}
	finish_jobs(pool);
	assert_int_equal(stats(cache).misses - before, n_touched);
	ck_layer_close(l);
	ck_pool_close(pool);
	ck_unitcache_close(cache);
}

/* Of a read over several units the pool makes all but the first, where they are not there. */
static void test_shared_out(void **state)
{
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_pool *pool = NULL;
	struct counted c;
	(void)state;
	assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
	assert_works(ck_pool_open(&pool, 1, QUEUE, &err), &err);
	struct ck_layer *l = open_40(&c, &tar, &blob, cache);
	ck_layer_readahead(l, pool);
	assert_true(ck_pool_submit(pool, wait_at_gate, &go_on));
	while (sem_wait(&reached) < 0) /* it is busy then */
		;
	read_some(l, &tar, 5 * UNIT + 1, 2 * UNIT);
	read_some(l, &tar, 5 * UNIT + 1, 2 * UNIT); /* all there */
	for (int i = 0; i < QUEUE - 2; i++)
		assert_true(ck_pool_submit(pool, post, &reached));
	assert_false(ck_pool_submit(pool, post, &reached));
	sem_post(&go_on);
	for (int i = 0; i < QUEUE - 2; i++)
		while (sem_wait(&reached) < 0)
			;
	assert_int_equal(stats(cache).misses, 3);
	ck_layer_close(l);
	ck_pool_close(pool);
	ck_unitcache_close(cache);
}

/* A pool with other things to do: the reader goes on alone. */
static void test_readahead_full_queue(void **state)
{
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_pool *pool = NULL;
	struct counted c;
	(void)state;
	assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
	assert_works(ck_pool_open(&pool, 1, 2, &err), &err);
	assert_true(ck_pool_submit(pool, wait_at_gate, &go_on));
	while (sem_wait(&reached) < 0) /* it is busy then */
		;
	struct ck_layer *l = open_40(&c, &tar, &blob, cache);
	ck_layer_readahead(l, pool);
	for (uint64_t i = 0; i < N_UNITS; i++)
		read_some(l, &tar, i * UNIT, UNIT);
	assert_int_equal(stats(cache).misses, N_UNITS);
	sem_post(&go_on);
	finish_jobs(pool); /* the two that found room have nothing left to do */
	assert_true(stats(cache).misses == N_UNITS && stats(cache).hits == 0);
	ck_layer_close(l);
	ck_pool_close(pool);
	ck_unitcache_close(cache);
}

/* A unit that cannot be prepared is no matter until somebody reads it. */
static void test_readahead_fails(void **state)
{
	static const struct ck_reader_ops ops = { .pread = moody_pread };
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_pool *pool = NULL;
	struct ck_layer *l = NULL;
	struct ck_reader *r = NULL;
	struct ck_blob_key key;
	uint8_t buf[4096];
	(void)state;
	make_noise(&tar, &blob, N_UNITS);
	mk_encrypt(&blob, &key, 1);
	struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
	struct moody m = { &blob, 0, 0 };
	assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
	assert_works(ck_pool_open(&pool, 1, 16, &err), &err);
	assert_works(ck_reader_open(&r, &ops, &m, blob.len, &err), &err);
	assert_works(ck_layer_open(&l, &spec, r, cache, NULL, NULL, NULL, &err), &err);
	ck_layer_readahead(l, pool);
	m = (struct moody){ &blob, inside(&blob, N_UNITS, 3),
			    2 }; /* as often as one job reads it */
	for (uint64_t i = 0; i < 3; i++)
		read_some(l, &tar, i * UNIT, UNIT);
	finish_jobs(pool);
	assert_int_equal(m.bad_times, 0);
	assert_int_equal(stats(cache).misses, 4);
	read_some(l, &tar, 3 * UNIT, UNIT);
	assert_int_equal(stats(cache).hits, 0);
	finish_jobs(pool);
	m = (struct moody){ &blob, inside(&blob, N_UNITS, 20), 1 << 30 }; /* for good */
	for (uint64_t i = 4; i < 20; i++) {
		read_some(l, &tar, i * UNIT, UNIT);
		finish_jobs(pool);
	}
	assert_fails(ck_layer_pread(l, buf, sizeof buf, 20 * UNIT, &err), -EIO, &err, "chunk tag");
	read_some(l, &tar, 21 * UNIT, UNIT);
	ck_layer_close(l);
	ck_pool_close(pool);
	ck_unitcache_close(cache);
}

static void *read_in_order(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg, off = mk_random(&seed) % (shared.tar->len / 2);
	size_t n = 30000;
	uint8_t *buf = malloc(n);

	for (; off + n < shared.tar->len; off += n) {
		struct ck_err err = { 0 };
		if (!buf || ck_layer_pread(shared.layer, buf, n, off, &err) < 0 ||
		    memcmp(buf, shared.tar->data + off, n) != 0)
			abort();
	}
	free(buf);
	return NULL;
}

/* Readers of both kinds beside the pool's threads, hardly any cache. Closed while the last
 * units that were asked for are still on their way. */
static void test_readahead_threads(void **state)
{
	enum { N_THREADS = 6 };
	static void (*const packs[])(struct ck_buf *, const struct ck_buf *) = {
		pack_raw, pack_gzip, pack_gzip_members, pack_zstd, pack_zstd_1m
	};
	CK_BUF tar = { 0 };
	struct ck_pool *pool = NULL;
	struct ck_err err = { 0 };
	(void)state;
	mk_tar(&tar, 8, 20, FILE_LEN);
	assert_works(ck_pool_open(&pool, 3, 8, &err), &err);
	for (size_t i = 0; i < N_OF(packs); i++) {
		CK_BUF blob = { 0 };
		struct ck_blob_key key;
		struct ck_unitcache *cache = NULL;
		pthread_t t[N_THREADS];
		packs[i](&blob, &tar);
		mk_encrypt(&blob, &key, i);
		struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
		shared.tar = &tar;
		assert_works(ck_unitcache_open(&cache, 4 << 20, &err), &err);
		assert_works(open_blob(&shared.layer, &blob, &spec, cache, &err), &err);
		ck_layer_readahead(shared.layer, pool);
		for (size_t k = 0; k < N_THREADS; k++)
			assert_int_equal(pthread_create(&t[k], NULL,
							k % 3 ? read_in_order : read_at_random,
							(void *)(k + 1)),
					 0);
		for (size_t k = 0; k < N_THREADS; k++)
			pthread_join(t[k], NULL);
		ck_layer_close(shared.layer);
		ck_unitcache_close(cache);
	}
	ck_pool_close(pool);
}

/* A blob that says how many are reading it. */
struct watched {
	struct counted c;
	atomic_int inside;
};

static ssize_t watched_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct watched *w = ctx;

	atomic_fetch_add(&w->inside, 1);
	ssize_t n = counted_pread(&w->c, buf, nbytes, off, err);
	for (int i = 0; i < 20; i++)
		sched_yield();
	atomic_fetch_sub(&w->inside, 1);
	return n;
}

/* Closing waits for what is being read ahead; afterwards nobody asks for anything. */
static void test_readahead_close(void **state)
{
	static const struct ck_reader_ops ops = { .pread = watched_pread };
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_pool *pool = NULL;
	struct ck_blob_key key;
	size_t ahead = 0;
	(void)state;
	make_noise(&tar, &blob, 12);
	mk_encrypt(&blob, &key, 1);
	struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
	assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
	assert_works(ck_pool_open(&pool, 2, 16, &err), &err);
	for (int i = 0; i < 40; i++) {
		struct watched w = { .c.blob = &blob };
		struct ck_layer *l = NULL;
		struct ck_reader *r = NULL;
		assert_works(ck_reader_open(&r, &ops, &w, blob.len, &err), &err);
		assert_works(ck_layer_open(&l, &spec, r, cache, NULL, NULL, NULL, &err), &err);
		ck_layer_readahead(l, pool);
		for (uint64_t k = 0; k < 6; k++)
			read_some(l, &tar, k * UNIT, 4096 + UNIT / 10 * 9);
		ahead += w.inside != 0;
		ck_layer_close(l);
		assert_int_equal(w.inside, 0);
		size_t n_reads = w.c.n_reads;
		finish_jobs(pool);
		assert_int_equal(w.c.n_reads, n_reads);
	}
	assert_true(ahead > 0);
	ck_pool_close(pool);
	ck_unitcache_close(cache);
}

/* Units of one large zstd frame are made by one decoder that goes on: nobody decodes what
 * comes before them once more, although several threads are at it. */
static void test_readahead_in_a_frame(void **state)
{
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_unitcache *cache = NULL;
	struct ck_pool *pool = NULL;
	struct ck_blob_key key;
	(void)state;
	mk_thin(&tar, 12 << 20);
	pack_zstd(&blob, &tar);
	mk_encrypt(&blob, &key, 1);
	struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
	assert_works(ck_pool_open(&pool, 3, 16, &err), &err);
	for (int i = 0; i < 8; i++) {
		struct counted c;
		assert_works(ck_unitcache_open(&cache, 64 << 20, &err), &err);
		struct ck_layer *l = open_counted(&c, &blob, &spec, cache);
		ck_layer_readahead(l, pool);
		for (uint64_t off = 0; off + 65536 <= tar.len; off += 65536)
			read_some(l, &tar, off, 65536);
		ck_layer_close(l);
		assert_true(c.nbytes <= blob.len + CK_TAG_CHUNK);
		ck_unitcache_close(cache);
	}
	ck_pool_close(pool);
}

/* A blob that, once told so, lets its reader wait until another one has come to the cache; and
 * then for as long as that one needs to do what it should not. */
struct gated {
	struct counted c;
	struct ck_unitcache *cache;
	atomic_bool armed, from_the_start;
};

static ssize_t gated_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct gated *g = ctx;

	if (off == 0)
		g->from_the_start = true;
	if (atomic_exchange(&g->armed, false)) {
		sem_post(&reached);
		while (stats(g->cache).misses < 3)
			sched_yield();
		for (int i = 0; i < 2000; i++)
			sched_yield();
	}
	return counted_pread(&g->c, buf, nbytes, off, err);
}

static void *read_unit(void *arg)
{
	read_some(shared.layer, shared.tar, (uint64_t)(uintptr_t)arg << 20, 1 << 20);
	return NULL;
}

/* Two readers of neighbouring units in one frame: the second waits for the first one's decoder
 * and goes on from there, instead of decoding everything before it. */
static void test_neighbours_in_a_frame(void **state)
{
	static const struct ck_reader_ops ops = { .pread = gated_pread };
	CK_BUF tar = { 0 }, blob = { 0 };
	struct ck_err err = { 0 };
	struct ck_reader *r = NULL;
	struct gated g = { .c.blob = &blob };
	struct ck_blob_key key;
	pthread_t t[2];
	(void)state;
	mk_thin(&tar, 4 << 20);
	pack_zstd(&blob, &tar);
	mk_encrypt(&blob, &key, 1);
	struct ck_layer_spec spec = mk_spec(&blob, &tar, &key);
	assert_works(ck_unitcache_open(&g.cache, 64 << 20, &err), &err);
	assert_works(ck_reader_open(&r, &ops, &g, blob.len, &err), &err);
	assert_works(ck_layer_open(&shared.layer, &spec, r, g.cache, NULL, NULL, NULL, &err), &err);
	shared.tar = &tar;
	(void)read_unit((void *)0);
	g.from_the_start = false;
	g.armed = true;
	assert_int_equal(pthread_create(&t[0], NULL, read_unit, (void *)1), 0);
	while (sem_wait(&reached) < 0) /* the first is at it */
		;
	assert_int_equal(pthread_create(&t[1], NULL, read_unit, (void *)2), 0);
	for (size_t i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_false(g.from_the_start);
	ck_layer_close(shared.layer);
	ck_unitcache_close(g.cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_empty_streams),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_changed_later),
		cmocka_unit_test(test_fetches),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_neighbours_in_a_frame),
		cmocka_unit_test(test_readahead_counts),
		cmocka_unit_test(test_shared_out),
		cmocka_unit_test(test_readahead_full_queue),
		cmocka_unit_test(test_readahead_fails),
		cmocka_unit_test(test_readahead_threads),
		cmocka_unit_test(test_readahead_close),
		cmocka_unit_test(test_readahead_in_a_frame),
	};
	sem_init(&reached, 0, 0);
	sem_init(&go_on, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
