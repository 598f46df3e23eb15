#include "tar/layer.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "tar/embedded.h"
#include "tar/inflate/decoder.h"
#include "tar/pass.h"
#include "tar/plain.h"
#include "tar/sealed.h"
#include "tar/sealedblob.h"

/* Decoders kept for the next read; a sequential reader of a large zstd frame goes on
 * where it was. */
enum { N_IDLE = 4 };

/* What a decoder gets at once: the whole of a unit that comes alone from its point, up to
 * PULL_MAX (libzstd then decompresses straight into the unit); else PULL. KEEP: an idle cursor
 * holds no larger buffer. */
enum { PULL = 4 * CK_TAG_CHUNK, PULL_MAX = 4 << 20, KEEP = 1 << 20 };

/* A decoder over the layer's compressed plaintext, and where it stands. */
struct cursor {
	struct ck_layer *layer;
	struct ck_decoder *decoder;
	uint8_t *buf; /* what the decoder is reading */
	size_t cap;
	bool alone;	  /* the unit is the only one of its point */
	uint64_t in_off;  /* next byte to pull */
	uint64_t in_end;  /* the unit needs no more than this, in whole chunks */
	uint32_t point;	  /* it was started at */
	uint64_t out_off; /* it will give next */
};

struct ck_layer {
	char *name;
	struct ck_reader *blob;	 /* owned */
	struct ck_blob_key *key; /* in secret memory; NULL: plain */
	struct ck_pass_result what;
	struct ck_reader *plain;
	struct ck_unitcache *cache; /* borrowed */
	pthread_mutex_t lock;
	struct cursor *idle[N_IDLE]; /* NULL: none */
};

static void cursor_drop_buf(struct cursor *c)
{
	if (c->buf)
		ck_wipe(c->buf, c->cap);
	free(c->buf);
	c->buf = NULL;
	c->cap = 0;
}

static void cursor_free(struct cursor *c)
{
	if (!c)
		return;
	ck_decoder_close(c->decoder);
	cursor_drop_buf(c);
	free(c);
}

/* Makes room for NBYTES; what was there the decoder has read. */
static int cursor_room(struct cursor *c, size_t nbytes, struct ck_err *err)
{
	if (nbytes <= c->cap && c->cap <= KEEP)
		return 0;
	cursor_drop_buf(c);
	size_t cap = (nbytes + PULL - 1) / PULL * PULL;
	c->buf = malloc(cap);
	if (!c->buf)
		return ck_nomem(err, "reading a layer");
	c->cap = cap;
	return 0;
}

/* Gives the decoder the next bytes, in whole chunks of the blob: a chunk is checked whole, so
 * taking a part of one would check it twice. */
static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct cursor *c = ctx;
	size_t skip = (size_t)(c->in_off % CK_TAG_CHUNK);
	uint64_t len = ck_reader_len(c->layer->plain), from = c->in_off - skip, end = from + PULL;

	if (c->in_off < c->in_end && c->in_end - from <= (c->alone ? PULL_MAX : PULL))
		end = c->in_end; /* a unit entered behind its point may pass it */
	if (end > len)
		end = len;
	*p = c->buf;
	*nbytes = 0;
	if (c->in_off >= end)
		return 0;
	int rc = cursor_room(c, (size_t)(end - from), err);
	if (rc == 0)
		rc = ck_reader_pread(c->layer->plain, c->buf, (size_t)(end - from), from, err);
	if (rc < 0)
		return rc;
	*p = c->buf + skip;
	*nbytes = (size_t)(end - c->in_off);
	c->in_off = end;
	return 0;
}

static struct cursor *cursor_new(struct ck_layer *l, struct ck_err *err)
{
	struct cursor *c = calloc(1, sizeof *c);

	if (!c) {
		(void)ck_nomem(err, "reading a layer");
		return NULL;
	}
	c->layer = l;
	c->point = UINT32_MAX;
	if (ck_decoder_open(&c->decoder, l->what.units.compression, pull, c, NULL, err) < 0) {
		cursor_free(c);
		return NULL;
	}
	return c;
}

/* Whether C, left where it is, comes to unit U without starting again. */
static bool leads_to(const struct cursor *c, const struct ck_unit_start *u)
{
	return c->point == u->point && c->out_off <= u->out_off;
}

/* The idle cursor nearest before unit U, else any idle one, else a new one. */
static struct cursor *cursor_take(struct ck_layer *l, const struct ck_unit_start *u,
				  struct ck_err *err)
{
	size_t best = N_IDLE;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < N_IDLE; i++) {
		struct cursor *c = l->idle[i], *b = best < N_IDLE ? l->idle[best] : NULL;
		if (!c)
			continue;
		if (!b || (leads_to(c, u) && (!leads_to(b, u) || c->out_off > b->out_off)))
			best = i;
	}
	struct cursor *c = best < N_IDLE ? l->idle[best] : NULL;
	if (c)
		l->idle[best] = NULL;
	pthread_mutex_unlock(&l->lock);
	return c ? c : cursor_new(l, err);
}

static void cursor_put(struct ck_layer *l, struct cursor *c)
{
	if (c->alone && c->cap > KEEP) /* it goes on elsewhere, whatever comes next */
		cursor_drop_buf(c);
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; c && i < N_IDLE; i++) {
		if (!l->idle[i]) {
			l->idle[i] = c;
			c = NULL;
		}
	}
	pthread_mutex_unlock(&l->lock);
	cursor_free(c);
}

/* Moves C to unit IDX: from where it is, or from the unit's point. */
static int cursor_seek(struct cursor *c, uint32_t idx, uint8_t *scratch, size_t scratch_len,
		       struct ck_err *err)
{
	const struct ck_units *u = &c->layer->what.units;
	const struct ck_unit_start *start = &u->units[idx];
	uint64_t in_end = ck_units_in_end(u, idx);

	c->in_end = in_end + (CK_TAG_CHUNK - in_end % CK_TAG_CHUNK) % CK_TAG_CHUNK;
	c->alone = ck_units_alone(u, idx);
	if (!leads_to(c, start)) {
		c->in_off = u->points[start->point].in_off;
		int rc = ck_decoder_restart(c->decoder, u, start->point, err);
		if (rc < 0)
			return rc;
		c->point = start->point;
		c->out_off = u->points[start->point].out_off;
	}
	while (c->out_off < start->out_off) {
		uint64_t left = start->out_off - c->out_off;
		size_t got, n = left < scratch_len ? (size_t)left : scratch_len;
		int rc = ck_decoder_read(c->decoder, scratch, n, &got, err);
		if (rc < 0)
			return rc;
		if (got < n)
			return ck_fail(err, -EIO, "the stream ends before its unit %u", idx);
		c->out_off += got;
	}
	return 0;
}

/* Decompresses unit IDX into BUF: the cache's fill function. */
static int fill(void *owner, uint32_t idx, uint8_t *buf, size_t nbytes, struct ck_err *err)
{
	struct ck_layer *l = owner;
	struct cursor *c = cursor_take(l, &l->what.units.units[idx], err);
	size_t got = 0;

	if (!c)
		return -ENOMEM;
	int rc = cursor_seek(c, idx, buf, nbytes, err); /* buf is free to be scratch */
	if (rc == 0)
		rc = ck_decoder_read(c->decoder, buf, nbytes, &got, err);
	c->out_off += got;
	if (rc == 0 && got < nbytes)
		rc = ck_fail(err, -EIO, "the stream ends inside its unit %u", idx);
	if (rc < 0) {
		cursor_free(c); /* its state is anyone's guess */
		/* What was verified once cannot be malformed: it changed, or we are wrong. */
		return rc == -ENOMEM ? rc : (ck_wrap(err, "%s", l->name), -EIO);
	}
	cursor_put(l, c);
	return 0;
}

int ck_layer_pread(struct ck_layer *l, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct ck_units *u = &l->what.units;
	uint8_t *at = buf;

	if (off > u->len || nbytes > u->len - off)
		return ck_fail(err, -EINVAL,
			       "%s: read of %zu bytes at %" PRIu64 " is outside its %" PRIu64,
			       l->name, nbytes, off, u->len);
	for (size_t left = nbytes; left;) {
		uint32_t idx = ck_units_find(u, off);
		uint64_t start = u->units[idx].out_off, end = ck_units_end(u, idx);
		struct ck_unit *unit;
		const uint8_t *data;
		int rc = ck_unitcache_get(l->cache, l, idx, (size_t)(end - start), fill, &unit,
					  &data, err);
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

/* The index that an earlier pass sealed, from STORE. 0 with l->what set, or -ENOENT. */
static int load_index(struct ck_layer *l, const struct ck_layer_spec *spec, uint64_t blob_len,
		      const struct ck_index_store *store)
{
	CK_BUF sealed = { .max = CK_SEALED_MAX };
	char digest[CK_DIGEST_STR];
	struct ck_err err = { 0 };

	ck_digest_str(digest, spec->digest);
	int rc = store->load(store->ctx, digest, &sealed, &err);
	if (rc == 0)
		rc = ck_sealed_read(&l->what, spec, blob_len, sealed.data, sealed.len, &err);
	if (rc < 0 && rc != -ENOENT)
		ck_log(CK_LOG_WARNING, "%s: a kept index of it is not used: %s", l->name, err.msg);
	return rc < 0 ? -ENOENT : 0;
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

/* From any place that has an index which opens. Errors: -ENOENT. */
static int load_any(struct ck_layer *l, const struct ck_layer_spec *spec, uint64_t blob_len,
		    const struct ck_index_store *store)
{
	if (spec->full || !spec->key) /* without a key nothing vouches for an index */
		return -ENOENT;
	if (l->plain && load_embedded(l, spec) == 0)
		return 0;
	for (; store; store = store->next)
		if (load_index(l, spec, blob_len, store) == 0)
			return 0;
	return -ENOENT;
}

/* In the first store that keeps any. */
static void save_index(const struct ck_layer *l, const struct ck_layer_spec *spec,
		       uint64_t blob_len, const struct ck_index_store *store)
{
	CK_BUF sealed = { .max = CK_SEALED_MAX };
	char digest[CK_DIGEST_STR];
	struct ck_err err = { 0 };

	while (store && !store->save)
		store = store->next;
	if (!store || !spec->key)
		return;
	ck_digest_str(digest, spec->digest);
	int rc = ck_sealed_write(&sealed, &l->what, spec, blob_len, &err);
	if (rc == 0)
		rc = store->save(store->ctx, digest, sealed.data, sealed.len, &err);
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
	int rc = ck_pass_run(&l->what, spec, blob, NULL, progress, progress_ctx, err);
	if (rc == 0 && spec->full && l->plain)
		rc = ck_embedded_compare(l->plain, spec->index_off, spec->diff_id, &l->what.index,
					 err);
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
	l->cache = cache;
	int rc = copy_spec(l, spec, err);
	if (rc == 0 && is_sealed(spec))
		rc = ck_sealedblob_open(&l->plain, blob, l->key, spec->media_type, l->name, err);
	if (rc == 0)
		rc = find_out(l, spec, blob, store, progress, progress_ctx, err);
	if (rc == 0 && !l->plain)
		rc = ck_plain_open(&l->plain, blob, l->key, &l->what.tags, l->name, err);
	if (rc < 0)
		return ck_wrap(err, "%s", spec->name);
	l->blob = blob;
	*out = ck_take(l);
	return 0;
}

void ck_layer_close(struct ck_layer *l)
{
	if (!l)
		return;
	ck_unitcache_drop(l->cache, l);
	for (size_t i = 0; i < N_IDLE; i++)
		cursor_free(l->idle[i]);
	ck_reader_close(l->plain);
	ck_pass_result_free(&l->what);
	ck_reader_close(l->blob);
	ck_secret_dealloc(l->key, sizeof *l->key);
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
