#include "tar/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct ck_feed {
	struct ck_pipe *pipe; /* from whoever takes in to the reader */
	atomic_uint_fast64_t through;
	pthread_mutex_t turn; /* held while taking in, and of what follows */
	struct ck_intake *intake;
	ck_feed_tap *tap;
	void *tap_ctx;
	bool ended;
	int code; /* how taking in ended */
	struct ck_err err;
};

int ck_feed_open(struct ck_feed **out, const struct ck_layer_spec *spec, struct ck_reader *blob,
		 struct ck_tags *tags, size_t n_blocks, ck_feed_tap *tap, void *tap_ctx,
		 struct ck_err *err)
{
	CK_AUTO(ck_feed_closep) struct ck_feed *f = calloc(1, sizeof *f);

	if (!f)
		return ck_nomem(err, "reading a blob");
	pthread_mutex_init(&f->turn, NULL);
	f->tap = tap;
	f->tap_ctx = tap_ctx;
	int rc = ck_pipe_open(&f->pipe, n_blocks, CK_INTAKE_BLOCK, err);
	if (rc == 0)
		rc = ck_intake_open(&f->intake, spec, blob, tags, err);
	if (rc == 0)
		*out = ck_take(f);
	return rc;
}

void ck_feed_close(struct ck_feed *f)
{
	if (!f)
		return;
	ck_pipe_close(f->pipe);
	ck_intake_close(f->intake);
	pthread_mutex_destroy(&f->turn);
	free(f);
}

uint64_t ck_feed_through(const struct ck_feed *f)
{
	return atomic_load(&f->through);
}

/* Takes in one block, for which there is room, or ends the feed. With the turn. */
static bool take_in(struct ck_feed *f)
{
	struct ck_block *b = ck_pipe_blank(f->pipe);

	f->code = ck_intake_next(f->intake, b->data, &b->len, &f->err);
	if (f->code == 0 && b->len && f->tap)
		f->code = f->tap(f->tap_ctx, b->data, b->len, &f->err);
	if (f->code == 0 && b->len) {
		atomic_store(&f->through, ck_intake_through(f->intake));
		ck_pipe_push(f->pipe, b);
		return true;
	}
	f->ended = true;
	ck_pipe_done(f->pipe, b);
	ck_pipe_end(f->pipe);
	return false;
}

bool ck_feed_ahead(struct ck_feed *f)
{
	if (pthread_mutex_trylock(&f->turn) != 0)
		return false;
	bool more = !f->ended && ck_pipe_room(f->pipe) && take_in(f);
	pthread_mutex_unlock(&f->turn);
	return more;
}

struct ck_block *ck_feed_take(struct ck_feed *f)
{
	if (!ck_pipe_ready(f->pipe)) {
		pthread_mutex_lock(&f->turn);
		/* Unless somebody took in while we waited for the turn. There is room: nothing is
		 * full, and the reader has none. */
		if (!ck_pipe_ready(f->pipe))
			(void)take_in(f);
		pthread_mutex_unlock(&f->turn);
	}
	return ck_pipe_pop(f->pipe);
}

void ck_feed_done(struct ck_feed *f, struct ck_block *b)
{
	ck_pipe_done(f->pipe, b);
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
