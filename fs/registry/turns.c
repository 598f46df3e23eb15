#include "fs/registry/turns.h"

#include <errno.h>
#include <openssl/rand.h>
#include <time.h>

#include "base/file.h"

/* PAUSES: so often does a pause double; LAST_MS: what is left of the time that is worth another
 * try. */
enum { TICK_MS = 50, FIRST_PAUSE_MS = 200, PAUSES = 3, LAST_MS = 300 };

static bool is_behind(const struct ck_endpoint *e, uint64_t now)
{
	return atomic_load(&e->behind_till_ms) > now;
}

static void add_those(struct ck_turns *t, struct ck_endpoint *const *endpoints, size_t n,
		      unsigned can, bool behind)
{
	uint64_t now = ck_now_ms();

	for (size_t i = 0; i < n && t->n < CK_ENDPOINTS_MAX; i++)
		if ((endpoints[i]->can & can) == can && is_behind(endpoints[i], now) == behind)
			t->order[t->n++] = endpoints[i];
}

void ck_turns_start(struct ck_turns *t, struct ck_endpoint *const *endpoints, size_t n,
		    unsigned can, bool host_alone)
{
	t->n = t->idx = 0;
	t->round = 0;
	t->wait_ms = 0;
	t->n_final = 0;
	t->again = false;
	if (host_alone) {
		t->order[t->n++] = endpoints[n - 1];
		return;
	}
	add_those(t, endpoints, n, can, false);
	add_those(t, endpoints, n, can, true);
}

/* Half to one and a half of a pause that doubles with each round. */
static uint64_t pause_ms(unsigned round)
{
	uint64_t base = (uint64_t)FIRST_PAUSE_MS << (round < PAUSES ? round : PAUSES);
	uint16_t r = 0;

	(void)RAND_bytes((unsigned char *)&r, sizeof r);
	return base / 2 + base * r / UINT16_MAX;
}

/* False: cancelled. */
static bool sleep_till(uint64_t till_ms, const atomic_bool *cancel)
{
	for (;;) {
		uint64_t now = ck_now_ms();
		if (cancel && atomic_load(cancel))
			return false;
		if (now >= till_ms)
			return true;
		uint64_t ms = till_ms - now < TICK_MS ? till_ms - now : TICK_MS;
		struct timespec t = { 0, (long)ms * 1000000 };
		(void)nanosleep(&t, NULL);
	}
}

/* Between two rounds. False: there is no other. */
static bool rest(struct ck_turns *t, int *rc, struct ck_err *err)
{
	uint64_t now = ck_now_ms(), left = t->end_ms > now ? t->end_ms - now : 0;
	uint64_t wait = t->wait_ms ? t->wait_ms : pause_ms(t->round);

	/* A registry may be back before the time is up; one that says when, is not. */
	if (!t->wait_ms && wait >= left && left >= LAST_MS)
		wait = left / 2;
	if (t->one_round || t->n_final >= t->n || wait >= left)
		return false;
	if (!sleep_till(now + wait, t->cancel)) {
		*rc = ck_fail(err, -ECANCELED, "the request was given up");
		return false;
	}
	t->round++;
	t->idx = 0;
	t->wait_ms = 0;
	t->n_final = 0;
	return true;
}

struct ck_endpoint *ck_turns_next(struct ck_turns *t, int *rc, struct ck_err *err)
{
	if (t->cancel && atomic_load(t->cancel)) {
		*rc = ck_fail(err, -ECANCELED, "the request was given up");
		return NULL;
	}
	if (t->tries_left == 0 || t->n == 0 || ck_now_ms() >= t->end_ms)
		return NULL;
	if (t->again)
		t->idx--;
	else if (t->idx == t->n && !rest(t, rc, err))
		return NULL;
	t->again = false;
	t->tries_left--;
	return t->order[t->idx++];
}

void ck_turns_end(struct ck_turns *t, enum ck_turn what, uint64_t retry_ms)
{
	struct ck_endpoint *e = t->order[t->idx - 1];

	if (what == CK_TURN_FINAL)
		t->n_final++;
	else if (what == CK_TURN_FAILED)
		atomic_store(&e->behind_till_ms, ck_now_ms() + CK_BEHIND_MS);
	else
		t->again = true;
	if (retry_ms > t->wait_ms)
		t->wait_ms = retry_ms;
}
