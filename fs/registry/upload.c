#include "fs/registry/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "fs/registry/uploadstep.h"

enum {
	CHUNK = 8 << 20,
	LEAST_PART = 128,
	ONE_PIECE_MAX = 64 << 20,
	MAX_STUCK = 5,
	MAX_WAIT_MS = 60000
};

struct ck_upload {
	struct ck_uploadplace at;
	atomic_bool *one_piece; /* borrowed; of the registry */
	bool whole;		/* this one goes in one piece */
	uint8_t *buf;		/* bytes from BASE on */
	size_t len, cap;
	size_t chunk;	/* at most so much in one request ... */
	size_t least;	/* ... and not made less than this */
	uint64_t base;	/* what the registry has */
	unsigned stuck; /* requests in a row without effect */
};

int ck_upload_open(struct ck_upload **out, struct ck_registry *r, const struct ck_upload_opts *opts,
		   struct ck_err *err)
{
	struct ck_upload *u = calloc(1, sizeof *u);
	bool mounted = false;
	int rc = 0;

	if (u) {
		u->at.r = r;
		u->one_piece = opts->one_piece;
		u->whole = atomic_load(u->one_piece);
		u->chunk = u->cap = opts->chunk ? opts->chunk : CHUNK;
		u->least = u->chunk / LEAST_PART;
		u->buf = malloc(u->cap);
	}
	if (!u || !u->buf)
		rc = ck_nomem(err, "uploading a blob");
	else if (opts->digest && opts->from)
		rc = ck_uploadstep_open(&u->at, opts->digest, opts->from, &mounted, err);
	if (rc < 0 || mounted) {
		ck_upload_close(u);
		return rc < 0 ? rc : 1;
	}
	*out = u;
	return 0;
}

void ck_upload_close(struct ck_upload *u)
{
	if (!u)
		return;
	ck_uploadstep_cancel(&u->at);
	free(u->buf);
	free(u);
}

/* Counts a request that had no effect, and waits before the next; ERR says why. */
static int pause_stuck(struct ck_upload *u, struct ck_err *err)
{
	if (++u->stuck > MAX_STUCK)
		return ck_wrap(err, "given up after %u tries", u->stuck);
	uint64_t ms = 50U << u->stuck; /* 100 ms at first, 1.6 s at last */
	if (ms < u->at.wait_ms)
		ms = u->at.wait_ms < MAX_WAIT_MS ? u->at.wait_ms : MAX_WAIT_MS;
	const struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	(void)nanosleep(&t, NULL);
	return 0;
}

static int room_for(struct ck_upload *u, uint64_t cap, struct ck_err *err)
{
	if (cap > ONE_PIECE_MAX)
		return ck_fail(err, -ENOTSUP,
			       "the registry wants more than %d MiB in one request, which this "
			       "program does not do",
			       ONE_PIECE_MAX >> 20);
	uint8_t *more = realloc(u->buf, cap);
	if (!more)
		return ck_nomem(err, "uploading a blob");
	u->buf = more;
	u->cap = cap;
	return 0;
}

/* Opens an upload for the blob's first byte, where none is open. */
static int begin(struct ck_upload *u, struct ck_err *err)
{
	bool mounted;
	int rc = u->at.location ? 0 : ck_uploadstep_open(&u->at, NULL, NULL, &mounted, err);

	if (rc == 0 && u->at.min_chunk > u->cap)
		rc = room_for(u, u->at.min_chunk, err);
	if (rc == 0 && u->at.min_chunk > u->chunk)
		u->chunk = u->at.min_chunk;
	return rc;
}

/* The registry's upload is no use any more. */
static int lost(struct ck_upload *u, struct ck_err *err)
{
	ck_uploadstep_cancel(&u->at);
	if (u->base == 0)
		return 0;
	if (err)
		err->code = -ESTALE;
	(void)ck_wrap(err, "the registry has lost the %" PRIu64 " bytes that it took", u->base);
	return -ESTALE;
}

static void taken(struct ck_upload *u, uint64_t end)
{
	size_t n = (size_t)(end - u->base);

	memmove(u->buf, u->buf + n, u->len - n);
	u->len -= n;
	u->base = end;
	u->stuck = 0;
}

/* After a request of which nobody knows what came of it: what does the registry have? */
static int resume(struct ck_upload *u, struct ck_err *err)
{
	uint64_t end;
	int rc = pause_stuck(u, err);

	if (rc < 0)
		return rc;
	rc = ck_uploadstep_status(&u->at, u->base, &end, err);
	if (rc < 0)
		return rc;
	if (rc == CK_STEP_UNCLEAR)
		return ck_wrap(err, "asking what the registry has of an upload");
	if (rc != CK_STEP_DONE || end < u->base || end - u->base > u->len)
		return lost(u, err);
	if (end > u->base)
		taken(u, end);
	return 0;
}

/* The registry takes no chunks, or no second one. */
static int no_chunks(struct ck_upload *u, struct ck_err *err)
{
	atomic_store(u->one_piece, true);
	u->whole = true;
	return lost(u, err);
}

static int smaller(struct ck_upload *u, struct ck_err *err)
{
	/* Of nothing there is no smaller piece. */
	if (u->len == 0 || u->chunk / 2 < u->least || u->chunk / 2 < u->at.min_chunk)
		return ck_wrap(err, "a piece of %zu bytes", u->chunk);
	u->chunk /= 2;
	return 0;
}

/* Sends the first bytes of the buffer, at least one, unless it turns out that the blob goes in
 * one piece, or that there is more room. */
static int send_some(struct ck_upload *u, struct ck_err *err)
{
	uint64_t from = u->base, end;
	size_t cap = u->cap;
	int rc = 0;

	while (rc == 0 && u->base == from && !u->whole) {
		rc = begin(u, err);
		if (rc < 0 || u->cap > cap)
			return rc;
		size_t n = u->len < u->chunk ? u->len : u->chunk;
		rc = ck_uploadstep_patch(&u->at, u->buf, n, u->base, &end, err);
		if (rc == CK_STEP_DONE)
			taken(u, end);
		else if (rc == CK_STEP_LARGE)
			rc = smaller(u, err);
		else if (rc == CK_STEP_UNCLEAR)
			rc = resume(u, err);
		else if (rc == CK_STEP_REFUSED || (rc == CK_STEP_GONE && u->base == 0))
			rc = no_chunks(u, err);
		else if (rc == CK_STEP_GONE)
			rc = lost(u, err);
	}
	return rc;
}

int ck_upload_write(struct ck_upload *u, const void *p, size_t nbytes, struct ck_err *err)
{
	const uint8_t *from = p;

	while (nbytes) {
		int rc = 0;
		if (u->len == u->cap)
			rc = u->whole ? room_for(u, 2 * (uint64_t)u->cap, err) : send_some(u, err);
		if (rc < 0)
			return rc;
		size_t n = nbytes < u->cap - u->len ? nbytes : u->cap - u->len;
		memcpy(u->buf + u->len, from, n);
		u->len += n;
		from += n;
		nbytes -= n;
	}
	return 0;
}

/* A blob that is all in the buffer, in one request. A step LARGE is left to the caller. */
static int put_whole(struct ck_upload *u, const uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	for (;;) {
		int there = ck_uploadstep_has(u->at.r, digest, u->len, err);
		if (there)
			return there < 0 ? there : 0;
		int rc = begin(u, err);
		if (rc == 0)
			rc = ck_uploadstep_put(&u->at, digest, u->buf, u->len, err);
		if (rc <= 0 || rc == CK_STEP_LARGE)
			return rc;
		if (rc == CK_STEP_REFUSED)
			return ck_wrap(err, "a blob in one piece");
		ck_uploadstep_cancel(&u->at);
		rc = pause_stuck(u, err);
		if (rc < 0)
			return rc;
	}
}

/* It has what was sent, and will not have it as the blob: it is not what was meant. */
static int spoilt(struct ck_err *err)
{
	if (err)
		err->code = -ESTALE;
	(void)ck_wrap(err, "the registry has all of the blob and refuses it");
	return -ESTALE;
}

/* All its bytes are with the registry. */
static int finish(struct ck_upload *u, const uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	for (;;) {
		int step = ck_uploadstep_put(&u->at, digest, NULL, 0, err);
		if (step <= 0)
			return step;
		/* The answer may have been what was cut. */
		if (ck_uploadstep_has(u->at.r, digest, u->base, NULL) > 0)
			return 0;
		if (step == CK_STEP_REFUSED)
			return spoilt(err);
		int rc = step == CK_STEP_UNCLEAR ? resume(u, err) : lost(u, err);
		if (rc < 0)
			return rc;
	}
}

int ck_upload_end(struct ck_upload *u, const uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	int rc = u->base == 0 ? put_whole(u, digest, err) : CK_STEP_LARGE;

	if (rc != CK_STEP_LARGE)
		return rc;
	if (u->base == 0)
		rc = u->whole ? ck_wrap(err, "a blob in one piece") : smaller(u, err);
	else
		rc = 0;
	while (rc == 0 && u->len && !u->whole)
		rc = send_some(u, err);
	if (rc < 0)
		return rc;
	if (!u->whole)
		return finish(u, digest, err);
	rc = put_whole(u, digest, err);
	return rc == CK_STEP_LARGE ? ck_wrap(err, "a blob in one piece") : rc;
}
