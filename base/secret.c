#include "base/secret.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"

/* Room for a call on each thread of the key provider, each with the largest packet there may
 * be and a document of json.c, and for some hundred RSA keys; half of what a user may
 * lock by default. A power of two. */
enum { ARENA_BYTES = 4 << 20, ARENA_MIN_BLOCK = 16 };

void ck_wipe_free(void *p)
{
	if (p)
		ck_wipe(p, malloc_usable_size(p));
	free(p);
}

void *ck_wipe_realloc(void *p, size_t nbytes)
{
	if (nbytes == 0) {
		ck_wipe_free(p);
		return NULL;
	}
	/* Not realloc: a move would leave the old copy behind. */
	void *q = malloc(nbytes);
	if (q && p) {
		size_t old = malloc_usable_size(p);
		memcpy(q, p, old < nbytes ? old : nbytes);
		ck_wipe_free(p);
	}
	return q;
}

static void *ssl_malloc(size_t nbytes, const char *file, int line)
{
	(void)file, (void)line;
	return nbytes ? malloc(nbytes) : NULL;
}

static void *ssl_realloc(void *p, size_t nbytes, const char *file, int line)
{
	(void)file, (void)line;
	return ck_wipe_realloc(p, nbytes);
}

static void ssl_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	ck_wipe_free(p);
}

int ck_secret_init(struct ck_err *err)
{
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* libcurl would write there what decrypts its TLS connections, tokens and all. */
	(void)unsetenv("SSLKEYLOGFILE");
	if (CRYPTO_secure_malloc_initialized())
		return 0;
	if (!CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free))
		ck_log(CK_LOG_WARNING,
		       "OpenSSL ran before ck_secret_init: it will not wipe memory");
	int rc = CRYPTO_secure_malloc_init(ARENA_BYTES, ARENA_MIN_BLOCK);
	if (rc == 0)
		return ck_nomem(err, "making the arena for keys");
	if (rc == 2)
		ck_log(CK_LOG_WARNING, "cannot lock key memory (ulimit -l); keys may reach swap");
	return 0;
}

void *ck_secret_alloc(size_t nbytes)
{
	return OPENSSL_secure_zalloc(nbytes ? nbytes : 1);
}

void ck_secret_dealloc(void *p, size_t nbytes)
{
	OPENSSL_secure_clear_free(p, nbytes);
}

int ck_secret_new(struct ck_secret *out, size_t len, struct ck_err *err)
{
	uint8_t *p = ck_secret_alloc(len);
	if (!p)
		return ck_nomem(err, "in the arena for keys");
	*out = (struct ck_secret){ p, len };
	return 0;
}

void ck_secret_free(struct ck_secret *s)
{
	ck_secret_dealloc(s->data, s->len);
	*s = (struct ck_secret){ 0 };
}

void ck_wipe(void *p, size_t nbytes)
{
	explicit_bzero(p, nbytes); /* of megabytes OPENSSL_cleanse takes up to nine times as long */
}
