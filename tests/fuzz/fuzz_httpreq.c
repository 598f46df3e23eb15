/* The head of a request: what was understood lies within it, and cutting it changes nothing but
 * when it is understood. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/httpreq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(const char *s, size_t len, const char *in, size_t in_len)
{
	return s >= in && (size_t)(s - in) <= in_len && len <= in_len - (size_t)(s - in);
}

static void check(const struct ck_httpreq *r, const char *p, size_t len)
{
	if (len < sizeof "A / HTTP/1.0\n\n" - 1 || p[len - 1] != '\n' || r->method_len == 0 ||
	    !inside(r->method, r->method_len, p, len) || !inside(r->path, r->path_len, p, len) ||
	    r->method != p || memchr(r->path, '?', r->path_len) ||
	    memchr(r->method, ' ', r->method_len) || memchr(r->path, '\n', r->path_len) ||
	    memchr(p, 0, len))
		abort();
}

/* A copy of its own: a read past its end is seen. */
static int parse(struct ck_httpreq *r, const uint8_t *data, size_t len, char **copy)
{
	*copy = malloc(len + !len);
	if (!*copy)
		abort();
	memcpy(*copy, data, len);
	return ck_httpreq_parse(r, *copy, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ck_httpreq r = { 0 }, part;
	char *whole, *cut;

	if (size > 4096)
		return 0;
	int got = parse(&r, data, size, &whole);
	if (got > 0 && (size_t)got > size)
		abort();
	if (got < 0 && got != -400 && got != -505)
		abort();
	if (got > 0)
		check(&r, whole, (size_t)got);
	/* Once there is an answer, more bytes do not change it. */
	bool known = false;
	for (size_t len = 0; len < size; len++) {
		int n = parse(&part, data, len, &cut);
		free(cut);
		if (n != 0 && n != got)
			abort();
		if (known && n == 0)
			abort();
		known = n != 0;
	}
	free(whole);
	return 0;
}
