/*
 * stream - one gRPC call on a connection: its headers, its message, its answer.
 * The functions that nghttp2's callbacks call return 0 or NGHTTP2_ERR_CALLBACK_FAILURE,
 * which ends the connection.
 */
#ifndef CK_STREAM_H
#define CK_STREAM_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "keyprov/callpool.h"
#include "keyprov/conn.h"

enum {
	CK_STREAMS_MAX = 16,	/* at once, of one connection; nghttp2 refuses more */
	CK_CALL_MS = 60000,	/* the longest a call may take, whatever it asks for */
	CK_BODY_ALL = 32 << 20, /* bytes of request bodies of all connections */
};

struct ck_stream {
	struct ck_stream *next, *prev;
	struct ck_conn *conn;
	int32_t id;
	uint64_t deadline_ms;
	bool post, grpc, compressed, bad_timeout, known; /* what the headers said */
	bool complete, answered;
	enum ck_op op;	      /* when known */
	struct ck_buf in;     /* the framed request */
	size_t n_charged;     /* bytes that count in env->n_body */
	struct ck_call *call; /* in the pool, or NULL */
	struct ck_buf out;    /* the framed answer */
	size_t n_out;	      /* bytes of it given to nghttp2 */
};

/* Shared by conn.c and stream.c; see conn.h. */
struct ck_conn {
	int fd;
	nghttp2_session *h2;
	struct ck_conn_env *env;
	struct ck_stream *streams;
	struct ck_buf unsent;
	uint64_t now_ms;	/* of the call of conn.h that runs */
	uint64_t idle_since_ms; /* while there are no streams */
	bool had_call;
};

int ck_stream_open(struct ck_conn *c, int32_t id);
void ck_stream_close(struct ck_stream *s); /* abandons its call, frees it */

void ck_stream_header(struct ck_stream *s, const char *name, size_t name_len, const char *value,
		      size_t len);
int ck_stream_begun(struct ck_stream *s); /* its headers are complete */
int ck_stream_data(struct ck_stream *s, const uint8_t *p, size_t nbytes);
int ck_stream_complete(struct ck_stream *s); /* its message is complete */

/* Answers that it will not be done. */
int ck_stream_refuse(struct ck_stream *s, enum ck_grpc_status status, const char *why);

/* Answers with the result of CALL, taking its output. */
int ck_stream_answer(struct ck_stream *s, struct ck_call *call);

#endif
