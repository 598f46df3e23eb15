/*
 * stubhttpd - a loopback HTTP/1.1 server in the test's own process, whose answers a function of the
 * test gives, byte by byte if it likes. Connections are kept alive, each has a thread.
 * Anything that goes wrong here aborts.
 */
#ifndef CK_TEST_STUBHTTPD_H
#define CK_TEST_STUBHTTPD_H

#include <stdbool.h>
#include <stddef.h>

struct stub;	  /* opaque: the server */
struct stub_conn; /* opaque: where an answer goes */

struct stub_req {
	const char *method, *target; /* of the request line */
	const char *head;	     /* its other lines */
	const char *body;	     /* NUL-terminated */
	size_t body_len;
	unsigned conn; /* which connection it came by, from 0 */
};

/* Called on the connection's thread, one at a time for the whole server. */
typedef void (*stub_answer)(void *ctx, const struct stub_req *req, struct stub_conn *c);

struct stub_opts {
	stub_answer answer;
	void *ctx;
	const char *cert, *key; /* PEM files: TLS */
	const char *client_ca;	/* PEM file: clients must show a certificate from it */
	unsigned port;		/* 0: any that is free */
};

struct stub *stub_open(const struct stub_opts *opts);
void stub_close(struct stub *s);

/* "127.0.0.1:PORT"; borrowed. */
const char *stub_host(const struct stub *s);

/* How many connections were made, and how many requests of them "METHOD TARGET" begin with WHAT. */
unsigned stub_conns(struct stub *s);
unsigned stub_count(struct stub *s, const char *what);

/* Between these no answer is given: what answers read may be changed, what they wrote be read. */
void stub_pause(struct stub *s);
void stub_resume(struct stub *s);

/* The value of a request's header, valid until the thread's next call; NULL: there is none. */
const char *stub_header(const struct stub_req *req, const char *name);

void stub_send(struct stub_conn *c, const void *p, size_t nbytes);
void stub_sendf(struct stub_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole answer: STATUS = "200 OK", HEADERS = lines each with its "\r\n", and BODY. */
void stub_reply(struct stub_conn *c, const char *status, const char *headers, const void *body,
		size_t nbytes);
void stub_replys(struct stub_conn *c, const char *status, const char *headers, const char *body);

/* What becomes of the connection when the answer has been given: it is closed, reset, or says
 * nothing more until the other side gives up. */
void stub_end(struct stub_conn *c);
void stub_cut(struct stub_conn *c);
void stub_hold(struct stub_conn *c);

#endif
