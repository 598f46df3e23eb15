#include "tar/index/paxhead.h"

#include <string.h>

enum { BLOCK = 512, SIZE_AT = 124, SIZE_LEN = 12, TYPE_AT = 156, NS_DIGITS = 9 };

/* Digits from *P on, before END; stops at 10^17, which is farther than any time. */
static uint64_t take_digits(const char **p, const char *end)
{
	uint64_t v = 0;

	for (; *p < end && **p >= '0' && **p <= '9' && v < UINT64_C(100000000000000000); ++*p)
		v = v * 10 + (uint64_t)(**p - '0');
	return v;
}

/* "[-]SECONDS[.FRACTION]", of which nine digits count. */
static void read_mtime(struct ck_paxhead *out, const char *v, size_t len)
{
	const char *end = v + len;
	bool negative = len && *v == '-';
	uint32_t ns = 0;

	v += negative;
	int64_t s = (int64_t)take_digits(&v, end);
	if (v < end && *v == '.')
		v++;
	for (int i = 0; i < NS_DIGITS; i++)
		ns = ns * 10 + (v < end && *v >= '0' && *v <= '9' ? (uint32_t)(*v++ - '0') : 0);
	while (v < end && *v >= '0' && *v <= '9')
		v++;
	out->has_mtime = v == end && len > negative;
	out->mtime_s = negative ? -s - (ns != 0) : s;
	out->mtime_ns = negative && ns ? 1000000000 - ns : ns;
}

static void read_record(struct ck_paxhead *out, const char *record, size_t len)
{
	static const char link[] = "linkpath=", mtime[] = "mtime=";
	enum { LINK = sizeof link - 1, MTIME = sizeof mtime - 1 };

	if (len >= LINK && memcmp(record, link, LINK) == 0) {
		out->link = record + LINK;
		out->link_len = len - LINK;
	} else if (len >= MTIME && memcmp(record, mtime, MTIME) == 0) {
		read_mtime(out, record + MTIME, len - MTIME);
	}
}

/* Records "LENGTH KEYWORD=VALUE\n", LENGTH being of all that. */
static void read_records(struct ck_paxhead *out, const char *p, size_t len)
{
	while (len) {
		const char *at = p;
		uint64_t n = take_digits(&at, p + len);
		size_t before = (size_t)(at - p) + 1;
		if (n > len || n <= before || *at != ' ' || p[n - 1] != '\n')
			return;
		read_record(out, at + 1, (size_t)n - before - 1);
		p += n;
		len -= (size_t)n;
	}
}

/* The size of an extended header is octal, and never long enough for anything else. */
static uint64_t size_of(const uint8_t *block)
{
	uint64_t v = 0;

	for (size_t i = 0; i < SIZE_LEN; i++) {
		uint8_t c = block[SIZE_AT + i];
		if (c >= '0' && c <= '7')
			v = v * 8 + (uint64_t)(c - '0');
	}
	return v;
}

void ck_paxhead_read(struct ck_paxhead *out, const uint8_t *head, size_t len)
{
	*out = (struct ck_paxhead){ 0 };
	while (len >= BLOCK) {
		char type = (char)head[TYPE_AT];
		if (!type || !strchr("xgLKX", type))
			return; /* the entry's own */
		uint64_t size = size_of(head), padded = (size + BLOCK - 1) / BLOCK * BLOCK;
		if (padded > len - BLOCK)
			return;
		if (type == 'x')
			read_records(out, (const char *)head + BLOCK, (size_t)size);
		head += BLOCK + padded;
		len -= BLOCK + (size_t)padded;
	}
}
