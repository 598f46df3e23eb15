/* AES-256-GCM by Intel's multi-buffer library: the only one in Debian 12 with VAES. */
#include "tar/cipher/gcmengine.h"

#if defined(__x86_64__)

#include <errno.h>
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/secret.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static IMB_MGR *manager; /* read-only once made: a table of functions */

static void start(void)
{
	IMB_ARCH arch = IMB_ARCH_NONE;
	IMB_MGR *m = alloc_mb_mgr(0);

	if (!m)
		return;
	init_mb_mgr_auto(m, &arch);
	if (imb_get_errno(m) == 0 && arch != IMB_ARCH_NONE && arch != IMB_ARCH_NOAESNI)
		manager = m;
	else
		free_mb_mgr(m);
}

static bool usable(void)
{
	pthread_once(&once, start);
	return manager && (manager->features & IMB_FEATURE_VAES);
}

static void *key_new(const uint8_t key[CK_GCM_KEY])
{
	/* Alignment of 64: more than the arena promises. */
	void *k;

	if (posix_memalign(&k, 64, sizeof(struct gcm_key_data)) != 0)
		return NULL;
	IMB_AES256_GCM_PRE(manager, key, (struct gcm_key_data *)k);
	return k;
}

static void key_free(void *key)
{
	ck_wipe(key, sizeof(struct gcm_key_data));
	free(key);
}

static int seal(void *key, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in, size_t nbytes,
		uint8_t *out, uint8_t tag[CK_GCM_TAG])
{
	struct gcm_context_data c;

	if (out)
		IMB_AES256_GCM_ENC(manager, key, &c, out, in, nbytes, nonce, NULL, 0, tag,
				   CK_GCM_TAG);
	else
		IMB_AES256_GCM_ENC(manager, key, &c, NULL, NULL, 0, nonce, in, nbytes, tag,
				   CK_GCM_TAG);
	ck_wipe(&c, sizeof c);
	return 0;
}

static int open_(void *key, const uint8_t nonce[CK_GCM_NONCE], const uint8_t *in, size_t nbytes,
		 uint8_t *out, const uint8_t tag[CK_GCM_TAG])
{
	struct gcm_context_data c;
	uint8_t got[CK_GCM_TAG];

	IMB_AES256_GCM_DEC(manager, key, &c, out, in, nbytes, nonce, NULL, 0, got, CK_GCM_TAG);
	ck_wipe(&c, sizeof c);
	return CRYPTO_memcmp(got, tag, CK_GCM_TAG) ? -EBADMSG : 0;
}

const struct ck_gcm_engine ck_gcm_ipsec = { "ipsec-mb", usable, key_new, key_free, seal, open_ };

#else

static bool usable(void)
{
	return false;
}

const struct ck_gcm_engine ck_gcm_ipsec = { .name = "ipsec-mb", .usable = usable };

#endif
