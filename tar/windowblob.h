/*
 * windowblob - the windows of an index (tar/inflate/windows.h) in a blob beside it: most of an
 * index's bytes, of which a mount needs those alone where something is read.
 *
 * One behind the other: each as zstd compressed it, then enciphered with AES-256-GCM (NIST SP
 * 800-38D), and its tag. The key is random and of this blob alone, the nonce is the number of the
 * window's point. Key, digest and places stand in the index, which is sealed.
 * Threads: one may serve any number at once.
 */
#ifndef CK_WINDOWBLOB_H
#define CK_WINDOWBLOB_H

#include "base/buf.h"
#include "base/range.h"
#include "base/reader.h"
#include "tar/cipher/gcmkey.h"
#include "tar/pass.h"

/*
 * Appends the blob of the windows of U, and says in *APART (the caller's to ck_windows_apart_free)
 * what it is. POINTS: copies of U's, whose places become those in the blob.
 * Errors: -EFBIG, -ENOMEM, -EIO (no randomness).
 */
CK_MUST_CHECK int ck_windowblob_make(struct ck_buf *out, struct ck_windows_apart *apart,
				     struct ck_point *points, const struct ck_units *u,
				     struct ck_err *err);

struct ck_windowblob; /* opaque */

/* BLOB, which becomes its own on success, is what APART describes; NAME is for messages, and
 * outlives it. *OUT is the caller's to close. Errors: -ENOMEM, -EIO. */
CK_MUST_CHECK int ck_windowblob_open(struct ck_windowblob **out, struct ck_reader *blob,
				     const struct ck_windows_apart *apart, const char *name,
				     struct ck_err *err);
void ck_windowblob_close(struct ck_windowblob *w); /* NULL is allowed */

/* How often a window was not what was sealed. */
uint64_t ck_windowblob_n_wrong(const struct ck_windowblob *w);

/* As units read windows (tar/inflate/units.h); borrows W. Errors of a read: -EIO (what is there is
 * not what was sealed), those of the blob's reader. */
struct ck_windowstore ck_windowblob_store(struct ck_windowblob *w);

/* Where the windows of the points FIRST .. LAST of U are in their blob; empty: they need none. */
struct ck_range ck_windowblob_range(const struct ck_units *u, uint32_t first, uint32_t last);

/* Says that those will be read soon. */
void ck_windowblob_advise(struct ck_windowblob *w, const struct ck_units *u, uint32_t first,
			  uint32_t last);

#endif
