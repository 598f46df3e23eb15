#include "fs/cache/survey.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "fs/cache/evict.h"
#include "fs/cache/inside.h"

enum { WORDS = 512 };

uint64_t ck_blobcache_limit(const struct ck_blobcache *c)
{
	return c->limit;
}

static int list(struct ck_place_list *l, struct ck_blobcache *c, struct ck_err *err)
{
	int rc = ck_place_list(&c->place, l);

	return rc < 0 ? ck_fail(err, rc, "cannot list the cache: %s", strerror(-rc)) : 0;
}

static void read_map(struct ck_cache_item *it, const struct ck_blobfile *f, int fd)
{
	struct ck_blobfile_word w[WORDS];
	uint32_t now = ck_cache_now(), age = CK_TICKS_OLDEST;

	for (uint64_t at = 0; at < f->n_blocks; at += WORDS) {
		size_t n = f->n_blocks - at < WORDS ? (size_t)(f->n_blocks - at) : WORDS;
		ck_blobfile_words(f, fd, at, n, w);
		for (size_t i = 0; i < n; i++) {
			if (!w[i].sum)
				continue;
			it->there += ck_blobfile_len(f, at + i);
			uint32_t a = ck_ticks_age(now, w[i].used);
			age = a < age ? a : age;
		}
	}
	it->used = age < CK_TICKS_OLDEST ? (uint64_t)time(NULL) - age / CK_TICKS : 0;
}

/* False: it went meanwhile. */
static bool describe(struct ck_cache_item *it, struct ck_blobcache *c,
		     const struct ck_place_entry *e)
{
	struct ck_blobfile f;
	CK_AUTO(ck_closep) int fd = -1;

	*it = (struct ck_cache_item){ .size = e->len, .disk = e->disk };
	memcpy(it->kind, e->name.kind, sizeof it->kind);
	if (!ck_unhex(it->digest, sizeof it->digest, e->name.hex))
		return false;
	it->blob = ck_evict_is_blob(e);
	if (!it->blob) {
		it->there = e->len;
		it->used = (uint64_t)e->mtime.tv_sec;
		return true;
	}
	int rc = ck_evict_blob(c, e, &f, &fd);
	if (rc == 0) {
		it->size = f.size;
		read_map(it, &f, fd);
	}
	it->damaged = rc < 0;
	return rc != -ENOENT;
}

static int by_kind(const void *a, const void *b)
{
	const struct ck_cache_item *x = a, *y = b;
	int by = strcmp(x->kind, y->kind);

	if (by)
		return by;
	return x->used != y->used ? (x->used < y->used) - (x->used > y->used)
				  : memcmp(x->digest, y->digest, sizeof x->digest);
}

int ck_blobcache_list(struct ck_cache_items *out, struct ck_blobcache *c, struct ck_err *err)
{
	struct ck_place_list l = { 0 };

	*out = (struct ck_cache_items){ 0 };
	int rc = list(&l, c, err);
	if (rc == 0) {
		out->v = calloc(l.n + 1, sizeof *out->v);
		out->disk = l.disk;
		rc = out->v ? 0 : ck_nomem(err, "listing the cache");
	}
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		out->n += describe(&out->v[out->n], c, &l.v[i]);
	if (rc == 0)
		qsort(out->v, out->n, sizeof *out->v, by_kind);
	ck_place_list_free(&l);
	return rc;
}

void ck_cache_items_free(struct ck_cache_items *l)
{
	free(l->v);
	*l = (struct ck_cache_items){ 0 };
}

int ck_blobcache_prune(struct ck_cache_pruned *out, struct ck_blobcache *c, uint64_t goal, bool all,
		       struct ck_err *err)
{
	struct ck_place_list l = { 0 };
	CK_AUTO(ck_closep) int lock = -1;
	int rc = ck_place_lock(&c->place, true, &lock);

	if (rc < 0)
		return ck_fail(err, rc, "cannot lock the cache: %s", strerror(-rc));
	rc = list(&l, c, err);
	out->before = l.disk;
	if (rc == 0) {
		rc = all ? ck_evict_unused(c, &l) : ck_evict(c, &l, goal);
		if (rc < 0)
			(void)ck_fail(err, rc, "cannot make room in the cache: %s", strerror(-rc));
	}
	out->after = l.disk;
	ck_place_list_free(&l);
	return rc;
}

/* Checks a blob's blocks, and its digest where all of them are there. */
static int verify_blocks(struct ck_cache_verdict *v, const struct ck_blobfile *f, int fd,
			 EVP_MD_CTX *md, struct ck_err *err)
{
	CK_AUTO(ck_freep) uint8_t *buf = malloc(CK_CACHE_BLOCK);
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct ck_blobfile_word w;
	uint64_t dropped = 0;
	bool whole = f->n_blocks > 0;

	if (!buf || !md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
		return ck_nomem(err, "checking a blob");
	for (uint64_t i = 0; i < f->n_blocks; i++) {
		enum ck_block is = ck_blobfile_read(f, fd, i, buf, &w);
		whole &= is == CK_BLOCK_GOOD;
		v->blocks += is != CK_BLOCK_ABSENT;
		v->bad_blocks += is == CK_BLOCK_WRONG;
		if (is == CK_BLOCK_WRONG)
			(void)ck_blobfile_drop(f, fd, i, 1, true, &dropped);
		if (whole && !EVP_DigestUpdate(md, buf, ck_blobfile_len(f, i)))
			return ck_fail(err, -EIO, "SHA-256 failed");
	}
	if (!whole)
		return 0;
	if (!EVP_DigestFinal_ex(md, digest, NULL))
		return ck_fail(err, -EIO, "SHA-256 failed");
	v->whole++;
	if (memcmp(digest, f->digest, sizeof f->digest) == 0)
		return 0;
	v->bad_blobs++;
	(void)ck_blobfile_drop(f, fd, 0, f->n_blocks, true, &dropped);
	return 0;
}

static int verify_blob(struct ck_cache_verdict *v, struct ck_blobcache *c,
		       const struct ck_place_entry *e, struct ck_err *err)
{
	struct ck_blobfile f;
	CK_AUTO(ck_closep) int fd = -1;
	int rc = ck_evict_blob(c, e, &f, &fd);

	if (rc == -ENOENT)
		return 0;
	v->blobs++;
	if (rc == -EBADMSG) {
		v->bad_blobs++;
		ck_place_remove(&c->place, &e->name);
		return 0;
	}
	if (rc < 0)
		return ck_fail(err, rc, "cannot open blob sha256:%s in the cache: %s", e->name.hex,
			       strerror(-rc));
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	rc = verify_blocks(v, &f, fd, md, err);
	EVP_MD_CTX_free(md);
	return rc;
}

static int verify_small(struct ck_cache_verdict *v, struct ck_blobcache *c,
			const struct ck_place_entry *e, struct ck_err *err)
{
	uint8_t digest[CK_SHA256_LEN], is[CK_SHA256_LEN];
	CK_BUF buf = { 0 };

	if (strcmp(e->name.kind, CK_CACHE_INDEX) == 0) {
		v->unchecked++;
		return 0;
	}
	if (!ck_unhex(digest, sizeof digest, e->name.hex))
		return 0;
	int rc = ck_cache_load(c, e->name.kind, digest, false, &buf, err);
	if (rc == -ENOENT)
		return 0;
	if (rc == -ENOMEM)
		return rc;
	v->files++;
	ck_sha256(is, buf.data, buf.len);
	if (rc < 0 || memcmp(is, digest, sizeof is) != 0) {
		v->bad_files++;
		ck_place_remove(&c->place, &e->name);
	}
	return 0;
}

int ck_blobcache_verify(struct ck_cache_verdict *out, struct ck_blobcache *c, struct ck_err *err)
{
	struct ck_place_list l = { 0 };
	int rc = list(&l, c, err);

	*out = (struct ck_cache_verdict){ 0 };
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		rc = ck_evict_is_blob(&l.v[i]) ? verify_blob(out, c, &l.v[i], err)
					       : verify_small(out, c, &l.v[i], err);
	ck_place_list_free(&l);
	return rc;
}
