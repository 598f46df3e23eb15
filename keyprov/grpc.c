#include "keyprov/grpc.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/cursor.h"
#include "base/secret.h"
#include "keyprov/keyprovider.pb-c.h"

typedef Keyprovider__KeyProviderKeyWrapProtocolInput input_msg;
typedef Keyprovider__KeyProviderKeyWrapProtocolOutput output_msg;

/* protobuf-c keeps every unknown field apart: a message of nothing else would grow
 * thirtyfold. DATA counts down what it may still take. */
static void *pb_alloc(void *data, size_t nbytes)
{
	size_t *budget = data;

	if (nbytes > *budget)
		return NULL;
	*budget -= nbytes;
	return malloc(nbytes ? nbytes : 1);
}

static void pb_free(void *data, void *p)
{
	(void)data;
	ck_wipe_free(p);
}

static int add_prefix(struct ck_buf *out, size_t nbytes, struct ck_err *err)
{
	uint8_t head[CK_GRPC_PREFIX] = { 0, (uint8_t)(nbytes >> 24), (uint8_t)(nbytes >> 16),
					 (uint8_t)(nbytes >> 8), (uint8_t)nbytes };
	int rc = ck_buf_add(out, head, sizeof head, err);

	return rc < 0 ? rc : ck_buf_reserve(out, nbytes, err);
}

int ck_grpc_encode(struct ck_buf *out, enum ck_grpc_message kind, const void *p, size_t nbytes,
		   struct ck_err *err)
{
	input_msg in = KEYPROVIDER__KEY_PROVIDER_KEY_WRAP_PROTOCOL_INPUT__INIT;
	output_msg res = KEYPROVIDER__KEY_PROVIDER_KEY_WRAP_PROTOCOL_OUTPUT__INIT;
	ProtobufCBinaryData bytes = { nbytes, (uint8_t *)(uintptr_t)p };
	const ProtobufCMessage *m = kind == CK_GRPC_INPUT ? &in.base : &res.base;

	if (nbytes > CK_GRPC_MESSAGE_MAX - 16)
		return ck_fail(err, -EFBIG, "a message of %zu bytes is above the limit", nbytes);
	in.keyproviderkeywrapprotocolinput = bytes;
	res.keyproviderkeywrapprotocoloutput = bytes;
	int rc = add_prefix(out, protobuf_c_message_get_packed_size(m), err);
	if (rc < 0)
		return rc;
	out->len += protobuf_c_message_pack(m, out->data + out->len);
	out->data[out->len] = 0;
	return 0;
}

static int decode_message(struct ck_buf *out, enum ck_grpc_message kind, const uint8_t *p,
			  size_t nbytes, struct ck_err *err)
{
	size_t budget = 2 * nbytes + ((size_t)64 << 10);
	ProtobufCAllocator a = { pb_alloc, pb_free, &budget };
	const ProtobufCMessageDescriptor *d =
	    kind == CK_GRPC_INPUT ? &keyprovider__key_provider_key_wrap_protocol_input__descriptor
				  : &keyprovider__key_provider_key_wrap_protocol_output__descriptor;
	ProtobufCMessage *m = protobuf_c_message_unpack(d, &a, nbytes, p);

	if (!m)
		return ck_fail(err, -EBADMSG,
			       "not a protobuf message of the key-provider protocol");
	ProtobufCBinaryData bytes =
	    kind == CK_GRPC_INPUT ? ((input_msg *)(void *)m)->keyproviderkeywrapprotocolinput
				  : ((output_msg *)(void *)m)->keyproviderkeywrapprotocoloutput;
	int rc = ck_buf_add(out, bytes.data, bytes.len, err);
	protobuf_c_message_free_unpacked(m, &a);
	return rc;
}

int ck_grpc_decode(struct ck_buf *out, enum ck_grpc_message kind, const void *p, size_t nbytes,
		   struct ck_err *err)
{
	struct ck_cursor c = ck_cursor(p, nbytes);
	const uint8_t *msg;
	uint8_t flag;
	uint32_t len;

	if (!ck_cursor_u8(&c, &flag) || !ck_cursor_be32(&c, &len))
		return ck_fail(err, -EBADMSG, "a gRPC message is missing or cut short");
	if (flag == 1)
		return ck_fail(err, -ENOTSUP, "compressed gRPC messages are not supported");
	if (flag || len > CK_GRPC_MESSAGE_MAX)
		return ck_fail(err, -EBADMSG, "not a gRPC message of at most %d bytes",
			       CK_GRPC_MESSAGE_MAX);
	if (!ck_cursor_take(&c, len, &msg))
		return ck_fail(err, -EBADMSG, "a gRPC message is cut short");
	if (c.left)
		return ck_fail(err, -EBADMSG, "more than one message in a unary call");
	return decode_message(out, kind, msg, len, err);
}

int ck_grpc_text_encode(struct ck_buf *out, const char *s, struct ck_err *err)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t start = out->len;
	int rc = 0;

	for (; rc == 0 && *s && out->len - start < CK_GRPC_TEXT_MAX - 3; s++) {
		unsigned char u = (unsigned char)*s;
		char esc[3] = { '%', digits[u >> 4], digits[u & 15] };
		bool plain = u >= 0x20 && u <= 0x7e && u != '%';
		rc = plain ? ck_buf_add(out, s, 1, err) : ck_buf_add(out, esc, 3, err);
	}
	return rc;
}

static int hex_digit(uint8_t c)
{
	if (!isxdigit(c))
		return -1;
	return isdigit(c) ? c - '0' : tolower(c) - 'a' + 10;
}

void ck_grpc_text_decode(char *out, size_t cap, const void *s, size_t len)
{
	struct ck_cursor c = ck_cursor(s, len);
	size_t n = 0;
	uint8_t u;

	while (n + 1 < cap && ck_cursor_u8(&c, &u)) {
		int hi = u == '%' && c.left >= 2 ? hex_digit(c.p[0]) : -1;
		int lo = hi >= 0 ? hex_digit(c.p[1]) : -1;
		if (lo >= 0) {
			u = (uint8_t)((unsigned)hi << 4 | (unsigned)lo);
			c.p += 2;
			c.left -= 2;
		}
		out[n++] = u ? (char)u : '?';
	}
	out[n] = 0;
}

bool ck_grpc_timeout(uint64_t *out_ms, const void *s, size_t len)
{
	static const struct {
		char unit;
		uint64_t mul, div; /* to milliseconds */
	} units[] = {
		{ 'H', 3600000, 1 }, { 'M', 60000, 1 }, { 'S', 1000, 1 },
		{ 'm', 1, 1 },	     { 'u', 1, 1000 },	{ 'n', 1, 1000000 },
	};
	const char *p = s;
	uint64_t v = 0;

	/* At most 8 digits, so nothing here overflows. */
	if (len < 2 || len > 9)
		return false;
	for (size_t i = 0; i < len - 1; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		v = 10 * v + (uint64_t)(p[i] - '0');
	}
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (units[i].unit == p[len - 1]) {
			*out_ms = (v * units[i].mul + units[i].div - 1) / units[i].div;
			return true;
		}
	}
	return false;
}

static void *h2_malloc(size_t nbytes, void *ctx)
{
	(void)ctx;
	return malloc(nbytes);
}

static void h2_free(void *p, void *ctx)
{
	(void)ctx;
	ck_wipe_free(p);
}

static void *h2_calloc(size_t n, size_t nbytes, void *ctx)
{
	(void)ctx;
	return calloc(n, nbytes);
}

static void *h2_realloc(void *p, size_t nbytes, void *ctx)
{
	(void)ctx;
	return ck_wipe_realloc(p, nbytes);
}

nghttp2_mem *ck_h2_mem(void)
{
	/* Not const in nghttp2's interface; it only reads it. */
	static nghttp2_mem mem = { NULL, h2_malloc, h2_free, h2_calloc, h2_realloc };

	return &mem;
}
