#include "tests/fault/shape.h"

#include "tests/fault/util.h"

enum {
	PIECE = 16 << 10,     /* that passes the link at once */
	FIRST_WINDOW = 14600, /* ten segments */
	REST_US = 200 * 1000, /* after which a connection starts slowly again */
};

void fr_shape_init(struct fr_shape *s)
{
	*s = (struct fr_shape){ .mutex = PTHREAD_MUTEX_INITIALIZER };
}

void fr_shape_round_trip(struct fr_shape *s)
{
	uint64_t delay = s->delay_us;

	if (delay)
		fr_sleep_until(fr_now_us() + delay);
}

/* Waits for the link, whose bytes pass one after another. */
static void link_wait(struct fr_shape *s, int way, size_t nbytes)
{
	uint64_t rate = s->rate, now = fr_now_us();

	if (!rate)
		return;
	pthread_mutex_lock(&s->mutex);
	if (s->free_at[way] < now)
		s->free_at[way] = now;
	s->free_at[way] += nbytes * 1000000 / rate;
	uint64_t until = s->free_at[way];
	pthread_mutex_unlock(&s->mutex);
	fr_sleep_until(until);
}

/* Bytes that the connection may send before it hears from the other side again; waits for that
 * where there are none. */
static size_t room(struct fr_shape *s, struct fr_flight *f)
{
	uint64_t now = fr_now_us(), delay = s->delay_us;

	if (!s->slow_start || !delay)
		return PIECE;
	if (!f->window || now - f->last_at > REST_US) {
		f->window = FIRST_WINDOW;
		f->round_at = now;
		f->used = 0;
	}
	if (f->used >= f->window) {
		fr_sleep_until(f->round_at + delay);
		f->window *= 2;
		f->round_at = fr_now_us();
		f->used = 0;
	} else if (now - f->round_at >= delay) {
		f->round_at = now;
		f->used = 0;
	}
	return f->window - f->used;
}

size_t fr_shape_out(struct fr_shape *s, struct fr_flight *f, size_t nbytes)
{
	size_t may = room(s, f);

	if (nbytes > may)
		nbytes = may;
	if (nbytes > PIECE)
		nbytes = PIECE;
	link_wait(s, 0, nbytes);
	f->used += nbytes;
	f->last_at = fr_now_us();
	return nbytes;
}

void fr_shape_in(struct fr_shape *s, size_t nbytes)
{
	link_wait(s, 1, nbytes);
}
