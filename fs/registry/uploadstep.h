/*
 * uploadstep - the requests of one upload, each sent once, and what their answers mean.
 * Source: OCI distribution spec v1.1, "Pushing blobs" and "Resuming a chunked upload"; what
 * Docker's registry 2.8 was seen to do.
 * Threads: one at a time for each upload.
 */
#ifndef CK_UPLOADSTEP_H
#define CK_UPLOADSTEP_H

#include "fs/registry/registry.h"

/* What an answer means. With all but DONE *err says what it was. */
enum ck_uploadstep {
	CK_STEP_DONE,
	CK_STEP_UNCLEAR, /* cut, or a server's trouble: it may have been taken, or a part of it */
	CK_STEP_GONE,	 /* the registry does not know the upload */
	CK_STEP_REFUSED, /* it will not have it in this way */
	CK_STEP_LARGE,	 /* not so much at once */
};

/* Where an upload goes on. */
struct ck_uploadplace {
	struct ck_registry *r; /* borrowed */
	char *location;	       /* of the last answer; owned; NULL: no upload is open */
	uint64_t min_chunk;    /* bytes that all pieces but the last must have, 0: any */
};

/*
 * Opens an upload. Where DIGEST (else NULL) may be in repository FROM it asks for that: *MOUNTED
 * says that the blob is there now, and no upload was opened. Returns 0.
 * Errors: those of ck_registry_do and ck_registry_refused, -EPROTO.
 */
CK_MUST_CHECK int ck_uploadstep_open(struct ck_uploadplace *p, const uint8_t *digest,
				     const char *from, bool *mounted, struct ck_err *err);

/* Sends P[0..NBYTES) as the blob's bytes from OFF on. *END, when DONE: how many of the blob's
 * bytes are taken, more than OFF and at most OFF + NBYTES. Returns a step, or -EACCES, -ENOMEM,
 * -ECANCELED and others that another try does not change. */
CK_MUST_CHECK int ck_uploadstep_patch(struct ck_uploadplace *p, const void *bytes, size_t nbytes,
				      uint64_t off, uint64_t *end, struct ck_err *err);

/* Asks how many of the blob's bytes are taken, of which OFF are known to be. Returns as above. */
CK_MUST_CHECK int ck_uploadstep_status(struct ck_uploadplace *p, uint64_t off, uint64_t *end,
				       struct ck_err *err);

/* Ends the upload with P[0..NBYTES), the last of its bytes or none. REFUSED: among others,
 * that they do not have DIGEST. Returns as above. */
CK_MUST_CHECK int ck_uploadstep_put(struct ck_uploadplace *p, const uint8_t digest[CK_SHA256_LEN],
				    const void *bytes, size_t nbytes, struct ck_err *err);

/* Gives up an upload, if one is open, and tells the registry, whatever that says. */
void ck_uploadstep_cancel(struct ck_uploadplace *p);

/* "0-N", or "bytes=0-N": N + 1 into *END. */
CK_MUST_CHECK bool ck_uploadstep_range(const char *text, uint64_t *end);

/* 1: the repository has the blob, 0: it has not. Errors: those of ck_registry_do and
 * ck_registry_refused. */
CK_MUST_CHECK int ck_uploadstep_has(struct ck_registry *r, const uint8_t digest[CK_SHA256_LEN],
				    uint64_t size, struct ck_err *err);

/* Docker-Content-Digest, where there is one, must be DIGEST. Errors: -EBADMSG. */
CK_MUST_CHECK int ck_uploadstep_same(const struct ck_http_res *res,
				     const uint8_t digest[CK_SHA256_LEN], struct ck_err *err);

#endif
