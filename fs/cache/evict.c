#include "fs/cache/evict.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
	HALF = 1 << 16,
	WORDS = 512,
	SLACK = 64 << 10, /* of a file, for its map and the filesystem's own */
};

/* Who comes first: the least. */
struct order {
	uint32_t now;
	uint64_t *bytes;	 /* HALF of them: last used in each */
	uint32_t high;		 /* which upper half is counted by the lower one; HALF: the upper */
	uint32_t cutoff;	 /* all before it goes, and of it ... */
	uint64_t at_cutoff;	 /* ... so many bytes */
	bool no_punch;		 /* it was tried in vain */
	uint64_t dropped, freed; /* bytes of blocks, and what the disk got back for them */
};

/* The later the greater. */
static uint32_t key(const struct order *o, uint32_t used)
{
	return CK_TICKS_OLDEST - ck_ticks_age(o->now, used);
}

static uint32_t small_key(const struct order *o, const struct ck_place_entry *e)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	time_t age = now.tv_sec - e->mtime.tv_sec; /* may be too long for ticks */
	if (age < -60 || age >= CK_TICKS_OLDEST / CK_TICKS)
		return 0;
	return key(o, ck_cache_ticks(&e->mtime));
}

bool ck_evict_is_blob(const struct ck_place_entry *e)
{
	return strcmp(e->name.kind, CK_PLACE_BLOBS) == 0;
}

int ck_evict_blob(struct ck_blobcache *c, const struct ck_place_entry *e, struct ck_blobfile *f,
		  int *fd)
{
	uint8_t digest[CK_SHA256_LEN];
	CK_AUTO(ck_closep) int got = -1;

	if (!ck_evict_is_blob(e) || !ck_unhex(digest, sizeof digest, e->name.hex))
		return -EINVAL;
	got = ck_place_file(&c->place, &e->name, true, false);
	if (got == -EROFS || got == -EACCES)
		got = ck_place_file(&c->place, &e->name, false, false);
	if (got < 0)
		return got;
	if (!ck_blobfile_identify(f, got, digest))
		return -EBADMSG;
	*fd = ck_take_fd(&got);
	return 0;
}

static uint64_t block_disk(const struct ck_blobfile *f, uint64_t idx)
{
	return (ck_blobfile_len(f, idx) + CK_CACHE_DISK_UNIT - 1) / CK_CACHE_DISK_UNIT *
	       CK_CACHE_DISK_UNIT;
}

static void count(struct order *o, uint32_t k, uint64_t nbytes)
{
	if (o->high == HALF)
		o->bytes[k >> 16] += nbytes;
	else if (k >> 16 == o->high)
		o->bytes[k & (HALF - 1)] += nbytes;
}

static void count_entry(struct ck_blobcache *c, struct order *o, const struct ck_place_entry *e)
{
	struct ck_blobfile_word w[WORDS];
	struct ck_blobfile f;
	CK_AUTO(ck_closep) int fd = -1;

	if (!ck_evict_is_blob(e)) {
		count(o, small_key(o, e), e->disk);
		return;
	}
	if (ck_evict_blob(c, e, &f, &fd) < 0)
		return;
	for (uint64_t at = 0; at < f.n_blocks; at += WORDS) {
		size_t n = f.n_blocks - at < WORDS ? (size_t)(f.n_blocks - at) : WORDS;
		ck_blobfile_words(&f, fd, at, n, w);
		for (size_t i = 0; i < n; i++)
			if (w[i].sum)
				count(o, key(o, w[i].used), block_disk(&f, at + i));
	}
}

/* Which half NEED bytes from the oldest on end in; what of them lies in it is left in *NEED. */
static uint32_t reach(const struct order *o, uint64_t *need)
{
	uint32_t i = 0;

	while (i < HALF - 1 && o->bytes[i] < *need)
		*need -= o->bytes[i++];
	return i;
}

static void find_cutoff(struct ck_blobcache *c, struct order *o, const struct ck_place_list *l,
			uint64_t need)
{
	memset(o->bytes, 0, HALF * sizeof *o->bytes);
	o->high = HALF;
	for (size_t i = 0; i < l->n; i++)
		count_entry(c, o, &l->v[i]);
	uint32_t high = reach(o, &need);
	memset(o->bytes, 0, HALF * sizeof *o->bytes);
	o->high = high;
	for (size_t i = 0; i < l->n; i++)
		count_entry(c, o, &l->v[i]);
	o->cutoff = high << 16 | reach(o, &need);
	o->at_cutoff = need;
}

static bool goes(struct order *o, uint32_t k, uint64_t nbytes)
{
	if (k != o->cutoff)
		return k < o->cutoff;
	bool yes = o->at_cutoff > 0;
	o->at_cutoff -= nbytes < o->at_cutoff ? nbytes : o->at_cutoff;
	return yes;
}

static uint64_t disk_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static int drop_run(struct order *o, const struct ck_blobfile *f, int fd, uint64_t end, uint64_t *n)
{
	uint64_t dropped = 0, before = *n ? disk_of(fd) : 0;
	int rc = *n ? ck_blobfile_drop(f, fd, end - *n, *n, true, &dropped) : 0;

	if (dropped) {
		uint64_t after = disk_of(fd);
		o->dropped += dropped * CK_CACHE_BLOCK;
		o->freed += before > after ? before - after : 0;
	}
	o->no_punch |= rc == -EOPNOTSUPP;
	*n = 0;
	return rc;
}

/* Drops what goes, run by run. Returns how many blocks stay. */
static uint64_t drop_old(struct order *o, const struct ck_blobfile *f, int fd)
{
	struct ck_blobfile_word w[WORDS];
	uint64_t stay = 0, run = 0;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < f->n_blocks; at += WORDS) {
		size_t n = f->n_blocks - at < WORDS ? (size_t)(f->n_blocks - at) : WORDS;
		ck_blobfile_words(f, fd, at, n, w);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			if (w[i].sum && goes(o, key(o, w[i].used), block_disk(f, at + i))) {
				run++;
				continue;
			}
			stay += w[i].sum != 0;
			rc = drop_run(o, f, fd, at + i, &run);
		}
	}
	if (rc == 0)
		rc = drop_run(o, f, fd, f->n_blocks, &run);
	return rc < 0 ? f->n_blocks : stay;
}

/* What processes left that were killed over it must not cost what is of use. */
static bool sweep(struct ck_blobcache *c, const struct ck_place_entry *e)
{
	struct ck_blobfile f;
	uint64_t nbytes;
	CK_AUTO(ck_closep) int fd = -1;

	if (!ck_evict_is_blob(e) || ck_evict_blob(c, e, &f, &fd) < 0)
		return false;
	uint64_t there = ck_blobfile_there(&f, fd, &nbytes);
	if (e->disk <= there * CK_CACHE_BLOCK + f.n_blocks * 8 + SLACK)
		return false;
	return ck_blobfile_sweep(&f, fd) == 0;
}

static void evict_from(struct ck_blobcache *c, struct order *o, const struct ck_place_entry *e)
{
	struct ck_blobfile f;
	CK_AUTO(ck_closep) int fd = -1;

	if (!ck_evict_is_blob(e)) {
		if (goes(o, small_key(o, e), e->disk))
			ck_place_remove(&c->place, &e->name);
		return;
	}
	int rc = ck_evict_blob(c, e, &f, &fd);
	/* Damaged, or cut by somebody: no use to those who have it open, either. */
	if (rc == -EBADMSG)
		ck_place_remove(&c->place, &e->name);
	if (rc < 0)
		return;
	if (drop_old(o, &f, fd) == 0)
		(void)ck_place_remove_unused(&c->place, &e->name, fd);
}

/* Where parts cannot be given back: whole files, by their newest block. */
struct whole {
	const struct ck_place_entry *e;
	uint32_t key;
};

static int older_first(const void *a, const void *b)
{
	uint32_t x = ((const struct whole *)a)->key, y = ((const struct whole *)b)->key;

	return (x > y) - (x < y);
}

static uint32_t newest(struct ck_blobcache *c, const struct order *o,
		       const struct ck_place_entry *e)
{
	struct ck_blobfile_word w[WORDS];
	struct ck_blobfile f;
	CK_AUTO(ck_closep) int fd = -1;
	uint32_t last = 0;

	if (!ck_evict_is_blob(e))
		return small_key(o, e);
	if (ck_evict_blob(c, e, &f, &fd) < 0)
		return 0;
	for (uint64_t at = 0; at < f.n_blocks; at += WORDS) {
		size_t n = f.n_blocks - at < WORDS ? (size_t)(f.n_blocks - at) : WORDS;
		ck_blobfile_words(&f, fd, at, n, w);
		for (size_t i = 0; i < n; i++)
			if (w[i].sum && key(o, w[i].used) > last)
				last = key(o, w[i].used);
	}
	return last;
}

static void evict_whole(struct ck_blobcache *c, const struct ck_place_entry *e)
{
	struct ck_blobfile f;
	CK_AUTO(ck_closep) int fd = -1;

	int rc = ck_evict_blob(c, e, &f, &fd);
	if (rc == -EBADMSG || rc == -EINVAL)
		ck_place_remove(&c->place, &e->name);
	else if (rc == 0 && !ck_place_remove_unused(&c->place, &e->name, fd))
		(void)ck_blobfile_format(&f, fd); /* those who have it open find nothing */
}

static int evict_files(struct ck_blobcache *c, const struct order *o, const struct ck_place_list *l,
		       uint64_t need)
{
	CK_AUTO(ck_freep) struct whole *v = calloc(l->n + 1, sizeof *v);

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		v[i] = (struct whole){ &l->v[i], newest(c, o, &l->v[i]) };
	qsort(v, l->n, sizeof *v, older_first);
	for (size_t i = 0; i < l->n && need; i++) {
		evict_whole(c, v[i].e);
		need -= v[i].e->disk < need ? v[i].e->disk : need;
	}
	return 0;
}

static int list_anew(struct ck_blobcache *c, struct ck_place_list *l)
{
	ck_place_list_free(l);
	return ck_place_list(&c->place, l);
}

/* Blocks, the oldest first, as far as holes can be punched. */
static int evict_blocks(struct ck_blobcache *c, struct order *o, struct ck_place_list *list,
			uint64_t goal)
{
	bool swept = false;
	int rc = 0;

	for (size_t i = 0; i < list->n; i++)
		swept |= sweep(c, &list->v[i]);
	if (swept)
		rc = list_anew(c, list);
	if (rc < 0 || list->disk <= goal)
		return rc;
	find_cutoff(c, o, list, list->disk - goal);
	for (size_t i = 0; i < list->n && !o->no_punch; i++)
		evict_from(c, o, &list->v[i]);
	c->no_punch = o->no_punch;
	/* Where only larger holes than ours can be, they gave nothing back. */
	o->no_punch |= o->freed < o->dropped / 4;
	return list_anew(c, list);
}

int ck_evict(struct ck_blobcache *c, struct ck_place_list *list, uint64_t goal)
{
	struct order o = { .now = ck_cache_now(), .no_punch = c->no_punch };
	CK_AUTO(ck_freep) void *bytes = calloc(HALF, sizeof *o.bytes);
	int rc = list_anew(c, list);

	if (!bytes)
		return -ENOMEM;
	o.bytes = bytes;
	/* Again, because holes make the filesystem's own records of a file longer. */
	for (int tries = 0; rc == 0 && list->disk > goal && !o.no_punch && tries < 3; tries++)
		rc = evict_blocks(c, &o, list, goal);
	if (rc == 0 && list->disk > goal && o.no_punch) {
		rc = evict_files(c, &o, list, list->disk - goal);
		if (rc == 0)
			rc = list_anew(c, list);
	}
	return rc;
}

int ck_evict_unused(struct ck_blobcache *c, struct ck_place_list *list)
{
	int rc = list_anew(c, list);

	for (size_t i = 0; rc == 0 && i < list->n; i++) {
		struct ck_blobfile f;
		CK_AUTO(ck_closep) int fd = -1;
		int got = ck_evict_blob(c, &list->v[i], &f, &fd);
		if (got == 0)
			(void)ck_place_remove_unused(&c->place, &list->v[i].name, fd);
		else if (got == -EBADMSG || got == -EINVAL)
			ck_place_remove(&c->place, &list->v[i].name);
	}
	return rc < 0 ? rc : list_anew(c, list);
}
