/*
 * pass - the one pass over a blob that verifies a layer and builds its index.
 *
 * Two threads: one inflates, which takes longest; the caller's does all the rest, before it
 * (read, hash, decrypt) and after it (hash, scan), so that both cores have work to the end.
 */
#ifndef CK_PASS_H
#define CK_PASS_H

#include "tar/cipher/tags.h"
#include "tar/inflate/units.h"
#include "tar/layer.h"

/* A blob that holds an index's windows (tar/windowblob.h). */
struct ck_windows_apart {
	uint8_t digest[32];
	uint64_t len; /* bytes; 0: there is none, the windows are in the index */
	struct ck_secret key;
};

static inline void ck_windows_apart_free(struct ck_windows_apart *a)
{
	ck_secret_free(&a->key);
	*a = (struct ck_windows_apart){ 0 };
}

/* What the pass leaves behind, all of it verified. */
struct ck_pass_result {
	struct ck_tags tags;
	struct ck_units units;
	struct ck_index index;
	struct ck_windows_apart
	    apart;   /* of an index from outside: units.store is to be set by it */
	void *whole; /* when the tables above lie in one block that came from outside */
};

/*
 * What else may be made of the bytes while they pass by. Nothing is verified until
 * ck_pass_run returns 0: what was made must be dropped when it does not. Members may be
 * NULL; an error of theirs ends the pass and is its error.
 */
struct ck_pass_tap {
	/* The decrypted bytes, still compressed, in order; on a thread of the pass. */
	int (*plain)(void *ctx, const void *p, size_t nbytes, struct ck_err *err);
	/* The tar stream, in order; on the caller's thread. */
	int (*tar)(void *ctx, const void *p, size_t nbytes, struct ck_err *err);
	/* On the caller's thread, in order, once the bytes before HEADER_OFF went by: an entry
	 * begins there whose data end at DATA_END. */
	int (*entry)(void *ctx, uint64_t header_off, uint64_t data_end, struct ck_err *err);
	void *ctx;
};

/*
 * TAP may be NULL.
 * Errors: -EBADMSG with the check that failed - the blob's own (digest, HMAC) before
 * those of what is inside - , -EIO and what the blob's reader gave, -ENOMEM. *OUT is
 * the caller's to ck_pass_result_free on success, untouched on failure.
 */
CK_MUST_CHECK int ck_pass_run(struct ck_pass_result *out, const struct ck_layer_spec *spec,
			      struct ck_reader *blob, const struct ck_pass_tap *tap,
			      ck_progress_fn *progress, void *progress_ctx, struct ck_err *err);
void ck_pass_result_free(struct ck_pass_result *r); /* {0} is allowed */

#endif
