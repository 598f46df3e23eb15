#include "base/httpreq.h"

#include <string.h>
#include <strings.h>

enum { BAD = -400, OTHER_VERSION = -505 };

/* A line without its end. */
struct line {
	const char *p;
	size_t len;
};

bool ck_httpreq_is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(s, word, len) == 0;
}

/* RFC 9110 section 5.6.2. */
static bool is_tchar(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && is_tchar(p[n]))
		n++;
	return n;
}

/* Takes a line off P[*OFF..NBYTES). False: its end is not there. */
static bool take_line(struct line *out, const char *p, size_t nbytes, size_t *off)
{
	const char *from = p + *off, *nl = memchr(from, '\n', nbytes - *off);

	if (!nl)
		return false;
	*off = (size_t)(nl + 1 - p);
	*out = (struct line){ from, (size_t)(nl - from) };
	if (out->len && out->p[out->len - 1] == '\r')
		out->len--;
	return true;
}

/* What is neither visible nor a byte above ASCII, blanks apart, has no place in a line. */
static bool has_controls(struct line l)
{
	for (size_t i = 0; i < l.len; i++)
		if (((unsigned char)l.p[i] < ' ' && l.p[i] != '\t') || l.p[i] == 0x7f)
			return true;
	return false;
}

/* "HTTP/1.1". */
static int parse_version(const char *p, size_t len, bool *is_10)
{
	if (len != 8 || memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' ||
	    p[7] < '0' || p[7] > '9')
		return BAD;
	if (p[5] != '1')
		return OTHER_VERSION;
	*is_10 = p[7] == '0';
	return 0;
}

/* "GET /metrics?x HTTP/1.1": exactly one blank between. */
static int parse_request_line(struct ck_httpreq *r, struct line l, bool *is_10)
{
	r->method = l.p;
	r->method_len = token_len(l.p, l.len);
	if (r->method_len == 0 || r->method_len == l.len || l.p[r->method_len] != ' ')
		return BAD;
	r->path = l.p + r->method_len + 1;
	size_t left = l.len - r->method_len - 1;
	const char *blank = memchr(r->path, ' ', left);
	if (!blank || blank == r->path || memchr(r->path, '\t', left))
		return BAD;
	r->path_len = (size_t)(blank - r->path);
	const char *query = memchr(r->path, '?', r->path_len);
	int rc = parse_version(blank + 1, left - r->path_len - 1, is_10);
	if (query)
		r->path_len = (size_t)(query - r->path);
	return rc;
}

static int parse_field(struct line l, unsigned *n_hosts)
{
	size_t n = token_len(l.p, l.len);

	if (n == 0 || n == l.len || l.p[n] != ':')
		return BAD;
	*n_hosts += n == 4 && strncasecmp(l.p, "Host", n) == 0;
	return 0;
}

int ck_httpreq_parse(struct ck_httpreq *out, const char *p, size_t nbytes)
{
	struct ck_httpreq r = { 0 };
	struct line l;
	size_t off = 0;
	unsigned n_hosts = 0;
	bool is_10 = false;
	int rc = 0;

	/* What is wrong already need not be awaited to its end. */
	if (!take_line(&l, p, nbytes, &off))
		return 0;
	rc = has_controls(l) ? BAD : parse_request_line(&r, l, &is_10);
	while (rc == 0) {
		if (!take_line(&l, p, nbytes, &off))
			return 0;
		if (l.len == 0)
			break;
		rc = has_controls(l) ? BAD : parse_field(l, &n_hosts);
	}
	if (rc == 0 && (n_hosts > 1 || (n_hosts == 0 && !is_10)))
		rc = BAD;
	if (rc < 0)
		return rc;
	*out = r;
	return (int)off;
}
