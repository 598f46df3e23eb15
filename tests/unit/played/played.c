#include "tests/unit/played/played.h"

#include <errno.h>
#include <sched.h>

#include "tests/unit/lib/make.h"

const char *ck_registry_host(const struct ck_registry *r)
{
	(void)r;
	return "registry.test";
}

static int wait_for_gate(struct ck_registry *r, const bool *gate, const struct ck_registry_want *w,
			 struct ck_err *err)
{
	pthread_mutex_lock(&r->lock);
	r->n_waiting++;
	pthread_cond_broadcast(&r->moved);
	while (*gate && !atomic_load(w->cancel)) {
		pthread_mutex_unlock(&r->lock); /* cancelling does not signal us */
		sched_yield();
		pthread_mutex_lock(&r->lock);
	}
	r->n_waiting--;
	pthread_mutex_unlock(&r->lock);
	return atomic_load(w->cancel) ? ck_fail(err, -ECANCELED, "given up") : 0;
}

int ck_registry_fetch(struct ck_registry *r, const struct ck_registry_want *w,
		      const struct ck_registry_taker *taker, struct ck_registry_fetched *fetched,
		      struct ck_err *err)
{
	uint64_t at = w->off, end = w->off + w->len;
	uint8_t piece[10000];

	/* So near that pieces are small. */
	*fetched = (struct ck_registry_fetched){ .wait_us = 10, .body_us = 1 + w->len / 100 };
	pthread_mutex_lock(&r->lock);
	assert_true(r->n_calls < PLAYED_CALLS);
	r->calls[r->n_calls++] = *w;
	pthread_cond_broadcast(&r->moved);
	while (r->n_calls < r->together)
		pthread_cond_wait(&r->moved, &r->lock);
	bool fail = r->fails && r->fails--, lies = r->lies && !w->afresh;
	if (r->no_ranges) {
		at = 0;
		end = r->size;
		fetched->whole = true;
	}
	uint64_t hold_at = r->hold_at, hold_next = r->hold_next,
		 cut = r->cut ? at + r->cut : UINT64_MAX;
	pthread_mutex_unlock(&r->lock);
	assert_true(w->len > 0 && w->off % B == 0 && w->off + w->len <= r->size);
	int rc = hold_at ? 0 : wait_for_gate(r, &r->gate, w, err);
	if (rc == 0 && fail)
		rc = ck_fail(err, -ECONNREFUSED, "nobody there");
	while (rc == 0 && at < end) {
		if (at >= cut && !r->heals)
			return ck_fail(err, -EPROTO, "it was cut");
		if (at >= cut) {
			at = at > w->off ? at : w->off;
			end = w->off + w->len;
			cut = UINT64_MAX;
			continue;
		}
		if (hold_at && at >= hold_at) {
			bool again = hold_at == hold_next;
			rc = wait_for_gate(r, again ? &r->gate_next : &r->gate, w, err);
			hold_at = again ? 0 : hold_next;
			continue;
		}
		size_t n = end - at < sizeof piece ? (size_t)(end - at) : sizeof piece;
		memcpy(piece, r->data + at, n);
		for (size_t i = 0; lies && i < n; i++)
			if ((at + i) % B == 7)
				piece[i] ^= 1;
		fetched->nbytes += n;
		rc = taker->data(taker->ctx, at, piece, n, err);
		at += r->skips ? n + B : n;
	}
	return rc;
}

void stand_up(struct stand *s, size_t nbytes, uint64_t timeout_ms, bool cached)
{
	struct ck_err err = { 0 };
	const uint8_t digest[CK_SHA256_LEN] = { 1 };

	memset(s, 0, sizeof *s);
	mk_bytes(&s->data, 1, nbytes);
	s->registry.data = s->data.data;
	s->registry.size = nbytes;
	pthread_mutex_init(&s->registry.lock, NULL);
	pthread_cond_init(&s->registry.moved, NULL);
	if (cached)
		assert_works(ck_blobcache_open(&s->cache, NULL, 0, &err), &err);
	assert_works(ck_net_open(&s->net, timeout_ms, &err), &err);
	assert_works(ck_remote_open(&s->reader, &s->remote, s->net, &s->registry, s->cache, digest,
				    nbytes, &err),
		     &err);
}

void stand_down(struct stand *s)
{
	ck_reader_close(s->reader);
	ck_net_close(s->net);
	ck_blobcache_close(s->cache);
	pthread_cond_destroy(&s->registry.moved);
	pthread_mutex_destroy(&s->registry.lock);
	ck_buf_free(&s->data);
}

void gate(struct stand *s, bool closed)
{
	pthread_mutex_lock(&s->registry.lock);
	s->registry.gate = closed;
	pthread_mutex_unlock(&s->registry.lock);
}

void gate_next(struct stand *s, bool closed)
{
	pthread_mutex_lock(&s->registry.lock);
	s->registry.gate_next = closed;
	pthread_mutex_unlock(&s->registry.lock);
}

size_t n_calls(struct stand *s)
{
	pthread_mutex_lock(&s->registry.lock);
	size_t n = s->registry.n_calls;
	pthread_mutex_unlock(&s->registry.lock);
	return n;
}

void await_waiting(struct stand *s, size_t n)
{
	pthread_mutex_lock(&s->registry.lock);
	while (s->registry.n_waiting < n)
		pthread_cond_wait(&s->registry.moved, &s->registry.lock);
	pthread_mutex_unlock(&s->registry.lock);
}

int read_at(struct stand *s, uint64_t off, size_t nbytes, struct ck_err *err)
{
	uint8_t *buf = malloc(nbytes ? nbytes : 1);

	assert_non_null(buf);
	int rc = ck_reader_pread(s->reader, buf, nbytes, off, err);
	if (rc == 0)
		assert_memory_equal(buf, s->data.data + off, nbytes);
	free(buf);
	return rc;
}

void read_ok(struct stand *s, uint64_t off, size_t nbytes)
{
	struct ck_err err = { 0 };

	assert_works(read_at(s, off, nbytes, &err), &err);
}

unsigned most_asked(struct stand *s)
{
	unsigned most = 0;

	for (uint64_t b = 0; b * B < s->registry.size; b++) {
		unsigned n = 0;
		for (size_t i = 0; i < s->registry.n_calls; i++) {
			const struct ck_registry_want *w = &s->registry.calls[i];
			n += w->off <= b * B && b * B < w->off + w->len;
		}
		most = n > most ? n : most;
	}
	return most;
}
