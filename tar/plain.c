#include "tar/plain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/seldom.h"
#include "tar/cipher/ctr.h"

struct plain {
	struct ck_reader *blob;
	const struct ck_blob_key *key;
	const struct ck_tags *tags;
	const char *name;
	struct ck_seldom told; /* chunks that differed */
};

/* One request fetches at most this much: what the caller wants beyond is asked next. */
enum { FETCH_MAX = 8 * CK_TAG_CHUNK };

/* Reads the chunks that cover [OFF, END), checked, into BUF. */
static int fetch(struct plain *p, uint64_t off, uint64_t end, uint8_t *buf, struct ck_err *err)
{
	for (int again = 0;; again++) {
		uint64_t bad = 0;
		int rc = ck_reader_pread(p->blob, buf, (size_t)(end - off), off, err);
		if (rc < 0)
			return rc;
		rc =
		    ck_tags_check(p->tags, off / CK_TAG_CHUNK, buf, (size_t)(end - off), &bad, err);
		if (rc != -EBADMSG)
			return rc;
		(void)ck_reader_refetch(p->blob, bad * CK_TAG_CHUNK, end - bad * CK_TAG_CHUNK);
		if (again)
			return ck_fail(err, -EIO,
				       "chunk at offset %" PRIu64
				       " is not what was verified (chunk tag)",
				       bad * CK_TAG_CHUNK);
		if (!ck_seldom_said(&p->told, bad, ck_now_ms(), CK_SELDOM_MS))
			ck_log(CK_LOG_WARNING,
			       "%s: chunk at offset %" PRIu64 " differs; reading it again", p->name,
			       bad * CK_TAG_CHUNK);
	}
}

static ssize_t plain_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	struct plain *p = ctx;
	uint64_t start = off - off % CK_TAG_CHUNK;
	size_t skip = (size_t)(off - start);
	uint64_t len = ck_reader_len(p->blob);

	if (nbytes > FETCH_MAX - skip)
		nbytes = FETCH_MAX - skip;
	uint64_t end = off + nbytes;
	end += (CK_TAG_CHUNK - end % CK_TAG_CHUNK) % CK_TAG_CHUNK;
	if (end > len)
		end = len;
	/* Aligned to chunks and wanted whole: no second buffer. */
	bool direct = skip == 0 && end - start == nbytes;
	CK_AUTO(ck_freep) uint8_t *own = direct ? NULL : malloc((size_t)(end - start));
	uint8_t *at = direct ? buf : own;
	if (!at)
		return ck_nomem(err, "reading a layer");
	int rc = fetch(p, start, end, at, err);
	if (rc < 0)
		return rc;
	if (p->key)
		rc = ck_ctr_crypt(p->key->symkey, p->key->nonce, off, at + skip, nbytes, err);
	if (rc < 0)
		return rc;
	if (!direct)
		memcpy(buf, at + skip, nbytes);
	return (ssize_t)nbytes;
}

static void plain_advise(void *ctx, uint64_t off, uint64_t nbytes)
{
	const struct plain *p = ctx;
	uint64_t start = off - off % CK_TAG_CHUNK, end = off + nbytes;

	ck_reader_advise(p->blob, start,
			 end - start + (CK_TAG_CHUNK - end % CK_TAG_CHUNK) % CK_TAG_CHUNK);
}

int ck_plain_open(struct ck_reader **out, struct ck_reader *blob, const struct ck_blob_key *key,
		  const struct ck_tags *tags, const char *name, struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = plain_pread,
						  .close = free,
						  .advise = plain_advise };
	CK_AUTO(ck_freep) struct plain *p = malloc(sizeof *p);

	if (!p)
		return ck_nomem(err, "opening a layer");
	*p = (struct plain){ .blob = blob, .key = key, .tags = tags, .name = name };
	int rc = ck_reader_open(out, &ops, p, ck_reader_len(blob), err);
	if (rc == 0)
		p = NULL;
	return rc;
}
