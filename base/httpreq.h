/*
 * httpreq - the head of an HTTP/1 request: its line and its fields.
 * Source: RFC 9112 sections 2 to 5, RFC 9110 section 5. Strict where a lenient reader would help
 * nobody: no folded lines, no blanks before a colon, lines end in CR LF or LF alone.
 */
#ifndef CK_HTTPREQ_H
#define CK_HTTPREQ_H

#include <stdbool.h>
#include <stddef.h>

/* Slices of what was parsed, borrowed. */
struct ck_httpreq {
	const char *method, *path; /* the path without its query */
	size_t method_len, path_len;
};

/*
 * Parses the head at the start of P[0..NBYTES), at most INT_MAX. Returns its length, the empty line
 * included; 0 when its end is not there yet; else the status to answer with, negative: -400
 * (malformed), -505 (not HTTP/1.x). *OUT is filled on success only. Allocates nothing.
 */
int ck_httpreq_parse(struct ck_httpreq *out, const char *p, size_t nbytes);

/* Whether the slice S[0..LEN) is WORD. */
bool ck_httpreq_is(const char *s, size_t len, const char *word);

#endif
