/*
 * plan - which answers are to go wrong, and how.
 *
 * A rule is a line of words: what goes wrong, and for which requests. Those that match one
 * request are put together (whole reset=1000: all of the blob, cut).
 *
 * Which:  method=GET  path=SUBSTRING  door=registry|blobs|token  ranged (only with Range)
 *         skip=K (not the first K that match)  every=M (each M-th of the rest)
 *         times=N (no more than N of them)
 * What:   reset=AT close=AT stall=AT   at byte AT of the body ("h:AT": of the whole answer, its
 *             head too): RST, FIN, or nothing more until the rule is cleared
 *         eat=N        of the request's body N bytes are taken, then RST
 *         drip=N       bytes a second               delay=MS     before the answer
 *         status=S [retry-after=SECONDS]            redirect=URL
 *         whole        200 and all of it            bare         200, only the range's bytes
 *         range=start|total|length|none|junk        what Content-Range says, bytes as asked for
 *         range=shift  says what was asked for, bytes from 512 further on
 *         range=fewer  an honest 206 of half of what was asked for
 *         less=N more=N  the body is so much shorter, longer; Content-Length says it, Content-Range
 *                      does not
 *         flip=AT      a bit of the byte AT of the blob, where the body has it ("b:AT": of the
 * body) garbage      other bytes                  swap         another blob's page         200,
 * text/html               gzip         Content-Encoding: gzip http10       HTTP/1.0, no length
 * chunked      no length multipart    multipart/byteranges         interim      100, 103 and odd
 * headers Threads: any.
 */
#ifndef FR_PLAN_H
#define FR_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fr_door { FR_REGISTRY, FR_BLOBS, FR_TOKEN };
enum fr_cut { FR_NO_CUT, FR_RESET, FR_CLOSE, FR_STALL };
enum fr_range {
	FR_RANGE_RIGHT,
	FR_RANGE_START,
	FR_RANGE_TOTAL,
	FR_RANGE_LENGTH,
	FR_RANGE_NONE,
	FR_RANGE_JUNK,
	FR_RANGE_SHIFT,
	FR_RANGE_FEWER
};

/* What is to be done to one answer. */
struct fr_fault {
	enum fr_cut cut;
	bool cut_head; /* counted from the head's first byte on */
	uint64_t cut_at;
	unsigned cut_rule; /* whose end a stall waits for */
	bool eat, retry, flip, flip_body;
	uint64_t eat_at, retry_s, flip_at;
	uint64_t drip, delay_ms, status, less, more;
	unsigned drip_rule; /* whose end ends it */
	enum fr_range range;
	bool whole, bare, garbage, swap, page, gzip, http10, chunked, multipart, interim;
	char redirect[512];
	char rules[64]; /* their numbers, "1,2"; "-": none */
};

struct fr_plan; /* opaque */

struct fr_plan *fr_plan_new(void);

/* Adds a rule; its number, or 0 and why in WHY. */
unsigned fr_plan_add(struct fr_plan *p, const char *line, char *why, size_t cap);
void fr_plan_clear(struct fr_plan *p, unsigned rule); /* 0: all */
bool fr_plan_has(struct fr_plan *p, unsigned rule);
uint64_t fr_plan_hits(struct fr_plan *p,
		      unsigned rule); /* answers that it made wrong, cleared or not */

/* What is to be done to the answer to this request, which counts as one from now on. */
void fr_plan_match(struct fr_plan *p, enum fr_door door, const char *method, const char *path,
		   bool ranged, struct fr_fault *out);

#endif
