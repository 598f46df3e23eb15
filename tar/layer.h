/*
 * layer - one layer's decrypted, decompressed, verified tar stream, and its index.
 *
 * A sealed layer holds its own index, and each of its chunks proves itself: opening reads
 * no more than that. Any other is opened by the index that an earlier pass sealed, or by a
 * pass: HMAC, blob digest, diff_id, gzip or zstd integrity, tar structure, and the index,
 * from the same bytes. Nothing is served before all agree. Afterwards any range is read at
 * random: the ciphertext is checked again, chunk by chunk, against tags made in that pass.
 * Threads: ck_layer_pread may run on any number of threads at once.
 */
#ifndef CK_LAYER_H
#define CK_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/pool.h"
#include "base/reader.h"
#include "tar/cipher/blobkey.h"
#include "tar/index/prefetch.h"
#include "tar/unitcache.h"

struct ck_layer; /* opaque */

struct ck_layer_spec {
	const char *name;	       /* for messages, e.g. "layer 2 (sha256:ab12...)" */
	uint8_t digest[32];	       /* SHA-256 of the blob, from the manifest */
	uint8_t diff_id[32];	       /* SHA-256 of the tar stream, from the config */
	const struct ck_blob_key *key; /* copied into secret memory; NULL: a plain layer */
	const char *media_type;	       /* of the plaintext; a sealed layer is bound to it */
	uint64_t index_off; /* sealed: where its plaintext is said to hold its index; 0: unknown */
	bool full;	    /* make the pass, whatever index there is */
	/* Borrowed, and told what became of it: a pass puts it into the index that it makes. NULL:
	 * nothing is to be fetched first. */
	struct ck_wants *wants;
};

/*
 * Where sealed indexes are kept; what it gives back is checked, not believed. A keyed
 * layer whose index is there needs no pass: each chunk is verified when it is read.
 * Stores are asked in turn, until one gives an index that opens.
 */
struct ck_index_store {
	/* Appends the sealed index of the blob DIGEST ("sha256:<hex>") to OUT, within its max.
	 * Errors: -ENOENT (none), -EFBIG, others. */
	int (*load)(void *ctx, const char *digest, struct ck_buf *out, struct ck_err *err);
	/* NULL: nothing is kept here. With APART the index's windows (tar/windowblob.h) come beside
	 * it, as the blob WINDOWS; it is empty where there are none, and NULL without APART. */
	int (*save)(void *ctx, const char *digest, const void *p, size_t nbytes,
		    const struct ck_buf *windows, struct ck_err *err);
	bool apart;
	/* The blob DIGEST of SIZE bytes, to which an index leads; its contents need no check. An
	 * index may come from another store than this: it must be known to be there. *OUT is the
	 * caller's to close. NULL: there are none here. Errors: -ENOENT, others. */
	int (*blob)(void *ctx, const uint8_t digest[32], uint64_t size, struct ck_reader **out,
		    struct ck_err *err);
	void *ctx;
	const struct ck_index_store *next; /* borrowed; NULL: the last */
};

/* Called now and then while the pass runs: N of the blob's TOTAL bytes are through.
 * From one thread at a time. */
typedef void ck_progress_fn(void *ctx, uint64_t nbytes, uint64_t total);

/*
 * Verifies and opens a layer. BLOB becomes the layer's on success and stays the
 * caller's on failure. CACHE is borrowed and shared by layers. PROGRESS may be NULL. STORE
 * (borrowed for the call, may be NULL) is asked for the layer's index before a pass, and
 * given it after one; a store that fails costs a log line, not the layer.
 * Errors: -EBADMSG (a check failed: the message names layer and check), -EIO and
 * what the blob's reader gave, -ENOTSUP (a compression we do not know), -ENOMEM.
 */
CK_MUST_CHECK int ck_layer_open(struct ck_layer **out, const struct ck_layer_spec *spec,
				struct ck_reader *blob, struct ck_unitcache *cache,
				const struct ck_index_store *store, ck_progress_fn *progress,
				void *progress_ctx, struct ck_err *err);
/* NULL is allowed. Waits for what is being read ahead; no read may be under way. */
void ck_layer_close(struct ck_layer *l);

/* Has POOL (borrowed, must outlive the layer; NULL: nothing happens) prepare units for who reads
 * in order. Once, before any read. */
void ck_layer_readahead(struct ck_layer *l, struct ck_pool *pool);

static inline void ck_layer_closep(struct ck_layer **l)
{
	ck_layer_close(*l);
}

/* Borrowed; lives as long as the layer. Offsets in extents are of the tar stream. */
const struct ck_index *ck_layer_index(const struct ck_layer *l);

/* "gzip", "zstd" or "none", as found in the bytes. */
const char *ck_layer_compression(const struct ck_layer *l);

uint64_t ck_layer_len(const struct ck_layer *l); /* tar stream, bytes */

bool ck_layer_sealed(const struct ck_layer *l); /* each chunk of its blob proves itself */

/* How it was verified: all of it by a pass, or each chunk when it is read, which takes an index. */
enum ck_layer_proof { CK_LAYER_IN_FULL, CK_LAYER_KEPT_INDEX, CK_LAYER_OWN_INDEX };
enum ck_layer_proof ck_layer_proof(const struct ck_layer *l);

/*
 * Which ranges of the blob, its ciphertext, to fetch before they are asked for, in that order:
 * those of which the index says so, and with ALL the rest of the blob behind them. In whole
 * chunks, each byte once. *OUT, N of them, is the caller's to free. Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_layer_prefetch(const struct ck_layer *l, bool all, struct ck_range **out,
				    size_t *n, struct ck_err *err);

/* The blob of windows that the layer's index leads to, borrowed, and its bytes in *LEN; NULL: there
 * is none. */
const uint8_t *ck_layer_windows(const struct ck_layer *l, uint64_t *len);

/* As ck_layer_prefetch, of that blob: what is needed to make use of those ranges, in the order of
 * the tar's. Some bytes may come twice. */
CK_MUST_CHECK int ck_layer_prefetch_windows(const struct ck_layer *l, struct ck_range **out,
					    size_t *n, struct ck_err *err);

/* Bytes of the blob read so far, opening included. */
uint64_t ck_layer_fetched(const struct ck_layer *l);

/* How often bytes of the blob, or of its index's windows, failed to verify, opening included. */
uint64_t ck_layer_n_wrong(const struct ck_layer *l);

/* Says that NBYTES of the tar stream at OFF will be read soon: layers whose blobs are far away are
 * then asked all at once. A hint, and no error where it is outside the stream. */
void ck_layer_advise(struct ck_layer *l, uint64_t off, size_t nbytes);

/*
 * Reads exactly NBYTES of the tar stream at OFF. All or nothing.
 * Errors: -EINVAL (outside the stream), -EIO (ciphertext changed since it was
 * verified, or cannot be read), -ENOMEM. On error BUF holds nothing of the layer.
 */
CK_MUST_CHECK int ck_layer_pread(struct ck_layer *l, void *buf, size_t nbytes, uint64_t off,
				 struct ck_err *err);

#endif
