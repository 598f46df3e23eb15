#include "keyprov/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/secret.h"
#include "keyprov/stream.h"

enum {
	READ_CHUNK = 16384,
	READS_AT_ONCE = 4,     /* then the others' turn */
	FIRST_CALL_MS = 10000, /* for a new connection to make a call */
	IDLE_MS = 60000,       /* between calls */
	UNREAD_MS = 10000,     /* past a call's deadline for the peer to read the answer */
};

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *f, void *ctx)
{
	struct ck_conn *c = ctx;

	(void)h2;
	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	return ck_stream_open(c, f->hd.stream_id);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *ctx)
{
	struct ck_stream *s = nghttp2_session_get_stream_user_data(h2, f->hd.stream_id);

	(void)flags, (void)ctx;
	if (s && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		ck_stream_header(s, (const char *)name, name_len, (const char *)value, len);
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t nbytes,
		   void *ctx)
{
	struct ck_stream *s = nghttp2_session_get_stream_user_data(h2, id);

	(void)flags, (void)ctx;
	return s ? ck_stream_data(s, p, nbytes) : 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *f, void *ctx)
{
	struct ck_stream *s = nghttp2_session_get_stream_user_data(h2, f->hd.stream_id);
	int rc = 0;

	(void)ctx;
	if (!s || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		rc = ck_stream_begun(s);
	if (rc == 0 && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		rc = ck_stream_complete(s);
	return rc;
}

/* An answer before the request was complete: the rest of it is not wanted. */
static int on_sent(nghttp2_session *h2, const nghttp2_frame *f, void *ctx)
{
	struct ck_stream *s = nghttp2_session_get_stream_user_data(h2, f->hd.stream_id);

	(void)ctx;
	if (!s || s->complete || f->hd.type != NGHTTP2_HEADERS ||
	    !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR)
		   ? NGHTTP2_ERR_CALLBACK_FAILURE
		   : 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *ctx)
{
	struct ck_stream *s = nghttp2_session_get_stream_user_data(h2, id);

	(void)code, (void)ctx;
	if (s)
		ck_stream_close(s);
	return 0;
}

static int session_new(struct ck_conn *c)
{
	nghttp2_session_callbacks *cbs;
	nghttp2_option *opt;
	nghttp2_settings_entry set[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, CK_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384 },
	};

	if (nghttp2_session_callbacks_new(&cbs))
		return -ENOMEM;
	if (nghttp2_option_new(&opt)) {
		nghttp2_session_callbacks_del(cbs);
		return -ENOMEM;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_close);
	nghttp2_option_set_max_outbound_ack(opt, 100);
	nghttp2_option_set_max_settings(opt, 32);
	int rc = nghttp2_session_server_new3(&c->h2, cbs, c, opt, ck_h2_mem());
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cbs);
	if (rc || nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, set, 2))
		return -ENOMEM;
	return 0;
}

int ck_conn_open(struct ck_conn **out, int fd, struct ck_conn_env *env, uint64_t now_ms,
		 struct ck_err *err)
{
	struct ck_conn *c = calloc(1, sizeof *c);

	if (!c)
		return ck_nomem(err, "taking a connection");
	c->fd = -1;
	c->env = env;
	c->now_ms = c->idle_since_ms = now_ms;
	if (session_new(c) < 0) {
		ck_conn_close(c);
		return ck_nomem(err, "taking a connection");
	}
	c->fd = fd;
	*out = c;
	return 0;
}

void ck_conn_close(struct ck_conn *c)
{
	if (!c)
		return;
	/* Not by way of on_close: nghttp2 does not call it from here. */
	while (c->streams)
		ck_stream_close(c->streams);
	nghttp2_session_del(c->h2);
	ck_buf_free(&c->unsent);
	ck_closep(&c->fd);
	free(c);
}

int ck_conn_fd(const struct ck_conn *c)
{
	return c->fd;
}

short ck_conn_events(const struct ck_conn *c)
{
	/* A peer that does not read is not read from: what it makes us queue is bounded. */
	return c->unsent.len ? POLLOUT : POLLIN;
}

/* Sends P[0..NBYTES); keeps what the socket does not take. False: the peer is gone. */
static bool send_some(struct ck_conn *c, const uint8_t *p, size_t nbytes)
{
	ssize_t n;

	do
		n = send(c->fd, p, nbytes, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return false;
	size_t sent = n < 0 ? 0 : (size_t)n;
	return sent == nbytes || ck_buf_add(&c->unsent, p + sent, nbytes - sent, NULL) == 0;
}

static bool flush(struct ck_conn *c)
{
	const uint8_t *p;
	ssize_t n;

	if (c->unsent.len) {
		struct ck_buf old = c->unsent;
		c->unsent = (struct ck_buf){ 0 };
		bool ok = send_some(c, old.data, old.len);
		ck_buf_free(&old);
		if (!ok)
			return false;
	}
	while (!c->unsent.len) {
		n = nghttp2_session_mem_send(c->h2, &p);
		if (n == 0)
			break;
		if (n < 0 || !send_some(c, p, (size_t)n))
			return false;
	}
	return true;
}

/* False: the peer is gone, or does not speak HTTP/2. */
static bool receive(struct ck_conn *c)
{
	uint8_t chunk[READ_CHUNK];

	for (int i = 0; i < READS_AT_ONCE && !c->unsent.len; i++) {
		ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		ssize_t used = nghttp2_session_mem_recv(c->h2, chunk, (size_t)n);
		ck_wipe(chunk, (size_t)n);
		if (used < 0) {
			/* With what it already wants to say, such as why (GOAWAY). */
			(void)flush(c);
			return false;
		}
		if (!flush(c))
			return false;
	}
	return true;
}

bool ck_conn_io(struct ck_conn *c, short revents, uint64_t now_ms)
{
	c->now_ms = now_ms;
	if ((revents & (POLLIN | POLLHUP | POLLERR)) && !c->unsent.len && !receive(c))
		return false;
	if ((revents & POLLERR) || !flush(c))
		return false;
	return c->unsent.len || nghttp2_session_want_read(c->h2) ||
	       nghttp2_session_want_write(c->h2);
}

static uint64_t idle_limit(const struct ck_conn *c)
{
	return c->idle_since_ms + (c->had_call ? IDLE_MS : FIRST_CALL_MS);
}

static uint64_t stream_limit(const struct ck_stream *s)
{
	return s->deadline_ms + (s->answered ? UNREAD_MS : 0);
}

bool ck_conn_tick(struct ck_conn *c, uint64_t now_ms)
{
	c->now_ms = now_ms;
	for (struct ck_stream *s = c->streams; s; s = s->next) {
		if (now_ms < stream_limit(s))
			continue;
		if (s->answered || ck_stream_refuse(s, CK_GRPC_DEADLINE_EXCEEDED,
						    "the call took longer than it may"))
			return false;
	}
	if (!c->streams && now_ms >= idle_limit(c)) {
		(void)nghttp2_session_terminate_session(c->h2, NGHTTP2_NO_ERROR);
		(void)flush(c);
		return false;
	}
	return c->unsent.len || flush(c);
}

uint64_t ck_conn_next_ms(const struct ck_conn *c)
{
	uint64_t next = c->streams ? UINT64_MAX : idle_limit(c);

	for (const struct ck_stream *s = c->streams; s; s = s->next)
		if (stream_limit(s) < next)
			next = stream_limit(s);
	return next;
}

uint64_t ck_conn_idle_since(const struct ck_conn *c)
{
	return c->streams ? UINT64_MAX : c->idle_since_ms;
}

void ck_conn_answer(struct ck_call *call, uint64_t now_ms)
{
	struct ck_stream *s = call->owner;

	if (s) {
		s->conn->now_ms = now_ms;
		s->call = NULL;
		/* A failure here shows at the stream's limit, which closes the connection. */
		(void)ck_stream_answer(s, call);
	}
	ck_call_free(call);
}

void ck_conn_stop(struct ck_conn *c)
{
	(void)nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(c->h2),
				    NGHTTP2_NO_ERROR, NULL, 0);
	for (struct ck_stream *s = c->streams; s; s = s->next)
		if (!s->complete && !s->answered)
			(void)ck_stream_refuse(s, CK_GRPC_UNAVAILABLE,
					       "the key provider is stopping");
	/* What cannot be sent shows at the next ck_conn_io or _tick. */
	(void)flush(c);
}

bool ck_conn_quiet(const struct ck_conn *c)
{
	return !c->streams && !c->unsent.len && !nghttp2_session_want_write(c->h2);
}
