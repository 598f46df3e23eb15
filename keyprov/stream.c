#include "keyprov/stream.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Both packages: ocicrypt's, and what Microsoft's SKR renamed it to. */
static const struct {
	const char *path;
	enum ck_op op;
} methods[] = {
	{ "/keyprovider.KeyProviderService/WrapKey", CK_OP_WRAP },
	{ "/keyprovider.KeyProviderService/UnWrapKey", CK_OP_UNWRAP },
	{ "/key_provider.KeyProviderService/WrapKey", CK_OP_WRAP },
	{ "/key_provider.KeyProviderService/UnWrapKey", CK_OP_UNWRAP },
};

static const char grpc_type[] = "application/grpc";

int ck_stream_open(struct ck_conn *c, int32_t id)
{
	struct ck_stream *s = calloc(1, sizeof *s);
	if (!s || nghttp2_session_set_stream_user_data(c->h2, id, s)) {
		free(s);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	s->conn = c;
	s->id = id;
	s->deadline_ms = c->now_ms + CK_CALL_MS;
	s->in.max = CK_GRPC_MESSAGE_MAX + CK_GRPC_PREFIX;
	s->next = c->streams;
	if (s->next)
		s->next->prev = s;
	c->streams = s;
	c->had_call = true;
	return 0;
}

void ck_stream_close(struct ck_stream *s)
{
	struct ck_conn *c = s->conn;

	if (s->call)
		ck_callpool_abandon(c->env->pool, s->call);
	(void)nghttp2_session_set_stream_user_data(c->h2, s->id, NULL);
	c->env->n_body -= s->n_charged;
	if (s->prev)
		s->prev->next = s->next;
	else
		c->streams = s->next;
	if (s->next)
		s->next->prev = s->prev;
	if (!c->streams)
		c->idle_since_ms = c->now_ms;
	ck_buf_free(&s->in);
	ck_buf_free(&s->out);
	free(s);
}

static bool is(const char *s, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(s, want, len) == 0;
}

void ck_stream_header(struct ck_stream *s, const char *name, size_t name_len, const char *value,
		      size_t len)
{
	uint64_t ms;

	if (is(name, name_len, ":method")) {
		s->post = is(value, len, "POST");
	} else if (is(name, name_len, ":path")) {
		for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
			if (is(value, len, methods[i].path)) {
				s->known = true;
				s->op = methods[i].op;
			}
	} else if (is(name, name_len, "content-type")) {
		/* "application/grpc", or with "+proto" or ";..." after it */
		size_t n = sizeof grpc_type - 1;
		s->grpc = len >= n && strncasecmp(value, grpc_type, n) == 0 &&
			  (len == n || value[n] == '+' || value[n] == ';');
	} else if (is(name, name_len, "grpc-encoding")) {
		s->compressed = !is(value, len, "identity");
	} else if (is(name, name_len, "grpc-timeout")) {
		s->bad_timeout = !ck_grpc_timeout(&ms, value, len);
		if (!s->bad_timeout && ms < CK_CALL_MS)
			s->deadline_ms = s->conn->now_ms + ms;
	}
}

int ck_stream_refuse(struct ck_stream *s, enum ck_grpc_status status, const char *why)
{
	CK_BUF text = { 0 };
	char number[16];

	s->answered = true;
	if (s->call) {
		ck_callpool_abandon(s->conn->env->pool, s->call);
		s->call = NULL;
	}
	snprintf(number, sizeof number, "%d", (int)status);
	if (ck_grpc_text_encode(&text, why, NULL) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	nghttp2_nv nv[] = {
		CK_NV(":status", "200"),
		CK_NV("content-type", grpc_type),
		CK_NV("grpc-status", number),
		CK_NV("grpc-message", ck_buf_str(&text)),
	};
	return nghttp2_submit_response(s->conn->h2, s->id, nv, 4, NULL)
		   ? NGHTTP2_ERR_CALLBACK_FAILURE
		   : 0;
}

/* What is no gRPC at all gets an HTTP status, as the gRPC specification wants. */
static int refuse_http(struct ck_stream *s, const char *status)
{
	nghttp2_nv nv[] = { CK_NV(":status", status) };

	s->answered = true;
	return nghttp2_submit_response(s->conn->h2, s->id, nv, 1, NULL)
		   ? NGHTTP2_ERR_CALLBACK_FAILURE
		   : 0;
}

int ck_stream_begun(struct ck_stream *s)
{
	if (!s->post)
		return refuse_http(s, "405");
	if (!s->grpc)
		return refuse_http(s, "415");
	if (!s->known)
		return ck_stream_refuse(s, CK_GRPC_UNIMPLEMENTED,
					"no such method: this is a key provider, it has WrapKey "
					"and UnWrapKey of KeyProviderService");
	if (s->compressed)
		return ck_stream_refuse(s, CK_GRPC_UNIMPLEMENTED,
					"compressed gRPC messages are not supported");
	if (s->bad_timeout)
		return ck_stream_refuse(s, CK_GRPC_INVALID_ARGUMENT, "grpc-timeout is malformed");
	return 0;
}

int ck_stream_data(struct ck_stream *s, const uint8_t *p, size_t nbytes)
{
	struct ck_conn_env *env = s->conn->env;

	if (s->answered)
		return 0;
	if (nbytes > s->in.max - s->in.len)
		return ck_stream_refuse(s, CK_GRPC_RESOURCE_EXHAUSTED,
					"the message is larger than 4 MiB");
	if (nbytes > CK_BODY_ALL - env->n_body || ck_buf_add(&s->in, p, nbytes, NULL) < 0)
		return ck_stream_refuse(s, CK_GRPC_RESOURCE_EXHAUSTED,
					"too many large requests at once; try again");
	env->n_body += nbytes;
	s->n_charged += nbytes;
	return 0;
}

int ck_stream_complete(struct ck_stream *s)
{
	s->complete = true;
	if (s->answered)
		return 0;
	struct ck_call *call = calloc(1, sizeof *call);
	if (!call)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	call->owner = s;
	call->op = s->op;
	call->in = s->in;
	s->in = (struct ck_buf){ .max = s->in.max };
	if (ck_callpool_submit(s->conn->env->pool, call) < 0) {
		ck_call_free(call);
		return ck_stream_refuse(s, CK_GRPC_UNAVAILABLE,
					"the key provider is stopping or has too many calls "
					"waiting; try again");
	}
	s->call = call;
	return 0;
}

static ssize_t read_answer(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t cap,
			   uint32_t *flags, nghttp2_data_source *src, void *ctx)
{
	struct ck_stream *s = src->ptr;
	size_t left = s->out.len - s->n_out, n = left < cap ? left : cap;
	nghttp2_nv nv[] = { CK_NV("grpc-status", "0") };

	(void)ctx;
	memcpy(buf, s->out.data + s->n_out, n);
	s->n_out += n;
	if (s->n_out < s->out.len)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	if (nghttp2_submit_trailer(h2, id, nv, 1))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return (ssize_t)n;
}

int ck_stream_answer(struct ck_stream *s, struct ck_call *call)
{
	if (s->answered)
		return 0;
	if (call->status != CK_GRPC_OK)
		return ck_stream_refuse(s, call->status, call->err.msg);
	s->answered = true;
	s->out = call->out;
	call->out = (struct ck_buf){ 0 };
	nghttp2_nv nv[] = { CK_NV(":status", "200"), CK_NV("content-type", grpc_type) };
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = read_answer };
	return nghttp2_submit_response(s->conn->h2, s->id, nv, 2, &body)
		   ? NGHTTP2_ERR_CALLBACK_FAILURE
		   : 0;
}
