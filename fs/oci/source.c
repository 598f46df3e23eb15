#include "fs/oci/source.h"

#include <errno.h>
#include <string.h>

int ck_source_open(struct ck_source *out, const struct ck_reference *ref,
		   const struct ck_registry_opts *opts, struct ck_err *err)
{
	struct ck_source s = CK_SOURCE_NONE;
	int rc = ref->transport == CK_TRANSPORT_DOCKER
		     ? ck_registry_open(&s.registry, ref->host, ref->repo, opts, err)
		     : ck_layout_open(&s.layout, ref->transport, ref->dir, err);

	if (rc == 0)
		*out = s;
	return rc;
}

void ck_source_close(struct ck_source *s)
{
	ck_layout_close(&s->layout);
	if (!s->borrowed)
		ck_registry_close(s->registry);
	s->registry = NULL;
}

int ck_source_doc(const struct ck_source *s, const struct ck_descriptor *d, struct ck_buf *out,
		  struct ck_err *err)
{
	return ck_source_whole(s, d, CK_LAYOUT_MAX_DOC, out, err);
}

int ck_source_whole(const struct ck_source *s, const struct ck_descriptor *d, size_t max,
		    struct ck_buf *out, struct ck_err *err)
{
	return s->registry ? ck_registry_whole(s->registry, d, max, out, err)
			   : ck_layout_whole(&s->layout, d, max, out, err);
}

/* ---- a blob of a registry ----------------------------------------------------------- */

struct remote {
	struct ck_registry *registry;
	struct ck_registry_want want; /* the blob's digest and size */
};

struct filling {
	uint8_t *buf;
	uint64_t off, len;
};

/* Keeps what is wanted of what comes. */
static int fill(void *ctx, uint64_t off, const void *p, size_t nbytes, struct ck_err *err)
{
	const struct filling *f = ctx;
	uint64_t end = off + nbytes, from = off > f->off ? off : f->off;
	uint64_t to = end < f->off + f->len ? end : f->off + f->len;

	(void)err;
	if (from < to)
		memcpy(f->buf + (from - f->off), (const uint8_t *)p + (from - off), to - from);
	return 0;
}

static ssize_t remote_pread(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err)
{
	const struct remote *b = ctx;
	struct ck_registry_want want = b->want;
	struct filling f = { buf, off, nbytes };
	const struct ck_registry_taker taker = { fill, &f };
	struct ck_registry_fetched fetched;

	if (nbytes == 0)
		return 0;
	want.off = off;
	want.len = nbytes;
	int rc = ck_registry_fetch(b->registry, &want, &taker, &fetched, err);
	return rc < 0 ? rc : (ssize_t)nbytes;
}

static const struct ck_reader_ops remote_ops = { .pread = remote_pread, .close = free };

static int remote_blob(struct ck_registry *r, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		       struct ck_reader **out, struct ck_err *err)
{
	CK_AUTO(ck_freep) struct remote *b = calloc(1, sizeof *b);

	if (!b)
		return ck_nomem(err, "opening a blob");
	b->registry = r;
	b->want.size = size;
	memcpy(b->want.digest, digest, CK_SHA256_LEN);
	int rc = ck_reader_open(out, &remote_ops, b, size, err);
	if (rc == 0)
		b = NULL;
	return rc;
}

int ck_source_blob(const struct ck_source *s, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		   struct ck_reader **out, struct ck_err *err)
{
	return s->registry ? remote_blob(s->registry, digest, size, out, err)
			   : ck_layout_blob(&s->layout, digest, size, out, err);
}
