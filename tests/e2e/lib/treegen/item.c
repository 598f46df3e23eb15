#include "tests/e2e/lib/treegen/item.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *alloc(size_t nbytes)
{
	void *p = calloc(1, nbytes ? nbytes : 1);

	if (!p) {
		fprintf(stderr, "treegen: out of memory\n");
		exit(2);
	}
	return p;
}

void *grow(void *p, size_t n, size_t nbytes)
{
	p = reallocarray(p, n, nbytes);
	if (!p) {
		fprintf(stderr, "treegen: out of memory\n");
		exit(2);
	}
	return p;
}

void text_add(struct text *t, const void *p, size_t nbytes)
{
	t->p = grow(t->p, t->len + nbytes + 1, 1);
	if (nbytes)
		memcpy(t->p + t->len, p, nbytes);
	t->len += nbytes;
	t->p[t->len] = 0;
}

void text_puts(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

struct text text_of(const char *s)
{
	struct text t = { 0 };

	text_puts(&t, s);
	return t;
}

static uint64_t scramble(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t rng_next(struct rng *r)
{
	return scramble(r->state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

bool one_in(struct rng *r, uint64_t n)
{
	return below(r, n) == 0;
}

void segment_bytes(const struct segment *s, uint64_t off, void *buf, size_t nbytes)
{
	unsigned char *to = buf;

	for (size_t i = 0; i < nbytes; i++, off++)
		to[i] = (unsigned char)(scramble(s->seed + off / 8) >> off % 8 * 8);
}

void item_bytes(const struct item *it, uint64_t off, void *buf, size_t nbytes)
{
	memset(buf, 0, nbytes);
	for (size_t i = 0; i < it->n_segments; i++) {
		const struct segment *s = &it->segments[i];
		uint64_t from = s->off > off ? s->off : off;
		uint64_t to = s->off + s->len < off + nbytes ? s->off + s->len : off + nbytes;

		if (from < to)
			segment_bytes(s, from - s->off, (char *)buf + (from - off),
				      (size_t)(to - from));
	}
}

struct text clean_path(struct text path)
{
	struct text out = { 0 };

	text_puts(&out, "");
	for (size_t at = 0; at < path.len;) {
		size_t n = strcspn(path.p + at, "/");
		const char *part = path.p + at;

		at += n + 1;
		if (n == 0 || (n == 1 && *part == '.'))
			continue;
		if (n == 2 && part[0] == '.' && part[1] == '.') {
			char *slash = strrchr(out.p, '/');

			out.len = slash ? (size_t)(slash - out.p) : 0;
			out.p[out.len] = 0;
			continue;
		}
		if (out.len)
			text_puts(&out, "/");
		text_add(&out, part, n);
	}
	return out;
}

static int by_tag_then_id(const void *pa, const void *pb)
{
	const struct ace *a = pa, *b = pb;

	return a->tag != b->tag ? a->tag - b->tag : (a->id > b->id) - (a->id < b->id);
}

struct text acl_packed(struct acl a)
{
	struct text t = { 0 };

	qsort(a.ace, a.n, sizeof a.ace[0], by_tag_then_id);
	text_add(&t, "\2\0\0\0", 4);
	for (size_t i = 0; i < a.n; i++) {
		bool named = a.ace[i].tag == ACE_USER || a.ace[i].tag == ACE_GROUP;
		uint32_t id = named ? a.ace[i].id : UINT32_MAX;
		unsigned char raw[8] = { (unsigned char)a.ace[i].tag, 0,
					 (unsigned char)a.ace[i].perm, 0 };

		for (int k = 0; k < 4; k++)
			raw[4 + k] = (unsigned char)(id >> 8 * k);
		text_add(&t, raw, sizeof raw);
	}
	return t;
}
