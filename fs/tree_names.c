#include "fs/tree_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint32_t hash(const struct ck_names *t, uint32_t dir, const char *bytes, size_t len)
{
	uint64_t h = mix(t->key[0] ^ dir, t->key[1] ^ len), w;

	for (; len >= sizeof w; bytes += sizeof w, len -= sizeof w) {
		memcpy(&w, bytes, sizeof w);
		h = mix(h ^ w, t->key[1]);
	}
	w = 0;
	memcpy(&w, bytes, len);
	h = mix(h ^ w, t->key[1]);
	return (uint32_t)(h ^ h >> 32);
}

static void enter(struct ck_names *t, uint32_t h, uint32_t idx)
{
	size_t mask = t->n_buckets - 1, at = h & mask;

	while (t->buckets[at])
		at = (at + 1) & mask;
	t->buckets[at] = (uint64_t)h << 32 | idx;
}

/* Doubles the table; the hashes are kept in it. */
static int grow_buckets(struct ck_names *t, size_t n_buckets, struct ck_err *err)
{
	uint64_t *old = t->buckets;
	size_t n_old = t->n_buckets;

	t->buckets = calloc(n_buckets, sizeof *t->buckets);
	if (!t->buckets) {
		t->buckets = old;
		return ck_nomem(err, "merging the layers' trees");
	}
	t->n_buckets = n_buckets;
	for (size_t i = 0; i < n_old; i++)
		if (old[i])
			enter(t, (uint32_t)(old[i] >> 32), (uint32_t)old[i]);
	free(old);
	return 0;
}

static int grow_all(struct ck_names *t, size_t cap, struct ck_err *err)
{
	struct ck_name *all = reallocarray(t->all, cap, sizeof *all);

	if (!all)
		return ck_nomem(err, "merging the layers' trees");
	t->all = all;
	t->cap = cap;
	return 0;
}

int ck_names_init(struct ck_names *t, size_t hint, struct ck_err *err)
{
	size_t n_buckets = 1024;

	*t = (struct ck_names){ 0 };
	if (getrandom(t->key, sizeof t->key, 0) != sizeof t->key)
		return ck_fail(err, -errno, "cannot get random bytes: %s", strerror(errno));
	t->key[1] |= 1;
	while (n_buckets / 2 < hint)
		n_buckets *= 2;
	int rc = grow_all(t, hint + 64, err);
	if (rc == 0)
		rc = grow_buckets(t, n_buckets, err);
	if (rc < 0)
		return rc;
	t->all[0] = (struct ck_name){ .bytes = "" };
	t->n = 1;
	return 0;
}

void ck_names_free(struct ck_names *t)
{
	free(t->all);
	free(t->buckets);
	*t = (struct ck_names){ 0 };
}

uint32_t ck_names_find(const struct ck_names *t, uint32_t dir, const char *bytes, size_t len)
{
	uint32_t h = hash(t, dir, bytes, len);
	size_t mask = t->n_buckets - 1;

	for (size_t at = h & mask; t->buckets[at]; at = (at + 1) & mask) {
		if (t->buckets[at] >> 32 != h)
			continue;
		uint32_t idx = (uint32_t)t->buckets[at];
		const struct ck_name *n = &t->all[idx];
		if (n->dir == dir && n->len == len && memcmp(n->bytes, bytes, len) == 0)
			return idx;
	}
	return 0;
}

int ck_names_add(struct ck_names *t, const struct ck_name *name, uint32_t *out, struct ck_err *err)
{
	int rc = 0;

	if (t->n == UINT32_MAX)
		return ck_fail(err, -EFBIG, "the tree would pass 2^32 names");
	if (t->n == t->cap)
		rc = grow_all(t, t->cap * 2, err);
	if (rc == 0 && t->n > t->n_buckets / 4 * 3)
		rc = grow_buckets(t, t->n_buckets * 2, err);
	if (rc < 0)
		return rc;
	*out = (uint32_t)t->n++;
	t->all[*out] = *name;
	enter(t, hash(t, name->dir, name->bytes, name->len), *out);
	return 0;
}
