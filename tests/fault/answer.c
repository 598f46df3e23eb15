#include "tests/fault/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PIECE = 16 << 10 };

static const char boundary[] = "THIS_STRING_SEPARATES";

/* What is to be sent, once all is decided. */
struct shown {
	int status;
	const char *type;
	bool encoded;		  /* Content-Encoding: gzip */
	uint64_t off, len;	  /* of the bytes */
	uint64_t first, last, of; /* what Content-Range says */
	enum fr_range range;	  /* how wrong that is */
	struct fr_bytes bytes;
	uint8_t *made; /* memory behind them, to be freed */
};

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *words;
	} known[] = { { 200, "OK" },
		      { 201, "Created" },
		      { 202, "Accepted" },
		      { 204, "No Content" },
		      { 206, "Partial Content" },
		      { 307, "Temporary Redirect" },
		      { 400, "Bad Request" },
		      { 401, "Unauthorized" },
		      { 403, "Forbidden" },
		      { 404, "Not Found" },
		      { 416, "Range Not Satisfiable" },
		      { 429, "Too Many Requests" },
		      { 500, "Internal Server Error" },
		      { 502, "Bad Gateway" },
		      { 503, "Service Unavailable" } };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].status == status)
			return known[i].words;
	return "Whatever";
}

/* ---- bytes out, and cuts ---- */

/* Here it ends, or waits; true: it may go on. */
static bool cut(struct fr_exchange *x)
{
	x->over = true;
	x->reset = x->f.cut == FR_RESET;
	x->bye = false;
	if (x->f.cut != FR_STALL)
		return false;
	while (fr_plan_has(x->server->plan, x->f.cut_rule))
		if (fr_wire_gone(x->wire, 20))
			return false;
	x->f.cut = FR_NO_CUT;
	x->over = false;
	return true;
}

/* How many of NBYTES go out before the next cut; waits for what is slow. */
static size_t allowed(struct fr_exchange *x, size_t nbytes, bool body)
{
	if (x->f.cut && (body || x->f.cut_head)) {
		uint64_t at = x->sent + (x->f.cut_head ? x->head_sent : 0);
		if (at >= x->f.cut_at && !cut(x))
			return 0;
		if (x->f.cut && nbytes > x->f.cut_at - at)
			nbytes = (size_t)(x->f.cut_at - at);
	}
	if (!body || !x->f.drip || !fr_plan_has(x->server->plan, x->f.drip_rule))
		return nbytes;
	size_t n = x->f.drip > 10 ? (size_t)(x->f.drip / 10) : 1;
	if (n > nbytes)
		n = nbytes;
	if (fr_wire_gone(x->wire, (int)(n * 1000 / x->f.drip)))
		return 0;
	return n;
}

static bool emit(struct fr_exchange *x, const void *p, size_t nbytes, bool body)
{
	const uint8_t *at = p;

	while (nbytes) {
		size_t n = allowed(x, nbytes, body);
		if (n == 0 || !fr_wire_send(x->wire, at, n)) {
			x->over = true;
			return false;
		}
		*(body ? &x->sent : &x->head_sent) += n;
		at += n;
		nbytes -= n;
	}
	return true;
}

/* ---- what goes wrong with bytes ---- */

static void spoil(const struct fr_exchange *x, const struct fr_answer *a, const struct shown *s,
		  uint64_t off, uint8_t *p, size_t nbytes)
{
	for (size_t i = 0; x->f.swap && a->other.len && i < nbytes; i++)
		(void)fr_bytes_read(&a->other, (off + i) % a->other.len, p + i, 1);
	for (size_t i = 0; x->f.garbage && i < nbytes; i++)
		p[i] = (uint8_t)((off + i) * 2654435761U >> 9);
	uint64_t flip = x->f.flip_at + (x->f.flip_body ? s->off : 0);
	if (x->f.flip && flip >= off && flip - off < nbytes)
		p[flip - off] ^= 1;
}

/* What the answer shows at OFF; what it has too much is zero. */
static void take(const struct fr_exchange *x, const struct fr_answer *a, const struct shown *s,
		 uint64_t off, uint8_t *p, size_t nbytes)
{
	memset(p, 0, nbytes);
	if (off < s->bytes.len) {
		uint64_t there = s->bytes.len - off;
		if (!fr_bytes_read(&s->bytes, off, p, there < nbytes ? (size_t)there : nbytes))
			fr_die("a blob of the layout became shorter");
	}
	if (!s->made)
		spoil(x, a, s, off, p, nbytes);
}

static uint8_t *take_all(const struct fr_exchange *x, const struct fr_answer *a,
			 const struct shown *s)
{
	uint8_t *p = fr_alloc(s->len);

	take(x, a, s, s->off, p, s->len);
	return p;
}

/* The body becomes MADE. */
static void show_made(struct shown *s, uint8_t *made, uint64_t len)
{
	s->made = made;
	s->bytes = (struct fr_bytes){ -1, made, len };
	s->off = 0;
	s->len = len;
}

static void pack(const struct fr_exchange *x, const struct fr_answer *a, struct shown *s)
{
	z_stream z = { 0 };
	uint8_t *plain = take_all(x, a, s);

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		fr_die("zlib");
	size_t cap = deflateBound(&z, s->len) + 64;
	uint8_t *packed = fr_alloc(cap);
	z.next_in = plain;
	z.avail_in = (unsigned)s->len;
	z.next_out = packed;
	z.avail_out = (unsigned)cap;
	(void)deflate(&z, Z_FINISH);
	show_made(s, packed, z.total_out);
	(void)deflateEnd(&z);
	free(plain);
	s->encoded = true;
}

static void in_parts(const struct fr_exchange *x, const struct fr_answer *a, struct shown *s)
{
	char head[512] = "", tail[64] = "";
	uint8_t *plain = take_all(x, a, s);

	fr_append(head, sizeof head,
		  "--%s\r\nContent-Type: application/octet-stream\r\n"
		  "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
		  boundary, s->first, s->last, s->of);
	fr_append(tail, sizeof tail, "\r\n--%s--\r\n", boundary);
	size_t n = strlen(head), m = strlen(tail);
	uint8_t *all = fr_alloc(n + s->len + m);
	memcpy(all, head, n);
	memcpy(all + n, plain, s->len);
	memcpy(all + n + s->len, tail, m);
	show_made(s, all, n + s->len + m);
	free(plain);
	s->type = "multipart/byteranges; boundary=THIS_STRING_SEPARATES";
	s->range = FR_RANGE_NONE;
}

/* ---- what is to be shown ---- */

static void cut_out(struct fr_exchange *x, const struct fr_answer *a, struct shown *s)
{
	uint64_t off, len;
	int asked = a->ranges && a->status == 200 && !x->f.whole
			? fr_request_range(&x->q, s->bytes.len, &off, &len)
			: 0;

	if (asked < 0) {
		s->status = 416;
		s->len = 0;
	}
	if (asked <= 0)
		return;
	if (x->f.range == FR_RANGE_FEWER && len > 1)
		len /= 2;
	s->status = x->f.bare ? 200 : 206;
	s->off = s->first = off;
	s->len = len;
	s->last = off + len - 1;
	s->range = x->f.range;
	if (s->range == FR_RANGE_SHIFT)
		s->off += 512;
	else if (s->range == FR_RANGE_START)
		s->first++;
	else if (s->range == FR_RANGE_TOTAL)
		s->of++;
	else if (s->range == FR_RANGE_LENGTH)
		s->last += 7;
}

static struct shown decide(struct fr_exchange *x, const struct fr_answer *a)
{
	struct shown s = { .status = a->status, .type = a->type, .bytes = a->bytes };

	s.len = s.of = a->bytes.len;
	s.last = s.len - 1;
	cut_out(x, a, &s);
	if (x->f.multipart && s.status == 206)
		in_parts(x, a, &s);
	if (x->f.gzip && s.len)
		pack(x, a, &s);
	s.len += x->f.more;
	s.len -= x->f.less < s.len ? x->f.less : s.len;
	return s;
}

static void range_header(char *head, size_t cap, const struct shown *s)
{
	if (s->range == FR_RANGE_JUNK)
		fr_append(head, cap, "Content-Range: bytes none of your business\r\n");
	else if (s->status == 416)
		fr_append(head, cap, "Content-Range: bytes */%" PRIu64 "\r\n", s->of);
	else if (s->status == 206 && s->range != FR_RANGE_NONE)
		fr_append(head, cap, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
			  s->first, s->last, s->of);
}

static void odd_headers(char *head, size_t cap)
{
	fr_append(head, cap,
		  "x-empty:\r\nX-Odd: \t with  spaces \t\r\nX-Twice: a\r\nX-Twice: b\r\n");
	for (int i = 0; i < 60; i++)
		fr_append(head, cap, "X-Many-%d: %d\r\n", i, i);
}

static bool send_head(struct fr_exchange *x, const struct fr_answer *a, const struct shown *s)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n"
				      "HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n";
	char head[16 << 10] = "";
	bool body = s->status >= 200 && s->status != 204;

	if (x->f.interim)
		fr_append(head, sizeof head, "%s", interim);
	fr_append(head, sizeof head, "HTTP/1.%d %d %s\r\n", !x->f.http10, s->status,
		  reason(s->status));
	fr_append(head, sizeof head, "Docker-Distribution-Api-Version: registry/2.0\r\n%s",
		  a->headers);
	if (s->type)
		fr_append(head, sizeof head, "Content-Type: %s\r\n", s->type);
	if (s->encoded)
		fr_append(head, sizeof head, "Content-Encoding: gzip\r\n");
	if (a->ranges)
		fr_append(head, sizeof head, "Accept-Ranges: bytes\r\n");
	range_header(head, sizeof head, s);
	if (x->f.chunked && body)
		fr_append(head, sizeof head, "Transfer-Encoding: chunked\r\n");
	else if (!x->f.http10 && body)
		fr_append(head, sizeof head, "%s: %" PRIu64 "\r\n",
			  x->f.interim ? "content-LENGTH" : "Content-Length", s->len);
	if (x->f.interim)
		odd_headers(head, sizeof head);
	x->over |= x->f.http10 || !x->q.keep;
	fr_append(head, sizeof head, "%s\r\n",
		  x->over && !x->f.http10 ? "Connection: close\r\n" : "");
	return emit(x, head, strlen(head), false);
}

static bool send_body(struct fr_exchange *x, const struct fr_answer *a, const struct shown *s)
{
	uint8_t buf[PIECE];
	char size[32];
	uint64_t done = 0;
	bool good = true;

	while (good && done < s->len) {
		size_t n = s->len - done < sizeof buf ? (size_t)(s->len - done) : sizeof buf;
		take(x, a, s, s->off + done, buf, n);
		(void)snprintf(size, sizeof size, "%zx\r\n", n);
		good = (!x->f.chunked || fr_wire_send(x->wire, size, strlen(size))) &&
		       emit(x, buf, n, true) && (!x->f.chunked || fr_wire_send(x->wire, "\r\n", 2));
		done += n;
	}
	return good && (!x->f.chunked || fr_wire_send(x->wire, "0\r\n\r\n", 5));
}

void fr_answer(struct fr_exchange *x, const struct fr_answer *a)
{
	x->bye = true;
	struct shown s = decide(x, a);
	x->status = s.status;
	/* What was sent must be read before an answer can be. */
	x->over |= !fr_request_drain(&x->q) || !send_head(x, a, &s) ||
		   (strcmp(x->q.method, "HEAD") != 0 && !send_body(x, a, &s));
	free(s.made);
}

void fr_answer_text(struct fr_exchange *x, int status, const char *type, const char *text,
		    const char *headers)
{
	struct fr_answer a = { .status = status, .type = type };

	a.bytes = (struct fr_bytes){ -1, (const uint8_t *)text, strlen(text) };
	if (headers)
		fr_append(a.headers, sizeof a.headers, "%s", headers);
	fr_answer(x, &a);
}

void fr_answer_error(struct fr_exchange *x, int status, const char *code, const char *message)
{
	char text[1024];

	(void)snprintf(text, sizeof text, "{\"errors\":[{\"code\":\"%s\",\"message\":\"%s\"}]}\n",
		       code, message);
	fr_answer_text(x, status, "application/json", text, NULL);
}

void fr_answer_none(struct fr_exchange *x, int status, const char *headers)
{
	fr_answer_text(x, status, NULL, "", headers);
}
