/*
 * reader - a random-access run of bytes, from a place that may fail.
 *
 * The one interface of the read path: a file, the ciphertext of a layer, its
 * decompressed tar stream are each a reader, so each is tested alone.
 *
 * Threads: ck_reader_pread may run on any number of threads at once; open and
 * close may not overlap a read of the same handle.
 */
#ifndef CK_READER_H
#define CK_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct ck_reader; /* opaque; ck_reader_open* makes it, ck_reader_close frees it */

/* What a backend supplies. CTX belongs to the reader once open succeeds. */
struct ck_reader_ops {
	/* As pread(2): returns bytes read (0 at end), or a negative errno with *err set. */
	ssize_t (*pread)(void *ctx, void *buf, size_t nbytes, uint64_t off, struct ck_err *err);
	void (*close)(void *ctx); /* may be NULL */
	/* See ck_reader_refetch and ck_reader_advise; may be NULL. */
	bool (*refetch)(void *ctx, uint64_t off, uint64_t nbytes);
	void (*advise)(void *ctx, uint64_t off, uint64_t nbytes);
};

/*
 * Opens a reader of exactly LEN bytes. OPS must outlive it.
 * On success *OUT is the caller's to close and CTX is the reader's. On failure
 * *OUT is untouched and CTX is still the caller's.
 * Errors: -EINVAL (LEN above INT64_MAX), -ENOMEM.
 */
CK_MUST_CHECK int ck_reader_open(struct ck_reader **out, const struct ck_reader_ops *ops, void *ctx,
				 uint64_t len, struct ck_err *err);

/* A regular file, its length as found now. Errors: errnos, -EINVAL (not a regular file). */
CK_MUST_CHECK int ck_reader_open_file(struct ck_reader **out, int dirfd, const char *path,
				      struct ck_err *err);

/* The same from an open descriptor, which becomes the reader's on success and stays
 * the caller's on failure; NAME is for messages. */
CK_MUST_CHECK int ck_reader_open_fd(struct ck_reader **out, int fd, const char *name,
				    struct ck_err *err);

/* Memory, borrowed: P must outlive the reader. */
CK_MUST_CHECK int ck_reader_open_mem(struct ck_reader **out, const void *p, size_t nbytes,
				     struct ck_err *err);

/* Length in bytes, fixed for the life of the handle. */
uint64_t ck_reader_len(const struct ck_reader *r);

/* Bytes that its reads have given so far. */
uint64_t ck_reader_n_read(const struct ck_reader *r);

/* How often what they gave was wrong: calls of ck_reader_refetch. */
uint64_t ck_reader_n_wrong(const struct ck_reader *r);

/*
 * Reads exactly NBYTES at byte offset OFF into BUF (room for NBYTES).
 * All or nothing: a short backend read is continued, and an end of data before
 * OFF + NBYTES is -EIO ("truncated"), never a short count: what keeps a damaged
 * layer from looking like a shorter file.
 * Errors: -EINVAL (range outside), -EIO, or what the backend gave.
 * On error BUF's contents are unspecified; callers must not show them.
 */
CK_MUST_CHECK int ck_reader_pread(struct ck_reader *r, void *buf, size_t nbytes, uint64_t off,
				  struct ck_err *err);

/*
 * What [OFF, OFF + NBYTES) gave was wrong. Returns true where that was a copy, which is dropped:
 * the next read asks the origin itself. False: the next read gives what the last one gave, unless
 * the place itself is moody.
 */
bool ck_reader_refetch(struct ck_reader *r, uint64_t off, uint64_t nbytes);

/* [OFF, OFF + NBYTES), as far as it lies inside, will be read soon. Does not wait. A hint, which a
 * place that is far away takes to ask for it at once. */
void ck_reader_advise(struct ck_reader *r, uint64_t off, uint64_t nbytes);

void ck_reader_close(struct ck_reader *r); /* NULL is allowed */

static inline void ck_reader_closep(struct ck_reader **r)
{
	ck_reader_close(*r);
}

#endif
