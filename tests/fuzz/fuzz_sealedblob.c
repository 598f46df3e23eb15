/*
 * Fuzz: a sealed blob after changes that the input's bytes choose: bits, cuts, bytes behind,
 * chunks exchanged, left out, repeated or of another message. What is read is right, or an
 * error; a blob that is what it was is read in full.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "tar/sealedblob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { N_OPS = 12, MOST_CHUNKS = 8, BLOB_CAP = MOST_CHUNKS * CK_CHUNK_SEALED };

static const size_t lens[] = { 0,
			       1,
			       700,
			       CK_CHUNK - 1,
			       CK_CHUNK,
			       CK_CHUNK + 1,
			       2 * CK_CHUNK - 1,
			       2 * CK_CHUNK,
			       3 * CK_CHUNK + 99 };
enum { N_LENS = sizeof lens / sizeof *lens };

static const struct ck_blob_key key = { .cipher = CK_CIPHER_CHUNKED, .symkey = "thirty-two" };
static const char type[] = "application/x";

/* Of each length two messages: same key, same use. */
static struct message {
	uint8_t plain[2][4 * CK_CHUNK], sealed[2][BLOB_CAP];
	size_t sealed_len;
} messages[N_LENS];

static void prepare(void)
{
	struct ck_chunked_context context;
	char text[CK_LAYER_CONTEXT_MAX];
	struct ck_err err;

	ck_log_init("fuzz", CK_LOG_ERROR);
	if (ck_secret_init(&err) < 0 || ck_layer_context(&context, text, type, &err) < 0)
		abort();
	for (size_t i = 0; i < N_LENS; i++) {
		struct message *m = &messages[i];
		m->sealed_len = (size_t)ck_chunked_sealed_len(lens[i]);
		for (int k = 0; k < 2; k++) {
			for (size_t at = 0; at < lens[i]; at++)
				m->plain[k][at] = (uint8_t)(at * 7 + at / 251 + (size_t)k * 99);
			if (ck_chunked_seal_all(key.symkey, &context, m->plain[k], lens[i],
						m->sealed[k], &err) < 0)
				abort();
		}
	}
}

struct work {
	uint8_t blob[BLOB_CAP];
	size_t len;
	const uint8_t *in; /* what chooses */
	size_t in_left;
};

/* A number below N (0 when N is 0), of the next two bytes. */
static size_t choose(struct work *w, size_t n)
{
	size_t v = 0;

	for (int i = 0; i < 2 && w->in_left; i++, w->in_left--)
		v = v << 8 | *w->in++;
	return n ? v % n : 0;
}

/* Where chunk IDX begins, or the end. */
static size_t chunk_at(const struct work *w, size_t idx)
{
	size_t at = CK_CHUNKED_HEADER + idx * CK_CHUNK_SEALED;

	return at < w->len ? at : w->len;
}

static size_t chunk_len(const struct work *w, size_t idx)
{
	return chunk_at(w, idx + 1) - chunk_at(w, idx);
}

/* Puts N copied bytes of P at AT, what is there moves back. */
static void put_in(struct work *w, size_t at, const uint8_t *p, size_t n)
{
	static uint8_t copy[BLOB_CAP];

	if (n > BLOB_CAP - w->len)
		return;
	memcpy(copy, p, n);
	memmove(w->blob + at + n, w->blob + at, w->len - at);
	memcpy(w->blob + at, copy, n);
	w->len += n;
}

static void swap_chunks(struct work *w, size_t a, size_t b)
{
	size_t n = chunk_len(w, a) < chunk_len(w, b) ? chunk_len(w, a) : chunk_len(w, b);
	uint8_t *p = w->blob + chunk_at(w, a), *q = w->blob + chunk_at(w, b);

	for (size_t i = 0; i < n; i++) {
		uint8_t t = p[i];
		p[i] = q[i];
		q[i] = t;
	}
}

static void overwrite(struct work *w, size_t at, const uint8_t *from, size_t from_len, size_t n)
{
	if (at < from_len && at < w->len) {
		n = n < from_len - at ? n : from_len - at;
		memcpy(w->blob + at, from + at, n < w->len - at ? n : w->len - at);
	}
}

static void change(struct work *w, const struct message *m)
{
	size_t n_chunks = w->len / CK_CHUNK_SEALED + 1, a, b;

	switch (choose(w, N_OPS)) {
	case 0: /* a bit anywhere */
		a = choose(w, w->len);
		if (w->len)
			w->blob[a] ^= (uint8_t)(1U << choose(w, 8));
		break;
	case 1: /* a bit near the start of a chunk */
		a = chunk_at(w, choose(w, n_chunks)) + choose(w, 40);
		if (a >= 20 && a - 20 < w->len)
			w->blob[a - 20] ^= 1;
		break;
	case 2:
		w->len = choose(w, w->len + 1);
		break;
	case 3: /* cut near a chunk's end */
		a = chunk_at(w, choose(w, n_chunks + 1)) + choose(w, 20);
		w->len = a < w->len ? a : w->len;
		break;
	case 4:
		a = choose(w, 40);
		put_in(w, w->len, m->sealed[1], a < m->sealed_len ? a : m->sealed_len);
		break;
	case 5:
		swap_chunks(w, choose(w, n_chunks), choose(w, n_chunks));
		break;
	case 6:
		a = chunk_at(w, choose(w, n_chunks));
		b = w->len - a < CK_CHUNK_SEALED ? w->len - a : CK_CHUNK_SEALED;
		memmove(w->blob + a, w->blob + a + b, w->len - a - b);
		w->len -= b;
		break;
	case 7: /* a chunk once more, anywhere */
		a = choose(w, n_chunks);
		put_in(w, chunk_at(w, choose(w, n_chunks + 1)), w->blob + chunk_at(w, a),
		       chunk_len(w, a));
		break;
	case 8: /* a chunk of the other message */
		overwrite(w, chunk_at(w, choose(w, n_chunks)), m->sealed[1], m->sealed_len,
			  CK_CHUNK_SEALED);
		break;
	case 9: /* of its header */
		overwrite(w, choose(w, 2) * CK_CHUNKED_SALT, m->sealed[1], m->sealed_len,
			  choose(w, CK_CHUNKED_HEADER));
		break;
	case 10:
		a = choose(w, w->len + 1);
		put_in(w, a, m->sealed[1], choose(w, 17));
		break;
	default:
		overwrite(w, 0, m->sealed[0], m->sealed_len, choose(w, m->sealed_len));
		break;
	}
}

/* Reads [OFF, OFF + N) of R: right, or an error. */
static bool read_right(struct ck_reader *r, const uint8_t *want, size_t want_len, uint64_t off,
		       size_t n)
{
	uint8_t *buf = malloc(n ? n : 1); /* exact size */
	bool ok = buf && ck_reader_pread(r, buf, n, off, NULL) == 0;

	if (ok && n && (off > want_len || n > want_len - off || memcmp(buf, want + off, n) != 0))
		abort();
	free(buf);
	return ok;
}

static void read_all(struct ck_reader *r, struct work *w, const uint8_t *want, size_t want_len,
		     bool unchanged)
{
	uint64_t len = ck_reader_len(r);

	if (unchanged && len != want_len)
		abort();
	for (uint64_t off = 0; off < len; off += 10000)
		if (!read_right(r, want, want_len, off,
				len - off < 10000 ? (size_t)(len - off) : 10000) &&
		    unchanged)
			abort();
	for (int i = 0; i < 4; i++) {
		size_t off = choose(w, (size_t)len + 1);
		(void)read_right(r, want, want_len, off, choose(w, (size_t)len - off + 1));
	}
	/* Whoever reads to the end has read all of it, and nothing else. */
	if (read_right(r, want, want_len, 0, (size_t)len) && len != want_len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct work w;
	static bool ready;

	if (!ready)
		prepare();
	ready = true;
	w.in = data;
	w.in_left = len;
	size_t which = choose(&w, N_LENS);
	const struct message *m = &messages[which];
	memcpy(w.blob, m->sealed[0], m->sealed_len);
	w.len = m->sealed_len;
	for (int i = 0; i < 16 && w.in_left; i++)
		change(&w, m);
	bool unchanged = w.len == m->sealed_len && memcmp(w.blob, m->sealed[0], w.len) == 0;
	/* With the other message's header it can be no less than that. */
	bool other =
	    w.len >= CK_CHUNKED_HEADER && memcmp(w.blob, m->sealed[1], CK_CHUNKED_HEADER) == 0;
	uint8_t *blob = malloc(w.len ? w.len : 1); /* exact size */
	struct ck_reader *from = NULL, *r = NULL;
	if (!blob)
		abort();
	memcpy(blob, w.blob, w.len);
	if (ck_reader_open_mem(&from, blob, w.len, NULL) < 0)
		abort();
	if (ck_sealedblob_open(&r, from, &key, type, "it", NULL) == 0)
		read_all(r, &w, m->plain[other], lens[which], unchanged);
	else if (unchanged)
		abort();
	ck_reader_close(r);
	ck_reader_close(from);
	free(blob);
	return 0;
}
