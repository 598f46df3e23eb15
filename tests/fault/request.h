/*
 * request - one HTTP/1.1 request, as it came over a wire.
 * Threads: the connection's.
 */
#ifndef FR_REQUEST_H
#define FR_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/fault/wire.h"

struct fr_request {
	char head[32 << 10]; /* what the rest points into */
	const char *method, *target, *version;
	char path[4096];     /* decoded, without the query */
	const char *query;   /* "" without one */
	const char *headers; /* "Name: value\n" lines */
	struct fr_wire *wire;
	bool chunked, keep;
	bool expects;  /* 100-continue, not yet said */
	bool ended;    /* the body is read */
	uint64_t left; /* of the body, or of its chunk */
};

/* Reads the next one's head; false: there is none, or it is malformed. */
bool fr_request_read(struct fr_request *q, struct fr_wire *w);

/* The value of a header into OUT (cut); false: there is none, and OUT is "". */
bool fr_request_header(const struct fr_request *q, const char *name, char *out, size_t cap);
/* Of a query or form parameter NAME in TEXT, decoded. */
bool fr_request_param(const char *text, const char *name, char *out, size_t cap);

/* Reads some of the body; 0: its end, or that of the wire (q->ended tells). */
size_t fr_request_body(struct fr_request *q, void *buf, size_t nbytes);
/* All of it, at most MAX, NUL-terminated, the caller's to free; NULL: cut or too long. */
char *fr_request_whole(struct fr_request *q, size_t max, size_t *len);
/* The rest, thrown away; false: it did not come. */
bool fr_request_drain(struct fr_request *q);

/*
 * A single range of a thing of LEN bytes. 0: none is asked for, or several, or what cannot be
 * understood (all is to be sent); 1: OFF and NBYTES; -1: there are no such bytes.
 */
int fr_request_range(const struct fr_request *q, uint64_t len, uint64_t *off, uint64_t *nbytes);

#endif
