/* blobstore_ops - what a kind of blob store supplies. */
#ifndef CK_BLOBSTORE_OPS_H
#define CK_BLOBSTORE_OPS_H

#include <openssl/evp.h>
#include <stdbool.h>

#include "fs/oci/blobstore.h"

/* Stands first in what a kind of store has of its own; ops->blob makes it, zeroed. */
struct ck_new_blob {
	struct ck_blobstore *store; /* borrowed */
	EVP_MD_CTX *hash;	    /* owned; NULL once ended */
	uint64_t size;
};

/* A blob that is known before it is written. */
struct ck_known_blob {
	const uint8_t *digest; /* CK_SHA256_LEN bytes */
	uint64_t size;
};

struct ck_blobstore_ops {
	/* Begins a blob, which may be KNOWN (else NULL). 1: it is there, and nothing needs to
	 * be written; *OUT is untouched then. */
	int (*blob)(struct ck_new_blob **out, struct ck_blobstore *s,
		    const struct ck_known_blob *known, struct ck_err *err);
	int (*write)(struct ck_new_blob *b, const void *p, size_t nbytes, struct ck_err *err);
	/* B's size and DIGEST are those of all that was written. */
	int (*end)(struct ck_new_blob *b, const uint8_t digest[CK_SHA256_LEN], struct ck_err *err);
	void (*drop)(struct ck_new_blob *b);
	/* 1: the blob will be there once the manifest is, 0: it will not. */
	int (*has)(struct ck_blobstore *s, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		   struct ck_err *err);
	/* Before an image is found its blobs are checked with ck_blobstore_whole. */
	int (*add)(struct ck_blobstore *s, const struct ck_new_manifest *m, struct ck_err *err);
	void (*close)(struct ck_blobstore *s);
};

/* Stands first in each kind of store. */
struct ck_blobstore {
	const struct ck_blobstore_ops *ops;
	const char *name; /* for messages; owned by the kind */
	bool tried;	  /* to add a manifest */
};

/* Whether every blob that the image's manifest M names will be there. Errors: see
 * ck_blobstore_add. */
CK_MUST_CHECK int ck_blobstore_whole(struct ck_blobstore *s, const struct ck_new_manifest *m,
				     struct ck_err *err);

#endif
