#include "tar/windowblob.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/seldom.h"
#include "base/text.h"

struct ck_windowblob {
	struct ck_reader *blob;
	struct ck_gcmkey *key;
	const char *name;
	struct ck_seldom told; /* windows that differed */
};

static void set_nonce(uint8_t nonce[CK_GCM_NONCE], uint32_t point)
{
	memset(nonce, 0, CK_GCM_NONCE);
	for (size_t i = 0; i < 4; i++)
		nonce[i] = (uint8_t)(point >> (8 * i));
}

static int seal_each(struct ck_buf *out, struct ck_gcmkey *key, struct ck_point *points,
		     const struct ck_units *u, struct ck_err *err)
{
	size_t at = out->len;

	for (uint32_t i = 0; i < u->n_points; i++) {
		struct ck_point *p = &points[i];
		uint8_t nonce[CK_GCM_NONCE];
		if (p->window_len == 0)
			continue;
		int rc = ck_buf_reserve(out, (size_t)p->window_len + CK_GCM_TAG, err);
		if (rc < 0)
			return rc;
		uint8_t *to = out->data + out->len;
		set_nonce(nonce, i);
		if (ck_gcmkey_seal(key, nonce, u->windows + p->window_off, p->window_len, to,
				   to + p->window_len) < 0)
			return ck_fail(err, -EIO, "AES-256-GCM failed");
		p->window_off = out->len - at;
		out->len += (size_t)p->window_len + CK_GCM_TAG;
	}
	return 0;
}

int ck_windowblob_make(struct ck_buf *out, struct ck_windows_apart *apart, struct ck_point *points,
		       const struct ck_units *u, struct ck_err *err)
{
	CK_AUTO(ck_gcmkey_freep) struct ck_gcmkey *key = NULL;
	struct ck_windows_apart a = { 0 };
	size_t at = out->len;
	int rc = ck_secret_new(&a.key, CK_GCM_KEY, err);

	if (rc == 0 && RAND_priv_bytes(a.key.data, CK_GCM_KEY) != 1)
		rc = ck_fail(err, -EIO, "no randomness for decompression windows");
	if (rc == 0)
		rc = ck_gcmkey_new(&key, a.key.data, err);
	if (rc == 0)
		rc = seal_each(out, key, points, u, err);
	if (rc < 0) {
		ck_windows_apart_free(&a);
		return rc;
	}
	a.len = out->len - at;
	ck_sha256(a.digest, out->data + at, out->len - at);
	*apart = a;
	return 0;
}

int ck_windowblob_open(struct ck_windowblob **out, struct ck_reader *blob,
		       const struct ck_windows_apart *apart, const char *name, struct ck_err *err)
{
	struct ck_windowblob *w;

	if (ck_reader_len(blob) != apart->len)
		return ck_fail(err, -EIO,
			       "the windows have %" PRIu64 " bytes, not %" PRIu64
			       " as their index says",
			       ck_reader_len(blob), apart->len);
	w = calloc(1, sizeof *w);
	if (!w)
		return ck_nomem(err, "opening decompression windows");
	int rc = ck_gcmkey_new(&w->key, apart->key.data, err);
	if (rc < 0) {
		free(w);
		return rc;
	}
	w->blob = blob;
	w->name = name;
	*out = w;
	return 0;
}

void ck_windowblob_close(struct ck_windowblob *w)
{
	if (!w)
		return;
	ck_gcmkey_free(w->key);
	ck_reader_close(w->blob);
	free(w);
}

/* OUT has room for LEN bytes. */
static int read_window(void *ctx, uint32_t point, uint64_t off, size_t len, uint8_t *out,
		       struct ck_err *err)
{
	struct ck_windowblob *w = ctx;
	uint8_t nonce[CK_GCM_NONCE], sealed[CK_WINDOW_PACKED_MAX + CK_GCM_TAG];

	set_nonce(nonce, point);
	for (int again = 0;; again++) {
		int rc = ck_reader_pread(w->blob, sealed, len + CK_GCM_TAG, off, err);
		if (rc == 0 && ck_gcmkey_open(w->key, nonce, sealed, len, out, sealed + len) == 0)
			return 0;
		if (rc < 0)
			return ck_wrap(err, "decompression window %" PRIu32, point);
		(void)ck_reader_refetch(w->blob, off, len + CK_GCM_TAG);
		if (again)
			return ck_fail(err, -EIO,
				       "decompression window %" PRIu32 " is not authentic", point);
		if (!ck_seldom_said(&w->told, point, ck_now_ms(), CK_SELDOM_MS))
			ck_log(CK_LOG_WARNING,
			       "%s: decompression window %" PRIu32 " differs; reading it again",
			       w->name, point);
	}
}

uint64_t ck_windowblob_n_wrong(const struct ck_windowblob *w)
{
	return ck_reader_n_wrong(w->blob);
}

struct ck_windowstore ck_windowblob_store(struct ck_windowblob *w)
{
	return (struct ck_windowstore){ .read = read_window, .ctx = w };
}

struct ck_range ck_windowblob_range(const struct ck_units *u, uint32_t first, uint32_t last)
{
	const struct ck_point *p = u->points;

	while (first < last && p[first].window_len == 0)
		first++;
	while (last > first && p[last].window_len == 0)
		last--;
	uint64_t end = p[last].window_off + p[last].window_len + CK_GCM_TAG;
	if (p[first].window_len == 0 || end <= p[first].window_off)
		return (struct ck_range){ 0 };
	return (struct ck_range){ p[first].window_off, end - p[first].window_off };
}

void ck_windowblob_advise(struct ck_windowblob *w, const struct ck_units *u, uint32_t first,
			  uint32_t last)
{
	struct ck_range r = ck_windowblob_range(u, first, last);

	if (r.len)
		ck_reader_advise(w->blob, r.off, r.len);
}
