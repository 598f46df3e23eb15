#include "fs/trace.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/file.h"

static const char first_line[] = "cloakfs-trace 1";

/* What a path has as \ooo. */
static const char escaped[] = " \t\n\\";

struct parser {
	const char *name;
	const char *at, *end; /* of the line, its newline not counted */
	size_t line;
	struct ck_err *err;
};

static int bad(const struct parser *p, const char *what)
{
	return ck_fail(p->err, -EBADMSG, "%s line %zu: %s", p->name, p->line, what);
}

/* A number, and the space behind it. */
static int take_number(struct parser *p, uint64_t *out, uint64_t max, const char *what)
{
	uint64_t n = 0;
	const char *start = p->at;

	for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
		uint64_t digit = (uint64_t)(*p->at - '0');
		if (n > (max - digit) / 10)
			return ck_fail(p->err, -EBADMSG, "%s line %zu: %s is too large", p->name,
				       p->line, what);
		n = n * 10 + digit;
	}
	if (p->at == start || p->at == p->end || *p->at != ' ')
		return ck_fail(p->err, -EBADMSG,
			       "%s line %zu: no %s: a line is LAYER OFFSET LENGTH PATH", p->name,
			       p->line, what);
	p->at++;
	*out = n;
	return 0;
}

/* The character that the backslash at AT begins, or 0. */
static char unescape(const char *at, const char *end)
{
	unsigned c = 0;

	if (end - at < 4)
		return 0;
	for (int i = 1; i < 4; i++) {
		if (at[i] < '0' || at[i] > '7')
			return 0;
		c = c * 8 + (unsigned)(at[i] - '0');
	}
	return c < 128 && c && strchr(escaped, (int)c) ? (char)c : 0;
}

/* The rest of the line, to *OUT, which moves behind its NUL. */
static int take_path(struct parser *p, char **out)
{
	char *to = *out;

	if (p->at < p->end && *p->at == '/')
		p->at++;
	if (p->at == p->end)
		return bad(p, "no path");
	if (p->end - p->at > CK_TRACE_PATH)
		return bad(p, "the path is too long");
	while (p->at < p->end) {
		char c = *p->at;
		if (c == '\\') {
			c = unescape(p->at, p->end);
			p->at += 3;
			if (!c)
				return bad(p, "a backslash that begins none of \\040, \\011, \\012 "
					      "and \\134");
		} else if (strchr(escaped, c)) { /* or a NUL */
			return bad(p, "the path has a character that is not written so");
		}
		p->at++;
		*to++ = c;
	}
	*to++ = 0;
	*out = to;
	return 0;
}

static int parse_line(struct parser *p, struct ck_trace_line *l, char **paths)
{
	uint64_t layer = 0;
	int rc = take_number(p, &layer, UINT32_MAX, "layer");

	if (rc == 0)
		rc = take_number(p, &l->what.off, INT64_MAX, "offset");
	if (rc == 0)
		rc = take_number(p, &l->what.len, INT64_MAX, "length");
	if (rc < 0)
		return rc;
	if (l->what.len == 0 || l->what.len > INT64_MAX - l->what.off)
		return bad(p, l->what.len ? "the length is too large" : "the length is 0");
	l->layer = (uint32_t)layer;
	l->what.path = *paths;
	return take_path(p, paths);
}

/* The next line of P[0..NBYTES); false: there is none. A line without its end has been cut. */
static int next_line(struct parser *p, const char **rest, const char *end)
{
	const char *newline = memchr(*rest, '\n', (size_t)(end - *rest));

	p->line++;
	if (!newline)
		return bad(p, "it is cut short: no newline at its end");
	p->at = *rest;
	p->end = newline;
	*rest = newline + 1;
	return 0;
}

static int parse_lines(struct ck_trace *t, struct parser *p, const char *rest, const char *end)
{
	char *paths = t->paths;
	int rc = 0;

	while (rc == 0 && rest < end) {
		rc = next_line(p, &rest, end);
		if (rc == 0)
			rc = parse_line(p, &t->lines[t->n++], &paths);
	}
	return rc;
}

static size_t count_lines(const char *at, const char *end)
{
	size_t n = 0;

	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL)
		at++, n++;
	return n;
}

int ck_trace_parse(struct ck_trace *out, const char *name, const void *p, size_t nbytes,
		   struct ck_err *err)
{
	CK_AUTO(ck_trace_free) struct ck_trace t = { 0 };
	struct parser parser = { .name = name, .err = err };
	const char *rest = nbytes ? p : "", *end = rest + nbytes;
	size_t len = sizeof first_line - 1;

	if (nbytes <= len || memcmp(rest, first_line, len) != 0 || rest[len] != '\n')
		return ck_fail(err, -EBADMSG, "%s line 1: not a trace: \"%s\" is not there", name,
			       first_line);
	size_t n = count_lines(rest, end);
	if (n > CK_TRACE_LINES)
		return ck_fail(err, -EFBIG, "%s line %d: more lines than that", name,
			       CK_TRACE_LINES);
	/* A path needs no more room than its line, its NUL in the newline's place; and there may
	 * be one line that is cut. */
	t.lines = calloc(n + 1, sizeof *t.lines);
	t.paths = malloc(nbytes);
	if (!t.lines || !t.paths)
		return ck_nomem(err, "reading a trace");
	int rc = next_line(&parser, &rest, end);
	if (rc == 0)
		rc = parse_lines(&t, &parser, rest, end);
	if (rc < 0)
		return rc;
	*out = t;
	t = (struct ck_trace){ 0 };
	return 0;
}

int ck_trace_read(struct ck_trace *out, const char *path, struct ck_err *err)
{
	CK_BUF text = { .max = CK_TRACE_BYTES };
	int rc = ck_file_read(&text, path, err);

	return rc < 0 ? rc : ck_trace_parse(out, path, text.data, text.len, err);
}

void ck_trace_free(struct ck_trace *t)
{
	free(t->lines);
	free(t->paths);
	*t = (struct ck_trace){ 0 };
}

int ck_trace_begin(struct ck_buf *b, struct ck_err *err)
{
	return ck_buf_addf(b, err, "%s\n", first_line);
}

int ck_trace_add(struct ck_buf *b, uint32_t layer, const struct ck_wanted *what, struct ck_err *err)
{
	size_t start = b->len;
	int rc = ck_buf_addf(b, err, "%u %llu %llu ", layer, (unsigned long long)what->off,
			     (unsigned long long)what->len);

	for (const char *at = what->path; rc == 0 && *at;) {
		size_t n = strcspn(at, escaped);
		rc = ck_buf_add(b, at, n, err);
		at += n;
		if (rc == 0 && *at)
			rc = ck_buf_addf(b, err, "\\%03o", (unsigned)*at++);
	}
	if (rc == 0)
		rc = ck_buf_add(b, "\n", 1, err);
	if (rc < 0)
		b->len = start;
	return rc;
}

int ck_trace_wants(struct ck_wants **out, const struct ck_trace *t, size_t n_layers,
		   struct ck_err *err)
{
	/* First the layers, then what is wanted of each. */
	size_t head = n_layers * sizeof(struct ck_wants);
	struct ck_wants *w = calloc(1, head + t->n * sizeof(struct ck_wanted) + 1);

	if (!w)
		return ck_nomem(err, "reading a trace");
	for (size_t i = 0; i < t->n; i++)
		if (t->lines[i].layer < n_layers)
			w[t->lines[i].layer].n++;
	struct ck_wanted *v = (struct ck_wanted *)(w + n_layers);
	for (size_t i = 0; i < n_layers; i++) {
		w[i].v = v;
		v += w[i].n;
		w[i].n = 0;
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct ck_trace_line *l = &t->lines[i];
		if (l->layer < n_layers) {
			struct ck_wants *own = &w[l->layer];
			((struct ck_wanted *)(uintptr_t)own->v)[own->n++] = l->what;
		}
	}
	*out = w;
	return 0;
}
