/* A framed gRPC message, and the key-provider request in it. */
#include <stdlib.h>
#include <string.h>

#include "keyprov/grpc.h"
#include "keyprov/kek.h"
#include "keyprov/protocol.h"
#include "tests/unit/lib/fake_attest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(const uint8_t *p, size_t len, const enum ck_op *op)
{
	CK_REQUEST r = { 0 };
	struct ck_err err = { 0 };

	if (ck_request_parse(&r, op, p, len, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	if (r.data.len == 0 || (r.op == CK_OP_WRAP && ck_kid_check(r.kid, &err) < 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum ck_op wrap = CK_OP_WRAP, unwrap = CK_OP_UNWRAP;
	CK_BUF json = { 0 }, frame = { 0 }, back = { 0 };
	char text[32];
	uint64_t ms;

	request(data, size, NULL);
	request(data, size, &wrap);
	request(data, size, &unwrap);
	(void)ck_grpc_timeout(&ms, data, size);
	ck_grpc_text_decode(text, sizeof text, data, size);
	if (strlen(text) >= sizeof text)
		abort();
	if (ck_grpc_decode(&json, CK_GRPC_INPUT, data, size, NULL) < 0)
		return 0;
	/* What was read can be written and read again. */
	if (ck_grpc_encode(&frame, CK_GRPC_INPUT, json.data, json.len, NULL) < 0 ||
	    ck_grpc_decode(&back, CK_GRPC_INPUT, frame.data, frame.len, NULL) < 0 ||
	    back.len != json.len || (json.len && memcmp(back.data, json.data, json.len) != 0))
		abort();
	return 0;
}
