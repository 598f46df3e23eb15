#include "keyprov/grpccall.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/secret.h"
#include "keyprov/dial.h"
#include "keyprov/grpc.h"

struct call {
	nghttp2_session *h2;
	int fd;
	struct ck_buf request, body; /* framed messages */
	size_t n_sent;		     /* bytes of the request given to nghttp2 */
	int http_status;	     /* 0: none yet */
	int grpc_status;	     /* -1: none yet */
	char text[CK_GRPC_TEXT_MAX + 1];
	bool http2; /* the peer sent a frame */
	bool too_big, done;
};

static ssize_t read_request(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t cap,
			    uint32_t *flags, nghttp2_data_source *src, void *ctx)
{
	struct call *c = ctx;
	size_t left = c->request.len - c->n_sent, n = left < cap ? left : cap;

	(void)h2, (void)id, (void)src;
	memcpy(buf, c->request.data + c->n_sent, n);
	c->n_sent += n;
	if (c->n_sent == c->request.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int small_number(const uint8_t *s, size_t len)
{
	int v = 0;

	if (len == 0 || len > 3)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = 10 * v + (s[i] - '0');
	}
	return v;
}

static bool named(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *ctx)
{
	struct call *c = ctx;

	(void)h2, (void)f, (void)flags;
	if (named(name, name_len, ":status"))
		c->http_status = small_number(value, len);
	else if (named(name, name_len, "grpc-status"))
		c->grpc_status = small_number(value, len);
	else if (named(name, name_len, "grpc-message"))
		ck_grpc_text_decode(c->text, sizeof c->text, value, len);
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t nbytes,
		   void *ctx)
{
	struct call *c = ctx;

	(void)h2, (void)flags, (void)id;
	if (!c->too_big && ck_buf_add(&c->body, p, nbytes, NULL) < 0)
		c->too_big = c->done = true;
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *f, void *ctx)
{
	(void)h2, (void)f;
	((struct call *)ctx)->http2 = true;
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *ctx)
{
	(void)h2, (void)id, (void)code;
	((struct call *)ctx)->done = true;
	return 0;
}

static int start(struct call *c, const char *method, uint64_t deadline_ms, struct ck_err *err)
{
	nghttp2_session_callbacks *cbs;
	uint64_t now = ck_now_ms(), left = now < deadline_ms ? deadline_ms - now : 0;
	char timeout[16];
	nghttp2_data_provider body = { .read_callback = read_request };
	nghttp2_settings_entry set = { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };

	snprintf(timeout, sizeof timeout, "%um", (unsigned)(left < 99999999 ? left : 99999999));
	nghttp2_nv nv[] = {
		CK_NV(":method", "POST"),
		CK_NV(":scheme", "http"),
		CK_NV(":path", method),
		CK_NV(":authority", "localhost"),
		CK_NV("content-type", "application/grpc"),
		CK_NV("te", "trailers"),
		CK_NV("user-agent", "cloakfs/" CK_VERSION),
		CK_NV("grpc-timeout", timeout),
	};
	if (nghttp2_session_callbacks_new(&cbs))
		return ck_nomem(err, "making a gRPC call");
	nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_close);
	int rc = nghttp2_session_client_new3(&c->h2, cbs, c, NULL, ck_h2_mem());
	nghttp2_session_callbacks_del(cbs);
	if (rc || nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, &set, 1) ||
	    nghttp2_submit_request(c->h2, NULL, nv, sizeof nv / sizeof nv[0], &body, NULL) < 0)
		return ck_nomem(err, "making a gRPC call");
	return 0;
}

static int send_all(struct call *c, uint64_t deadline_ms, struct ck_err *err)
{
	const uint8_t *p;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->h2, &p)) > 0) {
		for (size_t at = 0; at < (size_t)n;) {
			ssize_t w = send(c->fd, p + at, (size_t)n - at, MSG_NOSIGNAL);
			if (w > 0) {
				at += (size_t)w;
				continue;
			}
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				return ck_fail(err, -EPROTO, "it closed the connection: %s",
					       strerror(errno));
			int rc = ck_dial_wait(c->fd, POLLOUT, deadline_ms);
			if (rc < 0)
				return ck_fail(err, rc, "it does not take the request");
		}
	}
	return n < 0 ? ck_fail(err, -EPROTO, "HTTP/2: %s", nghttp2_strerror((int)n)) : 0;
}

static int receive(struct call *c, uint64_t deadline_ms, struct ck_err *err)
{
	uint8_t chunk[16384];
	int rc = ck_dial_wait(c->fd, POLLIN, deadline_ms);

	if (rc < 0)
		return ck_fail(err, rc, "it gave no answer in time");
	ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return ck_fail(err, -EPROTO, "it closed the connection without an answer");
	ssize_t used = nghttp2_session_mem_recv(c->h2, chunk, (size_t)n);
	ck_wipe(chunk, (size_t)n);
	if (used < 0)
		return ck_fail(err, -EPROTO, "its answer is not HTTP/2 (%s)",
			       nghttp2_strerror((int)used));
	return 0;
}

static int status_errno(int grpc_status)
{
	switch (grpc_status) {
	case CK_GRPC_UNIMPLEMENTED:
		return -ENOSYS;
	case CK_GRPC_PERMISSION_DENIED:
		return -EACCES;
	case CK_GRPC_DEADLINE_EXCEEDED:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

static int judge(const struct call *c, struct ck_buf *out, struct ck_err *err)
{
	if (c->too_big)
		return ck_fail(err, -EFBIG, "its answer is above %d bytes", CK_GRPC_MESSAGE_MAX);
	if (c->http_status == 0)
		return ck_fail(err, -EPROTO, "it ended the call without an answer");
	if (c->http_status != 200 && c->grpc_status < 0)
		return ck_fail(err, -EPROTO, "it answered HTTP status %d, so it is no gRPC server",
			       c->http_status);
	if (c->grpc_status < 0)
		return ck_fail(err, -EPROTO, "its answer has no grpc-status");
	if (c->grpc_status > 0)
		return ck_fail(err, status_errno(c->grpc_status),
			       "it answered (grpc-status %d): %s", c->grpc_status, c->text);
	return ck_grpc_decode(out, CK_GRPC_OUTPUT, c->body.data, c->body.len, err);
}

static int run(struct call *c, const char *method, uint64_t deadline_ms, struct ck_buf *out,
	       struct ck_err *err)
{
	int rc = start(c, method, deadline_ms, err);

	while (rc == 0 && !c->done) {
		rc = send_all(c, deadline_ms, err);
		/* After a GOAWAY, the peer's or ours about what it sent, nothing comes. */
		if (rc == 0 && !c->done && !nghttp2_session_want_read(c->h2))
			rc = ck_fail(err, -EPROTO,
				     c->http2 ? "it ended the connection without an answer"
					      : "its answer is not HTTP/2");
		else if (rc == 0 && !c->done)
			rc = receive(c, deadline_ms, err);
	}
	return rc < 0 ? rc : judge(c, out, err);
}

int ck_grpccall(const char *target, const char *method, const void *in, size_t nbytes,
		uint64_t deadline_ms, struct ck_buf *out, struct ck_err *err)
{
	struct call c = { .grpc_status = -1 };
	int rc = ck_grpc_encode(&c.request, CK_GRPC_INPUT, in, nbytes, err);

	c.body.max = CK_GRPC_MESSAGE_MAX + CK_GRPC_PREFIX;
	c.fd = rc < 0 ? rc : ck_dial(target, deadline_ms, err);
	if (c.fd >= 0) {
		rc = run(&c, method, deadline_ms, out, err);
		nghttp2_session_del(c.h2);
		(void)close(c.fd);
	} else {
		rc = c.fd;
	}
	ck_buf_free(&c.request);
	ck_buf_free(&c.body);
	return rc < 0 ? ck_wrap(err, "%s", target) : 0;
}
