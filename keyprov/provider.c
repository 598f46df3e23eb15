/* The key provider's work without a wire: the "cmd" form and AASP's one-shot files. */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "keyprov/kek.h"
#include "keyprov/protocol.h"
#include "keyprov/server.h"

int ck_provider_handle(const struct ck_provider *p, const void *in, size_t nbytes,
		       struct ck_buf *out, struct ck_err *err)
{
	CK_REQUEST r = { 0 };
	int rc = ck_request_parse(&r, NULL, in, nbytes, err);

	return rc < 0 ? rc : ck_request_perform(p, &r, out, err);
}

int ck_provider_wrap(const struct ck_provider *p, const char *prefix, const void *in, size_t nbytes,
		     struct ck_buf *out, struct ck_err *err)
{
	CK_BUF packet = { 0 };
	int rc = ck_kek_wrap_file(prefix, in, nbytes, &packet, err);

	(void)p; /* the file says all that wrapping needs */
	return rc < 0 ? rc : ck_b64_encode(out, CK_B64_STD, packet.data, packet.len, err);
}

int ck_provider_unwrap(const struct ck_provider *p, const char *text, size_t nbytes,
		       struct ck_buf *out, struct ck_err *err)
{
	CK_BUF bytes = { .max = CK_PACKET_MAX };
	CK_PACKET packet = { 0 };
	CK_SECRET data = { 0 };
	int rc;

	/* A file that went through an editor ends with a newline. */
	while (nbytes && strchr(" \t\r\n", text[nbytes - 1]))
		nbytes--;
	if (ck_b64_decode(&bytes, CK_B64_STD, text, nbytes, err) < 0)
		return ck_wrap(err, "wrapped text");
	if ((rc = ck_packet_parse(&packet, bytes.data, bytes.len, err)) < 0 ||
	    (rc = ck_kek_unwrap(p, &packet, &data, err)) < 0)
		return rc;
	return ck_buf_add(out, data.data, data.len, err);
}
