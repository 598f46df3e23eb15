/* A layer's annotations, as a manifest carries them. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A recipient's parts are all there, and strings end. */
static void check(const struct ck_recipient *r)
{
	if (!r->packet || r->packet_len == 0 || (r->scheme == CK_SCHEME_PROVIDER) != !!r->provider)
		abort();
	const char *strings[] = { r->provider, r->kid, r->wrap_type, r->hsm_host, r->maa_host };
	for (size_t i = 0; i < 5; i++)
		if (strings[i] && strlen(strings[i]) > (1 << 20))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_JSON *doc = NULL;
	struct ck_err err = { 0 };

	if (ck_json_parse(&doc, data, size, "it", NULL) < 0)
		return 0;
	int rc = ck_envelope_parse(&e, doc, &err);
	if (rc < 0) {
		if (e || !err.msg[0])
			abort();
		return 0;
	}
	if (!e->cipher || !*e->cipher || (e->n_hmac != 0 && e->n_hmac != 32) ||
	    (e->n_public_nonce != 0 && e->n_public_nonce != 16) || e->n_recipients > 64)
		abort();
	for (size_t i = 0; i < e->n_recipients; i++)
		check(&e->recipients[i]);
	return 0;
}
