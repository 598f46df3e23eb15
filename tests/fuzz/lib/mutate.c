#include "tests/fuzz/lib/mutate.h"

#include <stdio.h>
#include <string.h>

uint64_t fuzz_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * UINT64_C(0x2545F4914F6CDD1D);
}

/* A number in 0..N-1; 0 when N is 0. */
static size_t below(uint64_t *state, size_t n)
{
	return n ? (size_t)(fuzz_random(state) % n) : 0;
}

struct work {
	uint64_t *state;
	uint8_t *data;
	size_t len, cap;
};

static void flip_bit(struct work *w)
{
	if (w->len)
		w->data[below(w->state, w->len)] ^= (uint8_t)(1U << below(w->state, 8));
}

static void set_byte(struct work *w)
{
	static const uint8_t odd[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, '0', '9', '"', '\\',
				       '{',  '}',  '[',	 ']',  ',',  ':', '/', '.', ' ' };

	if (!w->len)
		return;
	w->data[below(w->state, w->len)] =
	    below(w->state, 2) ? odd[below(w->state, sizeof odd)] : (uint8_t)fuzz_random(w->state);
}

/* Overwrites 1, 2, 4 or 8 bytes with a number at the edge of a type. */
static void set_number(struct work *w)
{
	static const uint64_t edge[] = { 0,
					 1,
					 0x7f,
					 0xff,
					 0x7fff,
					 0xffff,
					 0x7fffffff,
					 0xffffffff,
					 0x100000000,
					 0x7fffffffffffffff,
					 0xffffffffffffffff };
	size_t width = (size_t)1 << below(w->state, 4);
	uint64_t v = edge[below(w->state, sizeof edge / sizeof *edge)] + below(w->state, 3) - 1;
	size_t big_endian = below(w->state, 2);

	if (w->len < width)
		return;
	uint8_t *at = w->data + below(w->state, w->len - width + 1);

	for (size_t i = 0; i < width; i++)
		at[big_endian ? width - 1 - i : i] = (uint8_t)(v >> (8 * i));
}

/* Replaces a run of digits, which is how tar, pax and JSON write numbers. */
static void set_digits(struct work *w)
{
	static const char *const text[] = {
		"0", "1", "-1", "7777777", "99999999999999999999", "18446744073709551615", "1e9"
	};
	const char *t = text[below(w->state, sizeof text / sizeof *text)];
	size_t from = below(w->state, w->len), n = strlen(t);

	while (from < w->len && (w->data[from] < '0' || w->data[from] > '9'))
		from++;
	if (n <= w->len - from)
		memcpy(w->data + from, t, n);
}

static void cut(struct work *w)
{
	size_t from = below(w->state, w->len), n = 1 + below(w->state, w->len - from);

	if (n > w->len - from)
		return;
	memmove(w->data + from, w->data + from + n, w->len - from - n);
	w->len -= n;
}

static void truncate_tail(struct work *w)
{
	w->len = below(w->state, w->len + 1);
}

/* Inserts N bytes of SRC (outside the work's own data) at a random place. */
static void insert(struct work *w, const uint8_t *src, size_t n)
{
	size_t at = below(w->state, w->len + 1);

	if (n > w->cap - w->len)
		n = w->cap - w->len;
	memmove(w->data + at + n, w->data + at, w->len - at);
	memcpy(w->data + at, src, n);
	w->len += n;
}

static void repeat_part(struct work *w)
{
	uint8_t part[512];
	size_t from = below(w->state, w->len), n = 1 + below(w->state, sizeof part);

	if (n > w->len - from)
		n = w->len - from;
	memcpy(part, w->data + from, n);
	for (size_t times = 1 + below(w->state, 4); times; times--)
		insert(w, part, n);
}

static void insert_random(struct work *w)
{
	uint8_t part[16];
	size_t n = 1 + below(w->state, sizeof part);

	for (size_t i = 0; i < n; i++)
		part[i] = (uint8_t)fuzz_random(w->state);
	insert(w, part, n);
}

static void splice(struct work *w, const struct fuzz_input *corpus, size_t n)
{
	if (!n)
		return;
	const struct fuzz_input *other = &corpus[below(w->state, n)];
	size_t from = below(w->state, other->len);

	insert(w, other->data + from, below(w->state, other->len - from + 1));
}

static void change_once(struct work *w, const struct fuzz_input *corpus, size_t n)
{
	switch (below(w->state, 9)) {
	case 0:
		flip_bit(w);
		break;
	case 1:
		set_byte(w);
		break;
	case 2:
		set_number(w);
		break;
	case 3:
		set_digits(w);
		break;
	case 4:
		cut(w);
		break;
	case 5:
		truncate_tail(w);
		break;
	case 6:
		repeat_part(w);
		break;
	case 7:
		insert_random(w);
		break;
	default:
		splice(w, corpus, n);
		break;
	}
}

size_t fuzz_mutate(uint64_t *state, const struct fuzz_input *corpus, size_t n, uint8_t *out,
		   size_t cap)
{
	struct work w = { .state = state, .data = out, .cap = cap };

	if (!n || !below(state, 32)) {
		w.len = below(state, cap < 1024 ? cap : 1024);
		for (size_t i = 0; i < w.len; i++)
			out[i] = (uint8_t)fuzz_random(state);
		return w.len;
	}
	const struct fuzz_input *seed = &corpus[below(state, n)];

	w.len = seed->len < cap ? seed->len : cap;
	memcpy(out, seed->data, w.len);
	for (size_t times = 1 + below(state, 6); times; times--)
		change_once(&w, corpus, n);
	return w.len;
}
