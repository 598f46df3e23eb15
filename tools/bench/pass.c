/*
 * bench/pass - the verifying pass over a layer against plain inflate of the same bytes.
 *
 * usage: pass FILE.gz [ROUNDS]
 * Encrypts the file in memory as ocicrypt does, then measures in turn: ISA-L inflating it
 * (no decryption, no hashing, no index; one thread) and ck_layer_open (decryption, HMAC,
 * digest, diff_id, tar index, checkpoints, chunk tags), and 4 KiB reads at random places
 * of the open layer. Prints medians and the ratio, pair by pair.
 */
#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/ctr.h"
#include "tar/layer.h"

enum { ROUNDS_MAX = 99, N_READS = 2000, CACHE = 64 << 20 };

static double now_s(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Inflates GZ as igzip does, in 1 MiB steps; the decompressed length and digest on request. */
static uint64_t inflate_plain(const struct ck_buf *gz, uint8_t digest[32])
{
	static uint8_t out[1 << 20];
	struct inflate_state z;
	uint64_t len = 0;
	EVP_MD_CTX *md = digest ? EVP_MD_CTX_new() : NULL;

	if (md)
		EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	isal_inflate_init(&z);
	z.crc_flag = ISAL_GZIP;
	z.next_in = gz->data;
	z.avail_in = (uint32_t)gz->len;
	do {
		z.next_out = out;
		z.avail_out = sizeof out;
		if (isal_inflate(&z) < 0)
			return 0;
		if (md)
			EVP_DigestUpdate(md, out, sizeof out - z.avail_out);
		len += sizeof out - z.avail_out;
	} while (z.block_state != ISAL_BLOCK_FINISH && z.avail_out == 0);
	if (md)
		EVP_DigestFinal_ex(md, digest, NULL);
	EVP_MD_CTX_free(md);
	return len;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void show(const char *what, double *v, size_t n, const char *unit)
{
	qsort(v, n, sizeof *v, by_value);
	printf("%-44s median %8.3f  (%.3f .. %.3f) %s\n", what, v[n / 2], v[0], v[n - 1], unit);
}

static int open_layer(struct ck_layer **l, const struct ck_layer_spec *spec,
		      const struct ck_buf *blob, struct ck_unitcache *cache, struct ck_err *err)
{
	struct ck_reader *r = NULL;
	int rc = ck_reader_open_mem(&r, blob->data, blob->len, err);

	if (rc == 0)
		rc = ck_layer_open(l, spec, r, cache, NULL, NULL, NULL, err);
	if (rc < 0)
		ck_reader_close(r);
	return rc;
}

static int random_reads(struct ck_layer *l, struct ck_err *err)
{
	static double us[N_READS];
	static uint8_t buf[4096];
	uint64_t len = ck_layer_len(l), seed = 1;

	if (len < sizeof buf)
		return 0;
	for (size_t i = 0; i < N_READS; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		double t = now_s(CLOCK_MONOTONIC);
		int rc = ck_layer_pread(l, buf, sizeof buf, (seed >> 11) % (len - sizeof buf), err);
		if (rc < 0)
			return rc;
		us[i] = (now_s(CLOCK_MONOTONIC) - t) * 1e6;
	}
	qsort(us, N_READS, sizeof *us, by_value);
	printf(
	    "4 KiB reads at random, %d MiB of units cached     p50 %.0f  p99 %.0f  max %.0f us\n",
	    CACHE >> 20, us[N_READS / 2], us[N_READS * 99 / 100], us[N_READS - 1]);
	return 0;
}

static int measure(struct ck_buf *gz, size_t rounds, struct ck_err *err)
{
	struct ck_blob_key key = { .symkey = { 1 }, .nonce = { 2 } };
	struct ck_layer_spec spec = { .name = "bench", .key = &key };
	CK_AUTO(ck_unitcache_closep) struct ck_unitcache *cache = NULL;
	CK_BUF blob = { .max = SIZE_MAX };
	double plain[ROUNDS_MAX], pass[ROUNDS_MAX], cpu[ROUNDS_MAX], ratio[ROUNDS_MAX];
	uint64_t len = inflate_plain(gz, spec.diff_id);

	if (len == 0)
		return ck_fail(err, -1, "not a gzip file of one member");
	int rc = ck_buf_add(&blob, gz->data, gz->len, err);
	if (rc == 0)
		rc = ck_ctr_crypt(key.symkey, key.nonce, 0, blob.data, blob.len, err);
	if (rc == 0)
		rc = ck_unitcache_open(&cache, CACHE, err);
	if (rc < 0)
		return rc;
	ck_sha256(spec.digest, blob.data, blob.len);
	HMAC(EVP_sha256(), key.symkey, 32, blob.data, blob.len, key.hmac, NULL);
	for (size_t i = 0; i < rounds; i++) {
		struct ck_layer *l = NULL;
		double t = now_s(CLOCK_MONOTONIC);
		(void)inflate_plain(gz, NULL);
		plain[i] = now_s(CLOCK_MONOTONIC) - t;
		t = now_s(CLOCK_MONOTONIC);
		double c = now_s(CLOCK_PROCESS_CPUTIME_ID);
		rc = open_layer(&l, &spec, &blob, cache, err);
		pass[i] = now_s(CLOCK_MONOTONIC) - t;
		cpu[i] = now_s(CLOCK_PROCESS_CPUTIME_ID) - c;
		ratio[i] = pass[i] / plain[i];
		if (rc == 0 && i + 1 == rounds)
			rc = random_reads(l, err);
		ck_layer_close(l);
		if (rc < 0)
			return rc;
	}
	printf("layer: %.1f MB gzip, %.1f MB tar, %zu rounds\n", (double)gz->len / 1e6,
	       (double)len / 1e6, rounds);
	show("plain ISA-L inflate, one thread", plain, rounds, "s");
	show("verifying pass, index included, two cores", pass, rounds, "s");
	show("  CPU time of both", cpu, rounds, "s");
	show("ratio (target <= 1.15)", ratio, rounds, "");
	return 0;
}

int main(int argc, char **argv)
{
	struct ck_err err = { 0 };
	CK_BUF gz = { .max = SIZE_MAX };
	long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 7;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: %s FILE.gz [ROUNDS 1..%d]\n", argv[0], ROUNDS_MAX);
		return 2;
	}
	if (ck_secret_init(&err) < 0 || ck_file_read(&gz, argv[1], &err) < 0 ||
	    measure(&gz, (size_t)rounds, &err) < 0) {
		fprintf(stderr, "pass: %s\n", err.msg);
		return 1;
	}
	return 0;
}
