#include "attest/nonce.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/text.h"

int ck_nonce(char out[CK_NONCE_STR], struct ck_err *err)
{
	uint8_t bytes[32];
	CK_BUF text = { 0 };

	if (RAND_bytes(bytes, sizeof bytes) != 1)
		return ck_fail(err, -EIO, "no random numbers for a nonce");
	int rc = ck_b64_encode(&text, CK_B64_URL, bytes, sizeof bytes, err);
	if (rc == 0)
		memcpy(out, text.data, CK_NONCE_STR);
	return rc;
}
