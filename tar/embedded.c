#include "tar/embedded.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/indexfile.h"
#include "tar/inflate/decoder.h"

/* HINT_MAX: nothing vouches for where the index is said to be, and where that much is needed
 * another read costs little. */
enum { HINT_MAX = 16 << 20, PULL = 64 << 10 };

int ck_embedded_write(struct ck_buf *out, const struct ck_pass_result *what,
		      const uint8_t diff_id[32], const struct ck_seek_frame *frames, size_t n,
		      uint64_t *index_len, struct ck_err *err)
{
	struct ck_indexfile_about about = { 0 };
	size_t start = out->len;
	uint8_t header[CK_SKIPPABLE_HEADER] = { 0 };
	CK_AUTO(ck_freep) struct ck_seek_frame *all = reallocarray(NULL, n + 1, sizeof *all);

	if (!all)
		return ck_nomem(err, "writing a layer's index");
	memcpy(about.diff_id, diff_id, sizeof about.diff_id);
	int rc = ck_buf_add(out, header, sizeof header, err);
	if (rc == 0)
		rc = ck_indexfile_pack(out, what, &about, err);
	if (rc < 0)
		return rc;
	size_t len = out->len - start;
	*index_len = len - sizeof header;
	if (*index_len > UINT32_MAX - sizeof header)
		return ck_fail(err, -EFBIG, "a layer index of %zu bytes is too long", len);
	ck_skippable_header(out->data + start, CK_SKIPPABLE_INDEX, (uint32_t)*index_len);
	if (n)
		memcpy(all, frames, n * sizeof *all);
	all[n] = (struct ck_seek_frame){ (uint32_t)len, 0 };
	return ck_seektable_write(out, all, n + 1, err);
}

/* The plaintext from some offset to its end, as much as was needed so far. */
struct tail {
	struct ck_reader *plain;
	uint64_t len; /* of the plaintext */
	uint64_t off; /* where buf begins in it */
	struct ck_buf buf;
};

static void tail_free(struct tail *t)
{
	ck_buf_free(&t->buf);
}

/* Makes sure that the tail reaches back to OFF. */
static int reach(struct tail *t, uint64_t off, struct ck_err *err)
{
	CK_BUF more = { .max = t->buf.max };

	if (off >= t->off)
		return 0;
	if (t->len - off > t->buf.max)
		return ck_fail(err, -EBADMSG, "a layer index of %" PRIu64 " bytes is too long",
			       t->len - off);
	size_t n = (size_t)(t->off - off);
	int rc = ck_buf_reserve(&more, n + t->buf.len, err);
	if (rc < 0)
		return rc;
	more.len = n; /* a part that was read is wiped, too */
	rc = ck_reader_pread(t->plain, more.data, n, off, err);
	if (rc < 0)
		return rc;
	rc = ck_buf_add(&more, t->buf.data, t->buf.len, err);
	if (rc < 0)
		return rc;
	struct ck_buf old = t->buf;
	t->buf = more;
	more = old;
	t->off = off;
	return 0;
}

static const uint8_t *at(const struct tail *t, uint64_t off)
{
	return t->buf.data + (off - t->off);
}

/* Where the index lies, by the seek table. -ENOENT when the stream has none. */
static int find(struct tail *t, uint64_t *off, size_t *len, struct ck_err *err)
{
	struct ck_seek_frame last;
	uint64_t table = t->len < CK_SEEKTABLE_FOOTER
			     ? 0
			     : ck_seektable_len(at(t, t->len - CK_SEEKTABLE_FOOTER));

	if (table == 0 || table > t->len)
		return ck_fail(err, -ENOENT, "no seek table");
	int rc = reach(t, t->len - table, err);
	if (rc == 0)
		rc = ck_seektable_last(&last, at(t, t->len - table), (size_t)table, t->len - table,
				       err);
	if (rc < 0)
		return rc;
	if (last.out_len || last.in_len < CK_SKIPPABLE_HEADER)
		return ck_fail(err, -ENOENT, "no index before the seek table");
	*off = t->len - table - last.in_len;
	rc = reach(t, *off, err);
	if (rc < 0)
		return rc;
	*len = last.in_len - CK_SKIPPABLE_HEADER;
	if (ck_skippable_len(at(t, *off), CK_SKIPPABLE_INDEX) != (int64_t)*len)
		return ck_fail(err, -ENOENT, "no index before the seek table");
	return 0;
}

static int open_index(struct ck_pass_result *out, const struct tail *t, uint64_t off, size_t len,
		      const uint8_t diff_id[32], struct ck_err *err)
{
	struct ck_indexfile_about about;
	struct ck_pass_result r = { 0 };
	int rc = ck_indexfile_unpack(&r, &about, off, at(t, off + CK_SKIPPABLE_HEADER), len, err);

	if (rc < 0)
		return rc;
	if (memcmp(about.diff_id, diff_id, sizeof about.diff_id) != 0)
		rc = ck_fail(err, -EBADMSG,
			     "diff_id check failed: the index is of another tar stream than the "
			     "image's config says");
	else if (r.tags.n_tags || r.apart.len || r.units.compression != CK_COMPRESSION_ZSTD)
		rc = ck_fail(err, -EBADMSG, "the index is not one of a sealed layer");
	if (rc < 0)
		ck_pass_result_free(&r);
	else
		*out = r;
	return rc;
}

int ck_embedded_read(struct ck_pass_result *out, struct ck_reader *plain, uint64_t hint_off,
		     const uint8_t diff_id[32], struct ck_err *err)
{
	uint64_t n = ck_reader_len(plain), off = 0;
	uint64_t first = n < CK_SEEKTABLE_FOOTER ? 0 : n - CK_SEEKTABLE_FOOTER;
	CK_AUTO(tail_free) struct tail t = { plain, n, n, { .max = CK_INDEXFILE_MAX } };
	size_t len = 0;

	if (hint_off >= CK_SKIPPABLE_HEADER && hint_off < n && n - hint_off < HINT_MAX)
		first = hint_off - CK_SKIPPABLE_HEADER;
	int rc = reach(&t, first, err);
	if (rc == 0)
		rc = find(&t, &off, &len, err);
	return rc < 0 ? rc : open_index(out, &t, off, len, diff_id, err);
}

/* The plaintext, from some offset on. */
struct feed {
	struct ck_reader *plain;
	uint64_t off;
	uint8_t *buf; /* PULL bytes */
};

static int pull(void *ctx, const uint8_t **p, size_t *nbytes, struct ck_err *err)
{
	struct feed *f = ctx;
	uint64_t left = ck_reader_len(f->plain) - f->off;

	*p = f->buf;
	*nbytes = left < PULL ? (size_t)left : PULL;
	int rc = *nbytes ? ck_reader_pread(f->plain, f->buf, *nbytes, f->off, err) : 0;
	f->off += *nbytes;
	return rc;
}

/* Decodes N bytes into the digest MD. */
static int hash_some(EVP_MD_CTX *md, struct ck_decoder *d, uint64_t n, uint8_t *buf,
		     struct ck_err *err)
{
	while (n) {
		size_t got, want = n < PULL ? (size_t)n : PULL;
		int rc = ck_decoder_read(d, buf, want, &got, err);
		if (rc < 0)
			return rc;
		if (got < want)
			return ck_fail(err, -EBADMSG, "the stream ends inside a unit");
		if (!EVP_DigestUpdate(md, buf, got))
			return ck_fail(err, -EIO, "SHA-256 failed");
		n -= got;
	}
	return 0;
}

/* Decodes every unit of U from its point, as a read does, into the digest MD. */
static int hash_units(EVP_MD_CTX *md, struct ck_decoder *d, struct feed *f, uint8_t *buf,
		      const struct ck_units *u, struct ck_err *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < u->n_units; i++) {
		const struct ck_unit_start *t = &u->units[i];
		if (i == 0 || t->point != t[-1].point) {
			f->off = u->points[t->point].in_off;
			rc = ck_decoder_restart(d, u, t->point, err);
		}
		if (rc == 0)
			rc = hash_some(md, d, ck_units_end(u, i) - t->out_off, buf, err);
	}
	return rc;
}

/* Whether the units in PLAIN give the tar stream that DIFF_ID is of: they may lead to
 * frames that the stream as a whole passes over. */
static int check_units(struct ck_reader *plain, const struct ck_units *u, const uint8_t diff_id[32],
		       struct ck_err *err)
{
	CK_AUTO(ck_decoder_closep) struct ck_decoder *d = NULL;
	uint8_t got[CK_SHA256_LEN], *buf = malloc(2 * PULL);
	struct feed f = { .plain = plain, .buf = buf };
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int rc = 0;

	if (!buf || !md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
		rc = ck_nomem(err, "checking a layer's own index");
	if (rc == 0)
		rc = ck_decoder_open(&d, u->compression, pull, &f, NULL, err);
	if (rc == 0)
		rc = hash_units(md, d, &f, buf + PULL, u, err);
	if (rc == 0 && !EVP_DigestFinal_ex(md, got, NULL))
		rc = ck_fail(err, -EIO, "SHA-256 failed");
	if (rc == 0 && memcmp(got, diff_id, sizeof got) != 0)
		rc = ck_fail(err, -EBADMSG, "its units lead to another tar stream");
	EVP_MD_CTX_free(md);
	if (buf)
		ck_wipe(buf, 2 * PULL);
	free(buf);
	return rc;
}

int ck_embedded_compare(struct ck_reader *plain, uint64_t hint_off, const uint8_t diff_id[32],
			const struct ck_pass_result *what, struct ck_err *err)
{
	struct ck_pass_result r = { 0 };
	int rc = ck_embedded_read(&r, plain, hint_off, diff_id, err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return ck_wrap(err, "its own index");
	/* The length first: units may claim a stream of any, which would be decoded. */
	if (r.units.len != what->units.len || !ck_index_equal(&r.index, &what->index))
		rc = ck_fail(err, -EBADMSG,
			     "its own index is not that of its tar stream: whoever wrote it lied, "
			     "or was in error");
	if (rc == 0) {
		rc = check_units(plain, &r.units, diff_id, err);
		if (rc < 0)
			(void)ck_wrap(err, "its own index is not that of its tar stream");
	}
	ck_pass_result_free(&r);
	return rc;
}
