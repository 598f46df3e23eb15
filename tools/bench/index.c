/*
 * bench/index - how long a sealed index of a tar's entries takes to be opened.
 *
 * usage: index FILE.tar [ROUNDS]
 * Makes the layer's index in memory and seals it, then opens it again and again: decryption,
 * decompression and every check, as at a mount; and merges the tree.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "fs/tree.h"
#include "tar/cipher/chunked.h"
#include "tar/sealed.h"

enum { ROUNDS_MAX = 99 };

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void show(const char *what, double *ms, size_t n, size_t n_entries)
{
	qsort(ms, n, sizeof *ms, by_value);
	printf("%-28s %.1f ms  (%.1f .. %.1f); for 100,000 entries %.1f ms\n", what, ms[n / 2],
	       ms[0], ms[n - 1], ms[n / 2] * 1e5 / (double)n_entries);
}

static int measure(const struct ck_buf *tar, size_t rounds, struct ck_err *err)
{
	struct ck_blob_key key = { .cipher = CK_CIPHER_CHUNKED, .symkey = { 1 } };
	struct ck_layer_spec spec = { .name = "bench" };
	struct ck_pass_result what = { 0 };
	CK_AUTO(ck_reader_closep) struct ck_reader *r = NULL;
	CK_BUF sealed = { 0 };
	double open_ms[ROUNDS_MAX], merge_ms[ROUNDS_MAX];

	ck_sha256(spec.digest, tar->data, tar->len);
	memcpy(spec.diff_id, spec.digest, sizeof spec.diff_id);
	int rc = ck_reader_open_mem(&r, tar->data, tar->len, err);
	if (rc == 0)
		rc = ck_pass_run(&what, &spec, r, NULL, NULL, NULL, err);
	if (rc < 0)
		return rc;
	ck_tags_free(&what.tags); /* a sealed layer has none */
	spec.key = &key;
	size_t n = what.index.n_entries;
	uint64_t blob_len = CK_CHUNKED_HEADER + tar->len + (tar->len / CK_CHUNK + 1) * CK_CHUNK_TAG;
	rc = ck_sealed_write(&sealed, NULL, &what, &spec, blob_len, err);
	ck_pass_result_free(&what);
	for (size_t i = 0; rc == 0 && i < rounds; i++) {
		CK_AUTO(ck_tree_freep) struct ck_tree *tree = NULL;
		double t = now_s();
		rc = ck_sealed_read(&what, &spec, blob_len, sealed.data, sealed.len, err);
		open_ms[i] = (now_s() - t) * 1e3;
		if (rc < 0)
			break;
		const struct ck_index *one = &what.index;
		t = now_s();
		rc = ck_tree_build(&tree, &one, 1, CK_WHITEOUTS_APPLY, err);
		merge_ms[i] = (now_s() - t) * 1e3;
		ck_tree_free(ck_take(tree));
		ck_pass_result_free(&what);
	}
	if (rc < 0)
		return rc;
	printf("index of %zu entries, %.2f MiB sealed\n", n, (double)sealed.len / 1048576);
	show("opening it", open_ms, rounds, n);
	show("merging the tree", merge_ms, rounds, n);
	return 0;
}

int main(int argc, char **argv)
{
	struct ck_err err = { 0 };
	CK_BUF tar = { .max = SIZE_MAX };
	long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 7;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: %s FILE.tar [ROUNDS 1..%d]\n", argv[0], ROUNDS_MAX);
		return 2;
	}
	if (ck_secret_init(&err) < 0 || ck_file_read(&tar, argv[1], &err) < 0 ||
	    measure(&tar, (size_t)rounds, &err) < 0) {
		fprintf(stderr, "index: %s\n", err.msg);
		return 1;
	}
	return 0;
}
