#include "tar/unitmaker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/secret.h"
#include "tar/inflate/decoder.h"

enum { N_IDLE = 4 };

/* What a decoder gets at once: the whole of a unit that comes alone from its point, up to
 * PULL_MAX (libzstd then decompresses straight into the unit); else PULL. KEEP: an idle cursor
 * holds no larger buffer. */
enum { PULL = 256 << 10, PULL_MAX = 4 << 20, KEEP = 1 << 20 };

/* A decoder, and where it stands. */
struct cursor {
	struct ck_unitmaker *maker;
	struct ck_decoder *decoder;
	uint8_t *buf; /* what the decoder is reading */
	size_t cap;
	bool alone;	  /* the unit is the only one of its point */
	uint64_t in_off;  /* next byte to pull */
	uint64_t in_end;  /* the unit needs no more than this, in whole chunks */
	uint32_t point;	  /* it was started at */
	uint64_t out_off; /* it will give next */
	/* While it is at work: it will come to byte to_off, from to_point. */
	uint32_t to_point;
	uint64_t to_off;
	TAILQ_ENTRY(cursor) link;
};

struct ck_unitmaker {
	struct ck_reader *in;
	const struct ck_units *units;
	size_t chunk;
	pthread_mutex_t lock;
	pthread_cond_t put;	      /* a cursor is no longer at work */
	struct cursor *idle[N_IDLE];  /* NULL: none */
	TAILQ_HEAD(, cursor) at_work; /* each by one thread */
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

/* Gives the decoder the next bytes, in whole chunks: to take a part of one would be to check
 * it twice. */
static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct cursor *c = ctx;
	size_t skip = (size_t)(c->in_off % c->maker->chunk);
	uint64_t len = ck_reader_len(c->maker->in), from = c->in_off - skip, end = from + PULL;

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
		rc = ck_reader_pread(c->maker->in, c->buf, (size_t)(end - from), from, err);
	if (rc < 0)
		return rc;
	*p = c->buf + skip;
	*nbytes = (size_t)(end - c->in_off);
	c->in_off = end;
	return 0;
}

static struct cursor *cursor_new(struct ck_unitmaker *m, struct ck_err *err)
{
	struct cursor *c = calloc(1, sizeof *c);

	if (!c) {
		(void)ck_nomem(err, "reading a layer");
		return NULL;
	}
	c->maker = m;
	c->point = UINT32_MAX;
	if (ck_decoder_open(&c->decoder, m->units->compression, pull, c, NULL, err) < 0) {
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

/* The idle cursor nearest before unit U, else any idle one: its place; N_IDLE: none. */
static size_t best_idle(const struct ck_unitmaker *m, const struct ck_unit_start *u)
{
	size_t best = N_IDLE;

	for (size_t i = 0; i < N_IDLE; i++) {
		const struct cursor *c = m->idle[i], *b = best < N_IDLE ? m->idle[best] : NULL;
		if (!c)
			continue;
		if (!b || (leads_to(c, u) && (!leads_to(b, u) || c->out_off > b->out_off)))
			best = i;
	}
	return best;
}

/* Whether a cursor at work will stand right before unit U, which is not where a point is. To
 * wait for it takes less than to come there from the point. */
static bool awaited(const struct ck_unitmaker *m, const struct ck_unit_start *u)
{
	const struct cursor *c;

	TAILQ_FOREACH(c, &m->at_work, link)
	if (c->to_point == u->point && c->to_off == u->out_off &&
	    m->units->points[u->point].out_off != u->out_off)
		return true;
	return false;
}

/* A cursor for unit IDX, which is at work from now on. */
static struct cursor *cursor_take(struct ck_unitmaker *m, uint32_t idx, struct ck_err *err)
{
	const struct ck_unit_start *u = &m->units->units[idx];
	struct cursor *c = NULL;

	pthread_mutex_lock(&m->lock);
	while (awaited(m, u))
		pthread_cond_wait(&m->put, &m->lock);
	size_t i = best_idle(m, u);
	if (i < N_IDLE) {
		c = m->idle[i];
		m->idle[i] = NULL;
	} else {
		c = cursor_new(m, err); /* some 100 us, once for each thread */
	}
	if (c) {
		c->to_point = u->point;
		c->to_off = ck_units_end(m->units, idx);
		TAILQ_INSERT_TAIL(&m->at_work, c, link);
	}
	pthread_mutex_unlock(&m->lock);
	return c;
}

/* Ends C's work; after a failure its state is anyone's guess. */
static void cursor_put(struct ck_unitmaker *m, struct cursor *c, bool failed)
{
	if (c->alone && c->cap > KEEP) /* it goes on elsewhere, whatever comes next */
		cursor_drop_buf(c);
	pthread_mutex_lock(&m->lock);
	TAILQ_REMOVE(&m->at_work, c, link);
	for (size_t i = 0; c && !failed && i < N_IDLE; i++) {
		if (!m->idle[i]) {
			m->idle[i] = c;
			c = NULL;
		}
	}
	pthread_cond_broadcast(&m->put);
	pthread_mutex_unlock(&m->lock);
	cursor_free(c);
}

/* What unit IDX needs at most of the stream. */
static uint64_t in_end(const struct ck_unitmaker *m, uint32_t idx, bool alone)
{
	const struct ck_units *u = m->units;
	uint64_t end = ck_units_in_end(u, idx), len = ck_units_end(u, idx) - u->units[idx].out_off;
	/* Behind the last unit something else may follow: an index, a seek table. Nothing that
	 * is compressed grows by more than this. */
	uint64_t most = u->points[u->units[idx].point].in_off + len + len / 128 + m->chunk;

	if (alone && end > most)
		end = most;
	return end + (m->chunk - end % m->chunk) % m->chunk;
}

/* Moves C to unit IDX: from where it is, or from the unit's point. */
static int cursor_seek(struct cursor *c, uint32_t idx, uint8_t *scratch, size_t scratch_len,
		       struct ck_err *err)
{
	const struct ck_units *u = c->maker->units;
	const struct ck_unit_start *start = &u->units[idx];

	c->alone = ck_units_alone(u, idx);
	c->in_end = in_end(c->maker, idx, c->alone);
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

int ck_unitmaker_make(struct ck_unitmaker *m, uint32_t idx, uint8_t *buf, size_t nbytes,
		      struct ck_err *err)
{
	struct cursor *c = cursor_take(m, idx, err);
	size_t got = 0;

	if (!c)
		return -ENOMEM;
	int rc = cursor_seek(c, idx, buf, nbytes, err); /* buf is free to be scratch */
	if (rc == 0)
		rc = ck_decoder_read(c->decoder, buf, nbytes, &got, err);
	c->out_off += got;
	if (rc == 0 && got < nbytes)
		rc = ck_fail(err, -EIO, "the stream ends inside its unit %u", idx);
	cursor_put(m, c, rc < 0);
	return rc;
}

int ck_unitmaker_open(struct ck_unitmaker **out, struct ck_reader *in, const struct ck_units *units,
		      size_t chunk, struct ck_err *err)
{
	struct ck_unitmaker *m = calloc(1, sizeof *m);

	if (!m)
		return ck_nomem(err, "opening a layer");
	m->in = in;
	m->units = units;
	m->chunk = chunk;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->put, NULL);
	TAILQ_INIT(&m->at_work);
	*out = m;
	return 0;
}

void ck_unitmaker_close(struct ck_unitmaker *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < N_IDLE; i++)
		cursor_free(m->idle[i]);
	pthread_cond_destroy(&m->put);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
