/*
 * bench/core - opening sealed chunks (AES-256-GCM, 16 KiB) against the libraries' own speed.
 *
 * usage: core [ROUNDS]
 * One thread, the same chunks in turn: ck_chunked_unseal; the multi-buffer library called
 * directly; OpenSSL's EVP with its context reused, only the nonce set; memcpy as the ceiling.
 * In cache (256 KiB over and over) and streaming from 256 MiB. Prints medians in GB/s (1e9)
 * and ratios pair by pair.
 */
#include <intel-ipsec-mb.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "tar/cipher/chunked.h"
#include "tar/cipher/gcmkey.h"

enum { ROUNDS_MAX = 99, N_WAYS = 4 };

struct setup {
	uint8_t *sealed, *plain; /* n_chunks of each */
	size_t n_chunks, n_passes;
	struct ck_chunked *ours;
	IMB_MGR *m;
	struct gcm_key_data *key;
	EVP_CIPHER_CTX *evp;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "core: %s\n", what);
	exit(1);
}

static void by_us(struct setup *s, size_t i)
{
	if (ck_chunked_unseal(s->ours, i, s->sealed + i * CK_CHUNK_SEALED, CK_CHUNK_SEALED,
			      s->plain + i * CK_CHUNK, NULL) < 0)
		die("a chunk of ours did not open");
}

static void by_ipsec(struct setup *s, size_t i)
{
	struct gcm_context_data c;
	uint8_t tag[16], nonce[12] = { 0 };

	IMB_AES256_GCM_DEC(s->m, s->key, &c, s->plain + i * CK_CHUNK,
			   s->sealed + i * CK_CHUNK_SEALED, CK_CHUNK, nonce, NULL, 0, tag, 16);
}

static void by_openssl(struct setup *s, size_t i)
{
	uint8_t nonce[12] = { 0 };
	int n;

	if (!EVP_DecryptInit_ex(s->evp, NULL, NULL, NULL, nonce) ||
	    !EVP_DecryptUpdate(s->evp, s->plain + i * CK_CHUNK, &n, s->sealed + i * CK_CHUNK_SEALED,
			       CK_CHUNK) ||
	    !EVP_CIPHER_CTX_ctrl(s->evp, EVP_CTRL_AEAD_SET_TAG, 16,
				 s->sealed + i * CK_CHUNK_SEALED + CK_CHUNK))
		die("OpenSSL failed");
	(void)EVP_DecryptFinal_ex(s->evp, s->plain,
				  &n); /* another key's tag: the work is the same */
}

static void by_memcpy(struct setup *s, size_t i)
{
	memcpy(s->plain + i * CK_CHUNK, s->sealed + i * CK_CHUNK_SEALED, CK_CHUNK);
}

static const struct {
	const char *name;
	void (*one)(struct setup *s, size_t i);
} ways[N_WAYS] = {
	{ "ck_chunked_unseal", by_us },
	{ "ipsec-mb, called directly", by_ipsec },
	{ "OpenSSL EVP, context reused", by_openssl },
	{ "memcpy", by_memcpy },
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof *v, by_value);
	return v[n / 2];
}

static void measure(struct setup *s, size_t rounds, const char *title)
{
	static double speed[N_WAYS][ROUNDS_MAX], ratio[N_WAYS][ROUNDS_MAX];
	double bytes = (double)(s->n_chunks * s->n_passes * CK_CHUNK);

	for (size_t r = 0; r < rounds; r++) {
		for (size_t w = 0; w < N_WAYS; w++) {
			double t = now_s();
			for (size_t p = 0; p < s->n_passes; p++)
				for (size_t i = 0; i < s->n_chunks; i++)
					ways[w].one(s, i);
			speed[w][r] = bytes / (now_s() - t) / 1e9;
			ratio[w][r] = speed[0][r] / speed[w][r];
		}
	}
	printf("%s\n", title);
	for (size_t w = 0; w < N_WAYS; w++) {
		double m = median(speed[w], rounds), q = median(ratio[w], rounds);
		printf("  %-32s %7.2f GB/s  (%.2f .. %.2f)", ways[w].name, m, speed[w][0],
		       speed[w][rounds - 1]);
		if (w)
			printf("   ours is %.2f x  (%.2f .. %.2f)", q, ratio[w][0],
			       ratio[w][rounds - 1]);
		putchar('\n');
	}
}

static void set_up(struct setup *s, size_t n_chunks, size_t n_passes)
{
	static const struct ck_chunked_context context = { "bench", 5 };
	static const uint8_t key[32] = { 1, 2, 3 };
	uint8_t header[CK_CHUNKED_HEADER];
	struct ck_err err = { 0 };

	*s = (struct setup){ .n_chunks = n_chunks, .n_passes = n_passes };
	s->sealed = malloc(n_chunks * CK_CHUNK_SEALED);
	s->plain = malloc(n_chunks * CK_CHUNK);
	s->m = alloc_mb_mgr(0);
	s->evp = EVP_CIPHER_CTX_new();
	if (!s->sealed || !s->plain || !s->m || !s->evp ||
	    posix_memalign((void **)&s->key, 64, sizeof *s->key) != 0)
		die("out of memory");
	init_mb_mgr_auto(s->m, NULL);
	IMB_AES256_GCM_PRE(s->m, key, s->key);
	if (!EVP_DecryptInit_ex(s->evp, EVP_aes_256_gcm(), NULL, key, NULL))
		die("OpenSSL failed");
	if (ck_chunked_new(&s->ours, key, &context, header, &err) < 0)
		die(err.msg);
	memset(s->plain, 7, n_chunks * CK_CHUNK);
	for (size_t i = 0; i < n_chunks; i++)
		if (ck_chunked_seal(s->ours, i, s->plain + i * CK_CHUNK, CK_CHUNK,
				    s->sealed + i * CK_CHUNK_SEALED, &err) < 0)
			die(err.msg);
}

static void tear_down(struct setup *s)
{
	ck_chunked_free(s->ours);
	EVP_CIPHER_CTX_free(s->evp);
	free_mb_mgr(s->m);
	free(s->key);
	free(s->sealed);
	free(s->plain);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 7;
	struct ck_err err = { 0 };
	struct setup s;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: %s [ROUNDS 1..%d]\n", argv[0], ROUNDS_MAX);
		return 2;
	}
	if (ck_secret_init(&err) < 0)
		die(err.msg);
	printf("engine: %s\n", ck_gcmkey_engine());
	set_up(&s, 16, 4000);
	measure(&s, (size_t)rounds, "16 KiB chunks in cache");
	tear_down(&s);
	set_up(&s, 16384, 4);
	measure(&s, (size_t)rounds, "16 KiB chunks, streaming from 256 MiB");
	tear_down(&s);
	return 0;
}
