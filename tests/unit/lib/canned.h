/*
 * canned - a loopback HTTP server that gives prepared answers, one connection each, in
 * order, and keeps what it was asked. When they run out, it resets connections.
 */
#ifndef CK_TEST_CANNED_H
#define CK_TEST_CANNED_H

#include <stddef.h>

struct canned; /* opaque */

/* ANSWERS are whole HTTP messages; "" closes the connection without a word, NULL holds
 * it open until canned_close. Borrowed until then. */
struct canned *canned_open(const char *const *answers, size_t n_answers);
void canned_close(struct canned *c);

/* "http://127.0.0.1:PORT"; borrowed. */
const char *canned_url(const struct canned *c);

/* How many requests came, and the text of request IDX (borrowed; "" if it did not come). */
size_t canned_count(struct canned *c);
const char *canned_request(struct canned *c, size_t idx);

#define CANNED_JSON(status, body)                                                                  \
	"HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body

#endif
