#include "tar/cipher/gcmkey.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "tar/cipher/gcmengine.h"

struct ck_gcmkey {
	const struct ck_gcm_engine *engine;
	void *key;
};

static pthread_once_t chosen = PTHREAD_ONCE_INIT;
static const struct ck_gcm_engine *engine; /* NULL: none passed its test */

/*
 * Test case 15 of the GCM specification that NIST's is based on (McGrew and Viega,
 * AES-256, four blocks): its tag and last block say that key, counter and hash work.
 */
static bool self_test(const struct ck_gcm_engine *e)
{
	static const uint8_t key[32] = { 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c,
					 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
					 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c,
					 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08 };
	static const uint8_t nonce[12] = { 0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce,
					   0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88 };
	static const uint8_t plain[64] = {
		0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf,
		0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c,
		0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09,
		0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25, 0xb1, 0x6a, 0xed, 0xf5,
		0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39, 0x1a, 0xaf, 0xd2, 0x55
	};
	static const uint8_t want[16] = { 0xb0, 0x94, 0xda, 0xc5, 0xd9, 0x34, 0x71, 0xbd,
					  0xec, 0x1a, 0x50, 0x22, 0x70, 0xe3, 0xcc, 0x6c };
	uint8_t sealed[64], back[64], tag[16];
	void *k = e->key_new(key);
	bool ok = k && e->seal(k, nonce, plain, 64, sealed, tag) == 0 &&
		  memcmp(tag, want, 16) == 0 && e->open(k, nonce, sealed, 64, back, want) == 0 &&
		  memcmp(back, plain, 64) == 0;

	tag[15] ^= 1;
	ok = ok && e->open(k, nonce, sealed, 64, back, tag) == -EBADMSG;

	if (k)
		e->key_free(k);
	return ok;
}

static void choose(void)
{
	static const struct ck_gcm_engine *const engines[] = { &ck_gcm_ipsec, &ck_gcm_openssl };

	for (size_t i = 0; !engine && i < sizeof engines / sizeof *engines; i++) {
		if (!engines[i]->usable())
			continue;
		if (self_test(engines[i]))
			engine = engines[i];
		else
			ck_log(CK_LOG_WARNING, "AES-256-GCM of %s fails its self-test: not used",
			       engines[i]->name);
	}
}

const char *ck_gcmkey_engine(void)
{
	pthread_once(&chosen, choose);
	return engine ? engine->name : "none";
}

int ck_gcmkey_new_with(struct ck_gcmkey **out, const struct ck_gcm_engine *e,
		       const uint8_t key[CK_GCM_KEY], struct ck_err *err)
{
	struct ck_gcmkey *g = malloc(sizeof *g);

	if (g)
		*g = (struct ck_gcmkey){ e, e->key_new(key) };
	if (!g || !g->key) {
		free(g);
		return ck_nomem(err, "expanding a key");
	}
	*out = g;
	return 0;
}

int ck_gcmkey_new(struct ck_gcmkey **out, const uint8_t key[CK_GCM_KEY], struct ck_err *err)
{
	pthread_once(&chosen, choose);
	if (!engine)
		return ck_fail(err, -EIO, "no implementation of AES-256-GCM works here");
	return ck_gcmkey_new_with(out, engine, key, err);
}

void ck_gcmkey_free(struct ck_gcmkey *g)
{
	if (!g)
		return;
	g->engine->key_free(g->key);
	free(g);
}

int ck_gcmkey_seal(struct ck_gcmkey *g, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in,
		   size_t nbytes, uint8_t *out, uint8_t tag[CK_GCM_TAG])
{
	return g->engine->seal(g->key, nonce, in, nbytes, out, tag);
}

int ck_gcmkey_open(struct ck_gcmkey *g, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in,
		   size_t nbytes, uint8_t *out, const uint8_t tag[CK_GCM_TAG])
{
	int rc = g->engine->open(g->key, nonce, in, nbytes, out, tag);

	if (rc < 0 && nbytes)
		ck_wipe(out, nbytes);
	return rc;
}
