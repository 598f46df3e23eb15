/*
 * Fuzz: any bytes as the end of a sealed layer's plaintext. An index that is found there lies
 * where the seek table says, its units lie before it, and it is found whatever somebody says
 * where to look. The first byte asks for a seek table that fits, the next two are such a hint.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "tar/embedded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The tar stream that all of the corpus' indexes say they are of. */
static const uint8_t diff_id[32] = { 1, 2, 3 };

static void put32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Makes the sums of a seek table at the end of P fit, if there is one, by its first entry. */
static void fit(uint8_t *p, size_t len)
{
	uint64_t table =
	    len < CK_SEEKTABLE_FOOTER ? 0 : ck_seektable_len(p + len - CK_SEEKTABLE_FOOTER);
	uint64_t sum = 0;

	if (table < CK_SKIPPABLE_HEADER + CK_SEEKTABLE_FOOTER + 8 || table > len)
		return;
	uint8_t *at = p + len - table;
	uint32_t n = get32(p + len - CK_SEEKTABLE_FOOTER);
	size_t entry = (size_t)(table - CK_SKIPPABLE_HEADER - CK_SEEKTABLE_FOOTER) / n;
	ck_skippable_header(at, 0x0e, (uint32_t)(table - CK_SKIPPABLE_HEADER));
	for (size_t i = 1; i < n; i++)
		sum += get32(at + CK_SKIPPABLE_HEADER + i * entry);
	if (sum <= len - table)
		put32(at + CK_SKIPPABLE_HEADER, (uint32_t)(len - table - sum));
}

static int try_hint(struct ck_pass_result *out, struct ck_reader *r, uint64_t hint)
{
	*out = (struct ck_pass_result){ 0 };
	int rc = ck_embedded_read(out, r, hint, diff_id, NULL);
	if (rc < 0 && out->whole)
		abort();
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct ck_pass_result a, b;
	struct ck_reader *r = NULL;
	struct ck_err err;
	static int ready = -1;

	if (ready < 0)
		ready = ck_secret_init(&err);
	if (ready < 0)
		abort();
	if (len < 3)
		return 0;
	size_t n = len - 3;
	uint64_t hint = (uint64_t)data[1] << 8 | data[2];
	uint8_t *copy = malloc(n ? n : 1); /* exact size, so ASan sees over-reads */
	if (!copy)
		abort();
	memcpy(copy, data + 3, n);
	if (data[0] & 1)
		fit(copy, n);
	if (data[0] & 2)
		hint = n - hint;
	if (ck_reader_open_mem(&r, copy, n, NULL) < 0)
		abort();
	int rc = try_hint(&a, r, 0);
	if (rc != try_hint(&b, r, hint))
		abort();
	if (rc == 0) {
		const struct ck_units *u = &a.units;
		if (!ck_index_equal(&a.index, &b.index) || u->in_len >= n ||
		    (u->n_points && u->points[u->n_points - 1].in_off > u->in_len) ||
		    ck_skippable_len(copy + u->in_len, CK_SKIPPABLE_INDEX) < 0)
			abort();
		ck_pass_result_free(&a);
		ck_pass_result_free(&b);
	}
	ck_reader_close(r);
	free(copy);
	return 0;
}
