#include "tar/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/secret.h"

struct ck_feed {
	pthread_mutex_t turn; /* held while taking in */
	struct ck_intake *intake;
	ck_feed_tap *tap;
	void *tap_ctx;
	int code; /* how taking in ended */
	struct ck_err err;

	pthread_mutex_t lock; /* of what follows; never held across work */
	struct ck_block *blank;
	struct ck_block *full, **full_tail;
	atomic_bool ended;
	atomic_uint_fast64_t through;

	size_t n_blocks;
	struct ck_block blocks[];
};

int ck_feed_open(struct ck_feed **out, const struct ck_layer_spec *spec, struct ck_reader *blob,
		 struct ck_tags *tags, size_t n_blocks, ck_feed_tap *tap, void *tap_ctx,
		 struct ck_err *err)
{
	CK_AUTO(ck_feed_closep)
	struct ck_feed *f = calloc(1, sizeof *f + n_blocks * sizeof f->blocks[0]);

	if (!f)
		return ck_nomem(err, "reading a blob");
	pthread_mutex_init(&f->turn, NULL);
	pthread_mutex_init(&f->lock, NULL);
	f->tap = tap;
	f->tap_ctx = tap_ctx;
	f->full_tail = &f->full;
	f->n_blocks = n_blocks;
	for (size_t i = 0; i < n_blocks; i++) {
		struct ck_block *b = &f->blocks[i];
		b->data = malloc(CK_INTAKE_BLOCK);
		if (!b->data)
			return ck_nomem(err, "reading a blob");
		b->next = f->blank;
		f->blank = b;
	}
	int rc = ck_intake_open(&f->intake, spec, blob, tags, err);
	if (rc == 0)
		*out = ck_take(f);
	return rc;
}

void ck_feed_close(struct ck_feed *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_blocks; i++) {
		if (f->blocks[i].data)
			ck_wipe(f->blocks[i].data, CK_INTAKE_BLOCK);
		free(f->blocks[i].data);
	}
	ck_intake_close(f->intake);
	pthread_mutex_destroy(&f->lock);
	pthread_mutex_destroy(&f->turn);
	free(f);
}

uint64_t ck_feed_through(const struct ck_feed *f)
{
	return atomic_load(&f->through);
}

static struct ck_block *pop_full(struct ck_feed *f)
{
	pthread_mutex_lock(&f->lock);
	struct ck_block *b = f->full;
	if (b && !(f->full = b->next))
		f->full_tail = &f->full;
	pthread_mutex_unlock(&f->lock);
	return b;
}

static struct ck_block *pop_blank(struct ck_feed *f)
{
	pthread_mutex_lock(&f->lock);
	struct ck_block *b = f->blank;
	if (b)
		f->blank = b->next;
	pthread_mutex_unlock(&f->lock);
	return b;
}

static void push_full(struct ck_feed *f, struct ck_block *b)
{
	pthread_mutex_lock(&f->lock);
	b->next = NULL;
	*f->full_tail = b;
	f->full_tail = &b->next;
	pthread_mutex_unlock(&f->lock);
}

void ck_feed_done(struct ck_feed *f, struct ck_block *b)
{
	pthread_mutex_lock(&f->lock);
	b->next = f->blank;
	f->blank = b;
	pthread_mutex_unlock(&f->lock);
}

/* Fills B, which is whole then and not the last; else the feed has ended. With the turn. */
static bool take_in(struct ck_feed *f, struct ck_block *b)
{
	f->code = ck_intake_next(f->intake, b->data, &b->len, &f->err);
	if (f->code == 0 && b->len && f->tap)
		f->code = f->tap(f->tap_ctx, b->data, b->len, &f->err);
	if (f->code == 0 && b->len) {
		atomic_store(&f->through, ck_intake_through(f->intake));
		return true;
	}
	atomic_store(&f->ended, true);
	return false;
}

bool ck_feed_ahead(struct ck_feed *f)
{
	if (atomic_load(&f->ended) || pthread_mutex_trylock(&f->turn) != 0)
		return false;
	struct ck_block *b = atomic_load(&f->ended) ? NULL : pop_blank(f);
	bool more = b && take_in(f, b);
	if (more)
		push_full(f, b);
	else if (b)
		ck_feed_done(f, b);
	pthread_mutex_unlock(&f->turn);
	return more;
}

struct ck_block *ck_feed_take(struct ck_feed *f)
{
	struct ck_block *b = pop_full(f);

	if (b)
		return b;
	pthread_mutex_lock(&f->turn);
	b = pop_full(f); /* somebody took in while we waited for the turn */
	if (!b && !atomic_load(&f->ended)) {
		b = pop_blank(f); /* none is full, none is being filled, and the reader has none */
		if (!take_in(f, b)) {
			ck_feed_done(f, b);
			b = NULL;
		}
	}
	pthread_mutex_unlock(&f->turn);
	return b;
}

int ck_feed_finish(struct ck_feed *f, struct ck_err *err)
{
	struct ck_block *b;

	while ((b = ck_feed_take(f)))
		ck_feed_done(f, b);
	if (f->code == 0)
		return ck_intake_verdict(f->intake, err);
	if (err)
		*err = f->err;
	return f->code;
}
