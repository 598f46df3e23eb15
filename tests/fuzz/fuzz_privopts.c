/* What a recipient's packet held: whoever knows a public key may have written it. */
#include <stdlib.h>
#include <string.h>

#include "keyprov/newopts.h"
#include "keyprov/privopts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_zero(const uint8_t *p, size_t nbytes)
{
	while (nbytes && !*p)
		p++, nbytes--;
	return nbytes == 0;
}

/* A key that was read is E's, and comes back from what we write for it. */
static void check_key(const struct ck_layer_key *key, const struct ck_envelope *e)
{
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *back = NULL;
	CK_SECRET opts = { 0 };

	if (e->n_public_nonce && memcmp(key->nonce, e->public_nonce, 16) != 0)
		abort();
	if (key->cipher == CK_LAYER_CHUNKED && !(is_zero(key->nonce, 16) && is_zero(key->hmac, 32)))
		abort();
	if (strcmp(ck_layer_cipher_name(key->cipher), e->cipher) != 0)
		abort();
	if (ck_newopts_private(&opts, key, "sha256:00", NULL) < 0 ||
	    ck_privopts_read(&opts, e, &back, NULL) < 0 || memcmp(back, key, sizeof *key) != 0)
		abort();
}

static void read_for(const struct ck_envelope *e, const struct ck_secret *opts)
{
	CK_AUTO(ck_layer_key_freep) struct ck_layer_key *key = NULL;
	struct ck_err err = { 0 };

	if (ck_privopts_read(opts, e, &key, &err) == 0)
		check_key(key, e);
	else if (key || !err.msg[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ck_envelope envelopes[] = {
		{ .cipher = "AES_256_CTR_HMAC_SHA256",
		  .n_hmac = 32,
		  .n_public_nonce = size % 2 ? 16 : 0 },
		{ .cipher = "C2SP_CHUNKED_V1_AES_256_GCM" },
	};
	CK_SECRET opts = { 0 };

	if (ck_secret_new(&opts, size, NULL) < 0)
		return 0;
	memcpy(opts.data, data, size);
	for (size_t i = 0; i < 2; i++)
		read_for(&envelopes[i], &opts);
	return 0;
}
