#include "tar/layer.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "tar/blobranges.h"
#include "tar/embedded.h"
#include "tar/inflate/decoder.h"
#include "tar/pass.h"
#include "tar/plain.h"
#include "tar/readahead.h"
#include "tar/sealed.h"
#include "tar/sealedblob.h"
#include "tar/unitmaker.h"
#include "tar/windowblob.h"

struct ck_layer {
	char *name;
	struct ck_reader *blob;	 /* owned */
	struct ck_blob_key *key; /* in secret memory; NULL: plain */
	struct ck_pass_result what;
	struct ck_windowblob *windows; /* NULL: they are in WHAT, or there are none */
	enum ck_layer_proof proof;
	struct ck_reader *plain;
	struct ck_unitmaker *maker;
	struct ck_unitcache *cache; /* borrowed */
	/* Read-ahead; none without POOL, which is borrowed. */
	struct ck_pool *pool;
	struct ck_readahead ahead;
	pthread_mutex_t lock;
	pthread_cond_t done;
	TAILQ_HEAD(, job) jobs; /* queued or running */
	bool closing;
};

/* What was verified once cannot be malformed: it changed, or we are wrong. */
static int read_failed(const struct ck_layer *l, int rc, struct ck_err *err)
{
	return rc == -ENOMEM ? rc : (ck_wrap(err, "%s", l->name), -EIO);
}

/* Says that the units FIRST .. END-1 will be read: at once what would else be asked for unit by
 * unit, and a unit's window before its bytes, which is slow where blobs are far away. */
static void advise(const struct ck_layer *l, uint32_t first, uint32_t end)
{
	const struct ck_units *u = &l->what.units;
	uint64_t from = u->points[u->units[first].point].in_off;

	ck_reader_advise(l->plain, from, ck_units_in_end(u, end - 1) - from);
	if (l->windows)
		ck_windowblob_advise(l->windows, u, u->units[first].point, u->units[end - 1].point);
}

/* Decompresses unit IDX into BUF: the cache's fill function. */
static int fill(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes, struct ck_err *err)
{
	const struct ck_layer *l = owner;

	if (l->windows)
		advise(l, idx, idx + 1);
	int rc = ck_unitmaker_make(l->maker, idx, buf, nbytes, err);

	return rc < 0 ? read_failed(l, rc, err) : 0;
}

static int get_unit(struct ck_layer *l, uint32_t idx, struct ck_unit **unit, const uint8_t **data,
		    struct ck_err *err)
{
	const struct ck_units *u = &l->what.units;
	size_t nbytes = (size_t)(ck_units_end(u, idx) - u->units[idx].out_off);

	return ck_unitcache_get(l->cache, l, idx, nbytes, fill, unit, data, err);
}

/* Units to be prepared, one after the other. */
struct job {
	struct ck_layer *l;
	uint32_t next, end; /* END may grow meanwhile */
	TAILQ_ENTRY(job) link;
};

static void job_end(struct job *j)
{
	TAILQ_REMOVE(&j->l->jobs, j, link);
	pthread_cond_broadcast(&j->l->done);
	free(j);
}

/* Whether nothing is left to do for unit IDX. When others follow it from the same point, it is
 * waited for, lest they be begun before it. */
static bool done_alone(const struct ck_layer *l, uint32_t idx)
{
	return ck_units_alone(&l->what.units, idx) && ck_unitcache_has(l->cache, l, idx);
}

/* On a thread of the pool. What fails here fails again for the reader, who then tells. */
static void prepare(void *arg)
{
	struct job *j = arg;
	struct ck_layer *l = j->l;

	pthread_mutex_lock(&l->lock);
	while (j->next < j->end && !l->closing) {
		uint32_t idx = j->next++;
		struct ck_unit *unit;
		const uint8_t *data;
		pthread_mutex_unlock(&l->lock);
		if (!done_alone(l, idx) && get_unit(l, idx, &unit, &data, NULL) == 0)
			ck_unitcache_put(l->cache, unit);
		pthread_mutex_lock(&l->lock);
	}
	job_end(j);
	pthread_mutex_unlock(&l->lock); /* the last that is done with the layer */
}

/* Whether a job goes on to END: units between two points are made one after the other, by one
 * decoder. */
static bool extend_job(struct ck_layer *l, uint32_t first, uint32_t end)
{
	const struct ck_units *u = &l->what.units;
	struct job *j;

	if (u->units[first].point != u->units[first - 1].point)
		return false;
	TAILQ_FOREACH(j, &l->jobs, link)
	{
		if (j->end == first) {
			j->end = end;
			return true;
		}
	}
	return false;
}

/* Has the units FIRST .. END-1 prepared; not where the queue is full. */
static void submit(struct ck_layer *l, uint32_t first, uint32_t end)
{
	pthread_mutex_lock(&l->lock);
	if (!extend_job(l, first, end)) {
		struct job *j = malloc(sizeof *j);
		if (j) {
			*j = (struct job){ .l = l, .next = first, .end = end };
			TAILQ_INSERT_TAIL(&l->jobs, j, link);
			if (!ck_pool_submit(l->pool, prepare, j))
				job_end(j);
		}
	}
	pthread_mutex_unlock(&l->lock);
}

/* Has the later units of a read of NBYTES at OFF made while the reader makes the first: those
 * that no decoder is led to by an earlier one. */
static void share_out(struct ck_layer *l, uint64_t off, size_t nbytes)
{
	const struct ck_units *u = &l->what.units;

	if (!l->pool || nbytes == 0)
		return;
	uint32_t idx = ck_units_find(u, off), last = ck_units_find(u, off + nbytes - 1);
	if (last > idx)
		advise(l, idx, last + 1);
	while (++idx < u->n_units && u->units[idx].out_off < off + nbytes)
		if (ck_units_alone(u, idx) && !ck_unitcache_has(l->cache, l, idx))
			submit(l, idx, idx + 1);
}

/* Has prepared what will be wanted after a read of NBYTES at OFF; what comes from one point
 * together. */
static void look_ahead(struct ck_layer *l, uint64_t off, size_t nbytes)
{
	const struct ck_units *u = &l->what.units;
	uint32_t first, n;

	if (!l->pool || nbytes == 0)
		return;
	ck_readahead_note(&l->ahead, off, nbytes, &first, &n);
	if (n)
		advise(l, first, first + n);
	for (uint32_t end; n; n -= end - first, first = end) {
		end = first + 1;
		while (end - first < n && u->units[end].point == u->units[first].point)
			end++;
		if (!done_alone(l, first))
			submit(l, first, end);
	}
}

void ck_layer_advise(struct ck_layer *l, uint64_t off, size_t nbytes)
{
	const struct ck_units *u = &l->what.units;

	if (nbytes == 0 || off >= u->len || nbytes > u->len - off)
		return;
	if (u->compression == CK_COMPRESSION_NONE)
		ck_reader_advise(l->plain, off, nbytes);
	else
		advise(l, ck_units_find(u, off), ck_units_find(u, off + nbytes - 1) + 1);
}

int ck_layer_pread(struct ck_layer *l, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct ck_units *u = &l->what.units;
	uint8_t *at = buf;

	if (off > u->len || nbytes > u->len - off)
		return ck_fail(err, -EINVAL,
			       "%s: read of %zu bytes at %" PRIu64 " is outside its %" PRIu64,
			       l->name, nbytes, off, u->len);
	/* Without compression a chunk is made as fast as it is copied: no unit is kept of it. */
	if (u->compression == CK_COMPRESSION_NONE) {
		int rc = ck_reader_pread(l->plain, buf, nbytes, off, err);
		return rc < 0 ? (memset(buf, 0, nbytes), read_failed(l, rc, err)) : 0;
	}
	share_out(l, off, nbytes);
	for (size_t left = nbytes; left;) {
		uint32_t idx = ck_units_find(u, off);
		uint64_t start = u->units[idx].out_off, end = ck_units_end(u, idx);
		struct ck_unit *unit;
		const uint8_t *data;
		int rc = get_unit(l, idx, &unit, &data, err);
		if (rc < 0) {
			/* All or nothing: what was copied so far is taken back. */
			memset(buf, 0, nbytes);
			return rc;
		}
		size_t n = end - off < left ? (size_t)(end - off) : left;
		memcpy(at, data + (off - start), n);
		ck_unitcache_put(l->cache, unit);
		at += n;
		off += n;
		left -= n;
	}
	/* Not before: a job could take the decoder that leads to what is wanted now. */
	look_ahead(l, off - nbytes, nbytes);
	return 0;
}

static int copy_spec(struct ck_layer *l, const struct ck_layer_spec *spec, struct ck_err *err)
{
	l->name = strdup(spec->name);
	if (!l->name)
		return ck_nomem(err, "opening a layer");
	if (!spec->key)
		return 0;
	l->key = ck_secret_alloc(sizeof *l->key);
	if (!l->key)
		return ck_nomem(err, "in the arena for keys");
	*l->key = *spec->key;
	return 0;
}

static bool is_sealed(const struct ck_layer_spec *spec)
{
	return spec->key && spec->key->cipher == CK_CIPHER_CHUNKED;
}

/* No honest index is larger, whatever a stranger puts in its place: one of a tar of nothing
 * but names has some 200 bytes for each 512. */
static size_t index_max(uint64_t blob_len)
{
	uint64_t max = (64 << 20) + 4 * (blob_len < CK_SEALED_MAX ? blob_len : CK_SEALED_MAX);

	return max < CK_SEALED_MAX ? (size_t)max : CK_SEALED_MAX;
}

/* In the first of the stores that keeps any, unless it came FROM there (NULL: from none). */
static void keep_index(const struct ck_layer *l, const char *digest, const struct ck_buf *sealed,
		       const struct ck_index_store *store, const struct ck_index_store *from)
{
	struct ck_err err = { 0 };

	while (store && !store->save)
		store = store->next;
	if (!store || store == from)
		return;
	if (store->save(store->ctx, digest, sealed->data, sealed->len, NULL, &err) < 0)
		ck_log(CK_LOG_WARNING, "%s: its index cannot be kept: %s", l->name, err.msg);
}

/* The windows of the index that l->what is, where they are apart: in the first of the STORES that
 * has them. The index may have been kept for a layer of another repository, or come with a layout
 * that is not given this time: then it is of no use. */
static int open_windows(struct ck_layer *l, const struct ck_index_store *stores, struct ck_err *err)
{
	const struct ck_windows_apart *a = &l->what.apart;
	struct ck_reader *blob = NULL;
	int rc = ck_fail(err, -ENOENT, "nothing leads to them");

	if (!a->len)
		return 0;
	for (const struct ck_index_store *s = stores; s && rc < 0; s = s->next)
		if (s->blob)
			rc = s->blob(s->ctx, a->digest, a->len, &blob, err);
	if (rc == 0)
		rc = ck_windowblob_open(&l->windows, blob, a, l->name, err);
	if (rc < 0) {
		ck_reader_close(blob);
		return ck_wrap(err, "its decompression windows");
	}
	l->what.units.store = ck_windowblob_store(l->windows);
	return 0;
}

/* The index that an earlier pass sealed, from STORE, which is one of ALL: the first that keeps any
 * has it the next time. 0 with l->what set, or -ENOENT. */
static int load_index(struct ck_layer *l, const struct ck_layer_spec *spec, uint64_t blob_len,
		      const struct ck_index_store *store, const struct ck_index_store *all)
{
	CK_BUF sealed = { .max = index_max(blob_len) };
	char digest[CK_DIGEST_STR];
	struct ck_err err = { 0 };

	ck_digest_str(digest, spec->digest);
	int rc = store->load(store->ctx, digest, &sealed, &err);
	if (rc == -ENOENT)
		return rc;
	if (rc == 0)
		rc = ck_sealed_read(&l->what, spec, blob_len, sealed.data, sealed.len, &err);
	if (rc == 0 && (rc = open_windows(l, all, &err)) < 0)
		ck_pass_result_free(&l->what);
	if (rc < 0) {
		ck_log(CK_LOG_WARNING, "%s: a kept index of it is not used: %s", l->name, err.msg);
		return -ENOENT;
	}
	keep_index(l, digest, &sealed, all, store);
	return 0;
}

/* The index in the layer itself. 0 with l->what set, or -ENOENT. */
static int load_embedded(struct ck_layer *l, const struct ck_layer_spec *spec)
{
	struct ck_err err = { 0 };
	int rc = ck_embedded_read(&l->what, l->plain, spec->index_off, spec->diff_id, &err);

	if (rc < 0 && rc != -ENOENT)
		ck_log(CK_LOG_WARNING, "%s: its own index is not used: %s", l->name, err.msg);
	return rc < 0 ? -ENOENT : 0;
}

/* From any place that has an index which opens; l->proof says where. Errors: -ENOENT. */
static int load_any(struct ck_layer *l, const struct ck_layer_spec *spec, uint64_t blob_len,
		    const struct ck_index_store *store)
{
	if (spec->full || !spec->key) /* without a key nothing vouches for an index */
		return -ENOENT;
	l->proof = CK_LAYER_OWN_INDEX;
	if (l->plain && load_embedded(l, spec) == 0)
		return 0;
	l->proof = CK_LAYER_KEPT_INDEX;
	for (const struct ck_index_store *s = store; s; s = s->next)
		if (load_index(l, spec, blob_len, s, store) == 0)
			return 0;
	return -ENOENT;
}

/* What a pass found out, for the first store that keeps any. */
static void save_index(const struct ck_layer *l, const struct ck_layer_spec *spec,
		       uint64_t blob_len, const struct ck_index_store *store)
{
	CK_BUF sealed = { .max = CK_SEALED_MAX };
	CK_BUF windows = { .max = CK_SEALED_MAX };
	char digest[CK_DIGEST_STR];
	struct ck_err err = { 0 };

	while (store && !store->save)
		store = store->next;
	if (!store || !spec->key)
		return;
	ck_digest_str(digest, spec->digest);
	struct ck_buf *apart = store->apart ? &windows : NULL;
	int rc = ck_sealed_write(&sealed, apart, &l->what, spec, blob_len, &err);
	if (rc == 0)
		rc = store->save(store->ctx, digest, sealed.data, sealed.len, apart, &err);
	if (rc < 0)
		ck_log(CK_LOG_WARNING, "%s: its index cannot be kept: %s", l->name, err.msg);
}

/* What there is to know of the layer: from an index, else by the pass. */
static int find_out(struct ck_layer *l, const struct ck_layer_spec *spec, struct ck_reader *blob,
		    const struct ck_index_store *store, ck_progress_fn *progress,
		    void *progress_ctx, struct ck_err *err)
{
	uint64_t blob_len = ck_reader_len(blob);

	if (load_any(l, spec, blob_len, store) == 0)
		return 0;
	l->proof = CK_LAYER_IN_FULL;
	int rc = ck_pass_run(&l->what, spec, blob, NULL, progress, progress_ctx, err);
	/* Only all of it proves anything: what was wrong may have been a copy of it. */
	if (rc == -EBADMSG && ck_reader_refetch(blob, 0, blob_len)) {
		ck_log(CK_LOG_WARNING, "%s: %s; fetching it again", l->name, err->msg);
		rc = ck_pass_run(&l->what, spec, blob, NULL, progress, progress_ctx, err);
		if (rc == -EBADMSG)
			(void)ck_reader_refetch(blob, 0, blob_len);
	}
	if (rc == 0 && spec->full && l->plain)
		rc = ck_embedded_compare(l->plain, spec->index_off, spec->diff_id, &l->what, err);
	if (rc == 0)
		save_index(l, spec, blob_len, store);
	return rc;
}

int ck_layer_open(struct ck_layer **out, const struct ck_layer_spec *spec, struct ck_reader *blob,
		  struct ck_unitcache *cache, const struct ck_index_store *store,
		  ck_progress_fn *progress, void *progress_ctx, struct ck_err *err)
{
	CK_AUTO(ck_layer_closep) struct ck_layer *l = calloc(1, sizeof *l);

	if (!l)
		return ck_nomem(err, "opening a layer");
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->done, NULL);
	TAILQ_INIT(&l->jobs);
	l->cache = cache;
	int rc = copy_spec(l, spec, err);
	if (rc == 0 && is_sealed(spec))
		rc = ck_sealedblob_open(&l->plain, blob, l->key, spec->media_type, l->name, err);
	if (rc == 0)
		rc = find_out(l, spec, blob, store, progress, progress_ctx, err);
	if (rc == 0 && !l->plain)
		rc = ck_plain_open(&l->plain, blob, l->key, &l->what.tags, l->name, err);
	/* Its reads cost whole chunks of either kind. */
	if (rc == 0)
		rc = ck_unitmaker_open(&l->maker, l->plain, &l->what.units,
				       is_sealed(spec) ? CK_CHUNK : CK_TAG_CHUNK, err);
	if (rc < 0)
		return ck_wrap(err, "%s", spec->name);
	l->blob = blob;
	*out = ck_take(l);
	return 0;
}

void ck_layer_readahead(struct ck_layer *l, struct ck_pool *pool)
{
	if (!pool || l->pool || l->what.units.n_units == 0)
		return;
	ck_readahead_init(&l->ahead, &l->what.units);
	l->pool = pool;
}

/* Until no job knows of the layer. */
static void end_readahead(struct ck_layer *l)
{
	pthread_mutex_lock(&l->lock);
	l->closing = true;
	while (!TAILQ_EMPTY(&l->jobs))
		pthread_cond_wait(&l->done, &l->lock);
	pthread_mutex_unlock(&l->lock);
	if (l->pool)
		ck_readahead_destroy(&l->ahead);
}

void ck_layer_close(struct ck_layer *l)
{
	if (!l)
		return;
	end_readahead(l);
	ck_unitcache_drop(l->cache, l);
	ck_unitmaker_close(l->maker);
	ck_windowblob_close(l->windows);
	ck_reader_close(l->plain);
	ck_pass_result_free(&l->what);
	ck_reader_close(l->blob);
	ck_secret_dealloc(l->key, sizeof *l->key);
	pthread_cond_destroy(&l->done);
	pthread_mutex_destroy(&l->lock);
	free(l->name);
	free(l);
}

const struct ck_index *ck_layer_index(const struct ck_layer *l)
{
	return &l->what.index;
}

const char *ck_layer_compression(const struct ck_layer *l)
{
	return ck_compression_name(l->what.units.compression);
}

uint64_t ck_layer_len(const struct ck_layer *l)
{
	return l->what.units.len;
}

bool ck_layer_sealed(const struct ck_layer *l)
{
	return l->key && l->key->cipher == CK_CIPHER_CHUNKED;
}

enum ck_layer_proof ck_layer_proof(const struct ck_layer *l)
{
	return l->proof;
}

int ck_layer_prefetch(const struct ck_layer *l, bool all, struct ck_range **out, size_t *n,
		      struct ck_err *err)
{
	const struct ck_blobranges_spec spec = { .units = &l->what.units,
						 .blob_len = ck_reader_len(l->blob),
						 .sealed = ck_layer_sealed(l),
						 .tar = l->what.index.prefetch,
						 .n_tar = l->what.index.n_prefetch,
						 .all = all };

	return ck_blobranges(out, n, &spec, err);
}

const uint8_t *ck_layer_windows(const struct ck_layer *l, uint64_t *len)
{
	*len = l->what.apart.len;
	return l->windows ? l->what.apart.digest : NULL;
}

int ck_layer_prefetch_windows(const struct ck_layer *l, struct ck_range **out, size_t *n,
			      struct ck_err *err)
{
	const struct ck_units *u = &l->what.units;
	const struct ck_index *x = &l->what.index;
	struct ck_range *r = calloc(x->n_prefetch + 1, sizeof *r);

	*n = 0;
	if (!r)
		return ck_nomem(err, "prefetching");
	for (size_t i = 0; l->windows && i < x->n_prefetch; i++) {
		const struct ck_range *t = &x->prefetch[i];
		uint32_t first = ck_units_find(u, t->off);
		uint32_t last = ck_units_find(u, t->off + t->len - 1);
		r[*n] = ck_windowblob_range(u, u->units[first].point, u->units[last].point);
		*n += r[*n].len > 0;
	}
	*out = r;
	return 0;
}

uint64_t ck_layer_fetched(const struct ck_layer *l)
{
	return ck_reader_n_read(l->blob);
}

uint64_t ck_layer_n_wrong(const struct ck_layer *l)
{
	return ck_reader_n_wrong(l->blob) + (l->windows ? ck_windowblob_n_wrong(l->windows) : 0);
}
