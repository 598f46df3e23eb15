/* layoutstore_steps - what the files of the layout store share. */
#ifndef CK_LAYOUTSTORE_STEPS_H
#define CK_LAYOUTSTORE_STEPS_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/oci/blobstore_ops.h"
#include "fs/oci/outdir.h"
#include "fs/oci/tempfile.h"

/* A blob of the next commit. */
struct ck_blobitem {
	uint8_t digest[CK_SHA256_LEN];
	uint64_t size;
	bool ours;		 /* else the layout had it */
	bool placed;		 /* it has its name, which nothing had before */
	struct ck_tempfile file; /* ours, until it is placed */
};

struct ck_layoutstore {
	struct ck_blobstore base;
	struct ck_outdir dir;
	atomic_size_t n_open; /* files that are kept, or were to be kept, open */
	bool committed;
	pthread_mutex_t lock; /* guards what follows */
	struct ck_blobitem *items;
	size_t n_items, cap;
};

static inline struct ck_layoutstore *ck_layoutstore_of(struct ck_blobstore *s)
{
	return (struct ck_layoutstore *)s;
}

/* Adds a blob: ours, when FILE is given, which becomes the store's on success. */
CK_MUST_CHECK int ck_layoutstore_item(struct ck_layoutstore *s, struct ck_tempfile *file,
				      const uint8_t digest[CK_SHA256_LEN], uint64_t size,
				      struct ck_err *err);

/* Whether the layout has it now, by name and size. */
bool ck_layoutstore_there(const struct ck_layoutstore *s, const uint8_t digest[CK_SHA256_LEN],
			  uint64_t size);

/* The members of ck_blobstore_ops that are about a blob, and the one that adds. */
int ck_layoutblob_open(struct ck_new_blob **out, struct ck_blobstore *s,
		       const struct ck_known_blob *known, struct ck_err *err);
int ck_layoutblob_write(struct ck_new_blob *b, const void *p, size_t nbytes, struct ck_err *err);
int ck_layoutblob_end(struct ck_new_blob *b, const uint8_t digest[CK_SHA256_LEN],
		      struct ck_err *err);
void ck_layoutblob_drop(struct ck_new_blob *b);

/* Appends the new root document that leads to M to NEW, given the OLD one, empty when there is
 * none. Puts what else is needed into the layout, which is locked. */
CK_MUST_CHECK int ck_layoutstore_root(struct ck_layoutstore *s, const struct ck_new_manifest *m,
				      const struct ck_buf *old, struct ck_buf *new,
				      struct ck_err *err);

#endif
