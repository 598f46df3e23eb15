#include "tar/sealedblob.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/seldom.h"

/* One request fetches at most this many chunks: what the caller wants beyond is asked next. */
enum { FETCH_CHUNKS = 64, FETCH_MAX = FETCH_CHUNKS * CK_CHUNK_SEALED, N_IDLE = 4 };

struct sealedblob {
	struct ck_reader *blob;
	struct ck_chunked *chunks;
	const char *name;
	uint64_t len;	       /* plaintext bytes */
	struct ck_seldom told; /* chunks that were not authentic */
	pthread_mutex_t lock;
	uint8_t *idle[N_IDLE]; /* buffers of FETCH_MAX bytes for ciphertext; NULL: none */
};

int ck_layer_context(struct ck_chunked_context *out, char text[CK_LAYER_CONTEXT_MAX],
		     const char *media_type, struct ck_err *err)
{
	static const char use[] = "cloakfs/layer/v1"; /* its NUL is part of the context */
	size_t n = media_type ? strlen(media_type) : 0;

	if (!media_type)
		return ck_fail(err, -EINVAL, "a sealed layer without a media type");
	if (n > CK_LAYER_CONTEXT_MAX - sizeof use)
		return ck_fail(err, -EINVAL, "media type of %zu bytes is too long", n);
	memcpy(text, use, sizeof use);
	memcpy(text + sizeof use, media_type, n);
	*out = (struct ck_chunked_context){ text, sizeof use + n };
	return 0;
}

int ck_sealedblob_begin(struct ck_chunked **out, struct ck_reader *blob,
			const struct ck_blob_key *key, const char *media_type,
			uint8_t header[CK_CHUNKED_HEADER], struct ck_err *err)
{
	struct ck_chunked_context context;
	char text[CK_LAYER_CONTEXT_MAX];
	uint64_t len;
	int rc = ck_chunked_plain_len(ck_reader_len(blob), &len, err);

	if (rc == 0)
		rc = ck_layer_context(&context, text, media_type, err);
	if (rc < 0)
		return rc;
	for (int again = 0;; again++) {
		rc = ck_reader_pread(blob, header, CK_CHUNKED_HEADER, 0, err);
		if (rc == 0)
			rc = ck_chunked_open(out, key->symkey, &context, header, err);
		if (rc != -EBADMSG || !ck_reader_refetch(blob, 0, CK_CHUNKED_HEADER) || again)
			return rc;
	}
}

int ck_sealedblob_unseal(struct ck_chunked *c, uint64_t idx, const uint8_t *in, size_t nbytes,
			 uint8_t *out, size_t *out_len, struct ck_err *err)
{
	size_t done = 0;

	for (; nbytes; idx++) {
		size_t n = nbytes < CK_CHUNK_SEALED ? nbytes : CK_CHUNK_SEALED;
		int rc = ck_chunked_unseal(c, idx, in, n, out + done, err);
		if (rc < 0) {
			ck_wipe(out, done);
			return rc;
		}
		in += n;
		nbytes -= n;
		done += n - CK_CHUNK_TAG;
	}
	*out_len = done;
	return 0;
}

static uint8_t *buffer_take(struct sealedblob *s)
{
	uint8_t *b = NULL;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; !b && i < N_IDLE; i++) {
		b = s->idle[i];
		s->idle[i] = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return b ? b : malloc(FETCH_MAX);
}

static void buffer_put(struct sealedblob *s, uint8_t *b)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; b && i < N_IDLE; i++) {
		if (!s->idle[i]) {
			s->idle[i] = b;
			b = NULL;
		}
	}
	pthread_mutex_unlock(&s->lock);
	free(b);
}

/* What is wanted of the chunks that cover a read. */
struct range {
	uint64_t first;	 /* chunk */
	size_t skip;	 /* bytes of it that are not wanted */
	size_t nbytes;	 /* wanted */
	size_t n_sealed; /* bytes of ciphertext */
};

static struct range range_of(const struct sealedblob *s, uint64_t off, size_t nbytes)
{
	struct range r = { .first = off / CK_CHUNK, .skip = (size_t)(off % CK_CHUNK) };
	size_t most = FETCH_CHUNKS * CK_CHUNK - r.skip;

	r.nbytes = nbytes < most ? nbytes : most;
	uint64_t at = CK_CHUNKED_HEADER + r.first * CK_CHUNK_SEALED;
	uint64_t n = (r.skip + r.nbytes + CK_CHUNK - 1) / CK_CHUNK * CK_CHUNK_SEALED;
	uint64_t left = ck_reader_len(s->blob) - at;
	r.n_sealed = (size_t)(n < left ? n : left);
	return r;
}

/* Opens the chunks of R in SEALED into BUF: those wanted whole at once, the others by way
 * of a buffer. *BAD is the chunk that failed. */
static int unseal(const struct sealedblob *s, const struct range *r, const uint8_t *sealed,
		  uint8_t *buf, uint64_t *bad, struct ck_err *err)
{
	uint8_t part[CK_CHUNK];
	size_t done = 0, skip = r->skip;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && done < r->nbytes; i++, skip = 0) {
		size_t at = (size_t)i * CK_CHUNK_SEALED;
		size_t n = r->n_sealed - at < CK_CHUNK_SEALED ? r->n_sealed - at : CK_CHUNK_SEALED;
		size_t have = n - CK_CHUNK_TAG - skip;
		size_t want = r->nbytes - done < have ? r->nbytes - done : have;
		bool whole = skip == 0 && want == n - CK_CHUNK_TAG;
		rc = ck_chunked_unseal(s->chunks, r->first + i, sealed + at, n,
				       whole ? buf + done : part, err);
		if (rc == 0 && !whole) {
			memcpy(buf + done, part + skip, want);
			ck_wipe(part, n - CK_CHUNK_TAG);
		}
		*bad = r->first + i;
		done += want;
	}
	if (rc < 0)
		ck_wipe(buf, r->nbytes);
	return rc;
}

static int fetch(struct sealedblob *s, const struct range *r, uint8_t *sealed, uint8_t *buf,
		 struct ck_err *err)
{
	uint64_t off = CK_CHUNKED_HEADER + r->first * CK_CHUNK_SEALED;

	for (int again = 0;; again++) {
		uint64_t bad = 0;
		int rc = ck_reader_pread(s->blob, sealed, r->n_sealed, off, err);
		if (rc == 0)
			rc = unseal(s, r, sealed, buf, &bad, err);
		if (rc != -EBADMSG)
			return rc;
		uint64_t at = CK_CHUNKED_HEADER + bad * CK_CHUNK_SEALED;
		(void)ck_reader_refetch(s->blob, at, r->n_sealed - (at - off));
		if (again)
			return ck_fail(err, -EIO,
				       "chunk at offset %" PRIu64 " is not authentic (AES-256-GCM)",
				       at);
		if (!ck_seldom_said(&s->told, bad, ck_now_ms(), CK_SELDOM_MS))
			ck_log(CK_LOG_WARNING,
			       "%s: chunk at offset %" PRIu64 " is not authentic; reading it again",
			       s->name, at);
	}
}

static ssize_t sealedblob_pread(void *ctx, void *buf, size_t nbytes, uint64_t off,
				struct ck_err *err)
{
	struct sealedblob *s = ctx;
	struct range r = range_of(s, off, nbytes);
	uint8_t *sealed = buffer_take(s);

	if (!sealed)
		return ck_nomem(err, "reading a layer");
	int rc = fetch(s, &r, sealed, buf, err);
	buffer_put(s, sealed);
	return rc < 0 ? rc : (ssize_t)r.nbytes;
}

static void sealedblob_advise(void *ctx, uint64_t off, uint64_t nbytes)
{
	const struct sealedblob *s = ctx;
	uint64_t first = off / CK_CHUNK, end = (off + nbytes + CK_CHUNK - 1) / CK_CHUNK;

	ck_reader_advise(s->blob, CK_CHUNKED_HEADER + first * CK_CHUNK_SEALED,
			 (end - first) * CK_CHUNK_SEALED);
}

static void sealedblob_close(void *ctx)
{
	struct sealedblob *s = ctx;

	for (size_t i = 0; i < N_IDLE; i++)
		free(s->idle[i]);
	ck_chunked_free(s->chunks);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Only the last chunk tells a message from one that was cut. An empty one is never read for
 * what is in it. */
static int check_empty_last(const struct sealedblob *s, struct ck_err *err)
{
	uint8_t tag[CK_CHUNK_TAG], none;
	uint64_t at = ck_reader_len(s->blob) - sizeof tag;
	int rc = -EBADMSG;

	for (int tries = 2; rc == -EBADMSG && tries; tries--) {
		rc = ck_reader_pread(s->blob, tag, sizeof tag, at, err);
		if (rc == 0)
			rc = ck_chunked_unseal(s->chunks, s->len / CK_CHUNK, tag, sizeof tag, &none,
					       err);
		if (rc == -EBADMSG)
			(void)ck_reader_refetch(s->blob, at, sizeof tag);
	}
	return rc == -EBADMSG
		   ? ck_fail(err, rc, "the last chunk is not authentic: truncated, or changed")
		   : rc;
}

int ck_sealedblob_open(struct ck_reader **out, struct ck_reader *blob,
		       const struct ck_blob_key *key, const char *media_type, const char *name,
		       struct ck_err *err)
{
	static const struct ck_reader_ops ops = { .pread = sealedblob_pread,
						  .close = sealedblob_close,
						  .advise = sealedblob_advise };
	uint8_t header[CK_CHUNKED_HEADER];
	struct sealedblob *s = calloc(1, sizeof *s);

	if (!s)
		return ck_nomem(err, "opening a layer");
	pthread_mutex_init(&s->lock, NULL);
	s->blob = blob;
	s->name = name;
	int rc = ck_sealedblob_begin(&s->chunks, blob, key, media_type, header, err);
	if (rc == 0)
		rc = ck_chunked_plain_len(ck_reader_len(blob), &s->len, err);
	if (rc == 0 && s->len % CK_CHUNK == 0)
		rc = check_empty_last(s, err);
	if (rc == 0)
		rc = ck_reader_open(out, &ops, s, s->len, err);
	if (rc < 0)
		sealedblob_close(s);
	return rc;
}
