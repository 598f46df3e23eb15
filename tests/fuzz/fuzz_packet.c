/* A provider's packet: parsed, and opened with a key that it is not for. */
#include <stdlib.h>
#include <string.h>

#include <openssl/rsa.h>

#include "keyprov/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *key;
	CK_PACKET p = { 0 };
	CK_SECRET out = { 0 };
	struct ck_err err = { 0 };

	if (!key && !(key = EVP_RSA_gen(2048)))
		abort();
	if (ck_packet_parse(&p, data, size, &err) < 0) {
		if (!err.msg[0])
			abort();
		return 0;
	}
	if (!p.kid)
		abort();
	/* OAEP does not open by chance. */
	if (ck_packet_unwrap(&p, key, &out, &err) == 0)
		abort();
	return 0;
}
