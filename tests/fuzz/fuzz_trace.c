/* Fuzz: any bytes as a trace, as they are and behind a good first line. What is taken is within
 * its bounds, and is the same when it is written and read again. */
#include <stdlib.h>
#include <string.h>

#include "fs/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void compare(const struct ck_trace *a, const struct ck_trace *b)
{
	must(a->n == b->n);
	for (size_t i = 0; i < a->n; i++) {
		const struct ck_trace_line *x = &a->lines[i], *y = &b->lines[i];
		must(x->layer == y->layer && x->what.off == y->what.off &&
		     x->what.len == y->what.len && strcmp(x->what.path, y->what.path) == 0);
	}
}

static void look_at(const struct ck_trace *t)
{
	CK_BUF again = { 0 };
	struct ck_trace back = { 0 };
	struct ck_wants *w = NULL;
	size_t n = 0;

	must(ck_trace_begin(&again, NULL) == 0);
	for (size_t i = 0; i < t->n; i++) {
		const struct ck_wanted *x = &t->lines[i].what;
		must(x->len && x->off <= INT64_MAX && x->len <= INT64_MAX - x->off);
		must(ck_trace_add(&again, t->lines[i].layer, x, NULL) == 0);
		n += t->lines[i].layer < 3;
	}
	/* A path that begins with '/' was written with another before it. */
	if (ck_trace_parse(&back, "again", again.data, again.len, NULL) == 0 &&
	    !strstr((const char *)again.data, " /"))
		compare(t, &back);
	ck_trace_free(&back);
	must(ck_trace_wants(&w, t, 3, NULL) == 0);
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < w[i].n; k++, n--)
			must(w[i].v[k].len > 0);
	must(n == 0);
	free(w);
}

static void parse(const char *head, const uint8_t *data, size_t len)
{
	size_t n = strlen(head);
	char *copy = malloc(n + len + 1); /* exact size, so ASan sees over-reads */
	struct ck_trace t = { 0 };
	struct ck_err err = { 0 };

	must(copy != NULL);
	memcpy(copy, head, n);
	if (len)
		memcpy(copy + n, data, len);
	copy = realloc(copy, n + len ? n + len : 1);
	must(copy != NULL);
	int rc = ck_trace_parse(&t, "FILE", copy, n + len, &err);
	free(copy);
	if (rc == 0)
		look_at(&t);
	else
		must(strncmp(err.msg, "FILE line ", 10) == 0 && !t.lines);
	ck_trace_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	parse("", data, len);
	parse("cloakfs-trace 1\n", data, len);
	return 0;
}
