#include "tar/readahead.h"

#include <stdbool.h>

/* GAP: a stream may leave out this part of a unit. SPARED: what has proved to be a stream stays
 * in the table for so many reads of others. */
enum { GAP = 8, SPARED = 256, STEPS = 2 };

void ck_readahead_init(struct ck_readahead *r, const struct ck_units *units)
{
	*r = (struct ck_readahead){ .units = units };
	pthread_mutex_init(&r->lock, NULL);
}

void ck_readahead_destroy(struct ck_readahead *r)
{
	pthread_mutex_destroy(&r->lock);
}

/* How far OFF is from where S is expected; UINT64_MAX: too far. */
static uint64_t distance(const struct ck_readahead *r, const struct ck_readahead_stream *s,
			 uint64_t off)
{
	uint64_t unit = r->units->len / r->units->n_units; /* on average */

	if (!s->used)
		return UINT64_MAX;
	if (off >= s->next)
		return off - s->next <= unit / GAP ? off - s->next : UINT64_MAX;
	return s->next - off <= unit ? s->next - off : UINT64_MAX;
}

/* The stream that a read at OFF continues, or NULL. */
static struct ck_readahead_stream *stream_at(struct ck_readahead *r, uint64_t off)
{
	struct ck_readahead_stream *best = NULL;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < CK_READAHEAD_STREAMS; i++) {
		uint64_t d = distance(r, &r->streams[i], off);
		if (d < least) {
			least = d;
			best = &r->streams[i];
		}
	}
	return best;
}

/* The one to give up: not used for longest, those that have proved themselves last. */
static struct ck_readahead_stream *stream_to_replace(struct ck_readahead *r)
{
	struct ck_readahead_stream *best = NULL;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < CK_READAHEAD_STREAMS; i++) {
		struct ck_readahead_stream *s = &r->streams[i];
		uint64_t age = s->used + (s->steps >= STEPS ? SPARED : 0);
		if (age < least) {
			least = age;
			best = s;
		}
	}
	return best;
}

/* The end of what to have ready while LAST is read. */
static uint32_t window_end(const struct ck_readahead *r, uint32_t last, unsigned steps)
{
	const struct ck_units *u = r->units;
	unsigned n = 1U << (steps - STEPS < 8 ? steps - STEPS : 8);
	uint32_t end = last + 1;

	while (
	    end < u->n_units && end - last <= n && end - last <= CK_READAHEAD_UNITS &&
	    (end == last + 1 || ck_units_end(u, end) - ck_units_end(u, last) <= CK_READAHEAD_BYTES))
		end++;
	return end;
}

void ck_readahead_note(struct ck_readahead *r, uint64_t off, size_t nbytes, uint32_t *first,
		       uint32_t *n)
{
	uint64_t end = off + nbytes;
	uint32_t last = ck_units_find(r->units, end - 1);

	*n = 0;
	pthread_mutex_lock(&r->lock);
	struct ck_readahead_stream *s = stream_at(r, off);
	if (!s) {
		s = stream_to_replace(r);
		*s = (struct ck_readahead_stream){ .next = end, .unit = last, .ahead = last + 1 };
	} else if (end > s->next) {
		s->next = end;
		if (last != s->unit) {
			s->unit = last;
			s->steps++;
			uint32_t want = s->steps >= STEPS ? window_end(r, last, s->steps) : 0;
			*first = s->ahead > last ? s->ahead : last + 1;
			if (want > *first) {
				*n = want - *first;
				s->ahead = want;
			}
		}
	}
	s->used = ++r->clock;
	pthread_mutex_unlock(&r->lock);
}
