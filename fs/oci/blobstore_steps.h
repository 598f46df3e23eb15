/* blobstore_steps - what the files of the blob store share. */
#ifndef CK_BLOBSTORE_STEPS_H
#define CK_BLOBSTORE_STEPS_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/oci/blobstore.h"
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

struct ck_blobstore {
	struct ck_outdir dir;
	atomic_size_t n_open; /* files that are kept, or were to be kept, open */
	bool committed;
	bool tried;	      /* to commit */
	pthread_mutex_t lock; /* guards what follows */
	struct ck_blobitem *items;
	size_t n_items, cap;
};

/* Adds a blob: ours, when FILE is given, which becomes the store's on success. */
CK_MUST_CHECK int ck_blobstore_add(struct ck_blobstore *s, struct ck_tempfile *file,
				   const uint8_t digest[CK_SHA256_LEN], uint64_t size,
				   struct ck_err *err);

/* Whether the layout has it now, by name and size. */
bool ck_blobstore_there(const struct ck_blobstore *s, const uint8_t digest[CK_SHA256_LEN],
			uint64_t size);

#endif
