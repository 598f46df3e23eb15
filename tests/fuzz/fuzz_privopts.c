/* What a recipient's packet held: whoever knows a public key may have written it. */
#include <stdlib.h>
#include <string.h>

#include "keyprov/privopts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ck_envelope e = { .cipher = "AES_256_CTR_HMAC_SHA256",
				 .n_hmac = 32,
				 .n_public_nonce = size % 2 ? 16 : 0 };
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
	CK_SECRET opts = { 0 };
	struct ck_err err = { 0 };

	if (ck_secret_new(&opts, size, &err) < 0)
		return 0;
	memcpy(opts.data, data, size);
	if (ck_privopts_read(&opts, &e, &key, &err) < 0) {
		if (key || !err.msg[0])
			abort();
		return 0;
	}
	if (e.n_public_nonce && memcmp(key->nonce, e.public_nonce, 16) != 0)
		abort();
	return 0;
}
