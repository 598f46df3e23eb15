#include "tests/fault/request.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/fault/util.h"

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *d = c ? strchr(digits, c | 0x20) : NULL;

	return d ? (int)(d - digits) : -1;
}

/* Decodes FROM up to one of STOP into OUT; returns where it stopped. */
static const char *decode(const char *from, const char *stop, bool form, char *out, size_t cap)
{
	size_t n = 0;

	for (; *from && !strchr(stop, *from); from++) {
		char c = form && *from == '+' ? ' ' : *from;
		if (c == '%' && hex(from[1]) >= 0 && hex(from[2]) >= 0) {
			c = (char)(hex(from[1]) * 16 + hex(from[2]));
			from += 2;
		}
		if (n + 1 < cap)
			out[n++] = c;
	}
	out[n] = 0;
	return from;
}

static bool first_line(struct fr_request *q, char *line)
{
	char *save = NULL;

	q->method = strtok_r(line, " \r\n", &save);
	q->target = strtok_r(NULL, " \r\n", &save);
	q->version = strtok_r(NULL, " \r\n", &save);
	if (!q->version || strncmp(q->version, "HTTP/1.", 7) != 0)
		return false;
	const char *path = q->target;
	if (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0)
		path = strchr(strchr(path, ':') + 3, '/');
	if (!path)
		return false;
	const char *end = decode(path, "?#", false, q->path, sizeof q->path);
	q->query = *end == '?' ? end + 1 : "";
	return true;
}

/* Who speaks TLS to a plain port is told at once that we do not. */
static bool first_byte(struct fr_request *q)
{
	static const char bad[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

	do
		if (fr_wire_read(q->wire, q->head, 1) == 0)
			return false;
	while (q->head[0] == '\r' || q->head[0] == '\n');
	if (q->head[0] >= 'A' && q->head[0] <= 'Z')
		return true;
	(void)fr_wire_send(q->wire, bad, sizeof bad - 1);
	return false;
}

bool fr_request_read(struct fr_request *q, struct fr_wire *w)
{
	size_t len = 0;
	char value[64];

	memset(q, 0, offsetof(struct fr_request, path));
	q->wire = w;
	if (!first_byte(q) || !fr_wire_line(w, q->head + 1, sizeof q->head - 1))
		return false;
	len = strlen(q->head) + 1;
	q->headers = q->head + len;
	for (;;) {
		if (!fr_wire_line(w, q->head + len, sizeof q->head - len))
			return false;
		if (q->head[len] == '\r' || q->head[len] == '\n')
			break;
		len += strlen(q->head + len);
	}
	q->head[len] = 0;
	if (!first_line(q, q->head))
		return false;
	q->chunked = fr_request_header(q, "Transfer-Encoding", value, sizeof value);
	q->left = 0;
	q->ended = !q->chunked && (!fr_request_header(q, "Content-Length", value, sizeof value) ||
				   !fr_number(value, &q->left) || q->left == 0);
	q->expects = fr_request_header(q, "Expect", value, sizeof value) && !q->ended;
	q->keep = strcmp(q->version, "HTTP/1.1") == 0 &&
		  !(fr_request_header(q, "Connection", value, sizeof value) &&
		    strcasecmp(value, "close") == 0);
	return true;
}

bool fr_request_header(const struct fr_request *q, const char *name, char *out, size_t cap)
{
	size_t n = strlen(name);

	*out = 0;
	for (const char *l = q->headers; *l; l = strchr(l, '\n') + 1) {
		if (strncasecmp(l, name, n) != 0 || l[n] != ':')
			continue;
		l += n + 1;
		l += strspn(l, " \t");
		(void)snprintf(out, cap, "%.*s", (int)strcspn(l, "\r\n"), l);
		return true;
	}
	return false;
}

bool fr_request_param(const char *text, const char *name, char *out, size_t cap)
{
	size_t n = strlen(name);

	*out = 0;
	while (*text) {
		bool here = strncmp(text, name, n) == 0 && text[n] == '=';
		if (here) {
			(void)decode(text + n + 1, "&", true, out, cap);
			return true;
		}
		text += strcspn(text, "&");
		text += *text == '&';
	}
	return false;
}

/* The next chunk's head. */
static bool next_chunk(struct fr_request *q)
{
	char line[256];
	char *end;

	if (!fr_wire_line(q->wire, line, sizeof line))
		return false;
	if (line[0] == '\r' && !fr_wire_line(q->wire, line, sizeof line)) /* that ended the last */
		return false;
	q->left = strtoull(line, &end, 16);
	if (end == line)
		return false;
	if (q->left)
		return true;
	while (fr_wire_line(q->wire, line, sizeof line))
		if (line[0] == '\r' || line[0] == '\n') {
			q->ended = true;
			return true;
		}
	return false;
}

size_t fr_request_body(struct fr_request *q, void *buf, size_t nbytes)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (q->expects) {
		q->expects = false;
		if (!fr_wire_send(q->wire, go_on, sizeof go_on - 1))
			return 0;
	}
	if (q->ended || (q->left == 0 && !next_chunk(q)) || q->ended)
		return 0;
	size_t n = fr_wire_read(q->wire, buf, nbytes < q->left ? nbytes : (size_t)q->left);
	q->left -= n;
	q->ended = !q->chunked && q->left == 0;
	return n;
}

char *fr_request_whole(struct fr_request *q, size_t max, size_t *len)
{
	char *all = fr_alloc(max + 1);
	size_t n;

	*len = 0;
	while (*len < max && (n = fr_request_body(q, all + *len, max - *len)) > 0)
		*len += n;
	if (!q->ended && (fr_request_body(q, &(char){ 0 }, 1) > 0 || !q->ended)) {
		free(all);
		return NULL;
	}
	all[*len] = 0;
	return all;
}

bool fr_request_drain(struct fr_request *q)
{
	char buf[16 << 10];

	while (!q->ended)
		if (fr_request_body(q, buf, sizeof buf) == 0 && !q->ended)
			return false;
	return true;
}

int fr_request_range(const struct fr_request *q, uint64_t len, uint64_t *off, uint64_t *nbytes)
{
	char value[128], *dash;
	uint64_t first, last = UINT64_MAX;

	if (!fr_request_header(q, "Range", value, sizeof value) ||
	    strncmp(value, "bytes=", 6) != 0 || strchr(value, ',') || !(dash = strchr(value, '-')))
		return 0;
	*dash++ = 0;
	if (*dash && !fr_number(dash, &last))
		return 0;
	if (value[6]) {
		if (!fr_number(value + 6, &first) || last < first)
			return 0;
	} else if (*dash && last) {
		first = last < len ? len - last : 0;
		last = UINT64_MAX;
	} else {
		return -1;
	}
	if (first >= len)
		return -1;
	*off = first;
	*nbytes = (last < len ? last + 1 : len) - first;
	return 1;
}
