#include "fs/fuse/deadline.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"

enum { TICKS = 8, MAX_TICK_MS = 1000, MAX_STUCK = CK_DEADLINE_SLOTS / 2 };

struct slot {
	struct ck_deadline_read read;
	uint64_t since_ms;
};

struct ck_deadline {
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the clock */
	pthread_t clock;
	bool asleep, ending;
	uint64_t timeout_ms;
	const struct ck_deadline_ops *ops;
	void *ctx;
	uint64_t used, stuck; /* a bit for each slot; the stuck are used */
	uint64_t n_overdue, n_refused;
	struct slot slots[CK_DEADLINE_SLOTS];
};

static unsigned count(uint64_t bits)
{
	return (unsigned)__builtin_popcountll(bits);
}

/* Takes the lowest of the bits out, which are not 0. */
static unsigned next_slot(uint64_t *bits)
{
	unsigned i = (unsigned)__builtin_ctzll(*bits);

	*bits &= *bits - 1;
	return i;
}

static uint64_t bit(unsigned slot)
{
	return UINT64_C(1) << slot;
}

static bool same_bytes(const struct ck_deadline_read *a, const struct ck_deadline_read *b)
{
	return a->id == b->id &&
	       (a->off < b->off ? b->off - a->off < a->nbytes : a->off - b->off < b->nbytes);
}

static bool refused(const struct ck_deadline *d, const struct ck_deadline_read *r)
{
	unsigned n = 0;
	bool hangs = false;

	if (!d->stuck)
		return false;
	for (uint64_t left = d->used; left;) {
		unsigned i = next_slot(&left);
		const struct ck_deadline_read *other = &d->slots[i].read;
		bool stuck = d->stuck & bit(i);
		if (other->layer != r->layer)
			continue;
		if (stuck && same_bytes(other, r))
			return true;
		hangs = hangs || stuck;
		n++;
	}
	return (hangs && n >= CK_DEADLINE_PER_LAYER) || count(d->stuck) >= MAX_STUCK;
}

int ck_deadline_begin(struct ck_deadline *d, const struct ck_deadline_read *r)
{
	uint64_t now = ck_now_ms();
	int slot = -EBUSY;

	pthread_mutex_lock(&d->lock);
	if (~d->used == 0 || refused(d, r)) {
		d->n_refused++;
	} else {
		slot = __builtin_ctzll(~d->used);
		d->slots[slot] = (struct slot){ *r, now };
		d->used |= bit((unsigned)slot);
		if (d->asleep)
			pthread_cond_signal(&d->wake);
	}
	pthread_mutex_unlock(&d->lock);
	return slot;
}

bool ck_deadline_end(struct ck_deadline *d, int slot)
{
	uint64_t mine = bit((unsigned)slot);

	pthread_mutex_lock(&d->lock);
	bool lost = d->stuck & mine;
	d->used &= ~mine;
	d->stuck &= ~mine;
	pthread_mutex_unlock(&d->lock);
	return !lost;
}

/* Takes a read that is overdue from its worker. */
static bool take_overdue(struct ck_deadline *d, uint64_t now, struct ck_deadline_read *out)
{
	for (uint64_t left = d->used & ~d->stuck; left;) {
		unsigned i = next_slot(&left);
		if (now < d->slots[i].since_ms + d->timeout_ms)
			continue;
		d->stuck |= bit(i);
		d->n_overdue++;
		*out = d->slots[i].read;
		return true;
	}
	return false;
}

/* With the lock held, but not while others are told. */
static void tick(struct ck_deadline *d)
{
	struct ck_deadline_read r;
	uint64_t now = ck_now_ms();

	while (take_overdue(d, now, &r)) {
		pthread_mutex_unlock(&d->lock);
		d->ops->overdue(d->ctx, &r);
		pthread_mutex_lock(&d->lock);
	}
	bool busy = d->used, stuck = d->stuck && d->used == d->stuck;
	pthread_mutex_unlock(&d->lock);
	if (busy && d->ops->tick)
		d->ops->tick(d->ctx);
	if (stuck && d->ops->stuck)
		d->ops->stuck(d->ctx);
	pthread_mutex_lock(&d->lock);
}

static void wait_tick(struct ck_deadline *d)
{
	uint64_t ms = d->timeout_ms / TICKS + 1;
	struct timespec at;

	if (ms > MAX_TICK_MS)
		ms = MAX_TICK_MS;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += (long)(ms * 1000000);
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	while (!d->ending && pthread_cond_timedwait(&d->wake, &d->lock, &at) == 0)
		;
}

static void *run_clock(void *arg)
{
	struct ck_deadline *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->ending) {
		d->asleep = !d->used; /* who reads all the time wakes it once a tick at most */
		if (d->asleep)
			pthread_cond_wait(&d->wake, &d->lock);
		d->asleep = false;
		wait_tick(d);
		tick(d);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int ck_deadline_open(struct ck_deadline **out, uint64_t timeout_ms,
		     const struct ck_deadline_ops *ops, void *ctx, struct ck_err *err)
{
	struct ck_deadline *d = calloc(1, sizeof *d);
	pthread_condattr_t attr;

	if (!d)
		return ck_nomem(err, "watching over reads");
	d->timeout_ms = timeout_ms;
	d->ops = ops;
	d->ctx = ctx;
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->wake, &attr);
	pthread_condattr_destroy(&attr);
	int rc = pthread_create(&d->clock, NULL, run_clock, d);
	if (rc == 0) {
		*out = d;
		return 0;
	}
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	free(d);
	return ck_fail(err, -rc, "cannot start a thread: %s", strerror(rc));
}

void ck_deadline_close(struct ck_deadline *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->ending = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->clock, NULL);
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

uint64_t ck_deadline_timeout_ms(const struct ck_deadline *d)
{
	return d->timeout_ms;
}

void ck_deadline_stats(struct ck_deadline *d, struct ck_deadline_stats *out)
{
	pthread_mutex_lock(&d->lock);
	*out = (struct ck_deadline_stats){ .overdue = d->n_overdue,
					   .refused = d->n_refused,
					   .under_way = count(d->used),
					   .stuck = count(d->stuck) };
	pthread_mutex_unlock(&d->lock);
}
