/*
 * stack - an image opened for reading: every layer unwrapped, verified, indexed, and
 * merged into one tree. What mount, ls, cat, export and verify stand on.
 * Threads: read-only once open; any number of readers.
 */
#ifndef CK_STACK_H
#define CK_STACK_H

#include <sys/stat.h>

#include "fs/oci/image.h"
#include "fs/recorder.h"
#include "fs/tree.h"
#include "keyprov/keyring.h"
#include "tar/layer.h"

struct ck_stack {
	const struct ck_image *image;  /* borrowed */
	struct ck_layer **layers;      /* image->n_layers of them; NULL where not opened */
	const struct ck_index **index; /* likewise */
	struct ck_tree *tree;	       /* merged; NULL until ck_stack_merge */
	struct ck_unitcache *cache;
	struct ck_pool *pool; /* reads ahead; NULL: nobody does */
	/* Told of every read; borrowed. Set before the first; NULL: nobody. */
	struct ck_recorder *recorder;
	uint64_t keys_ms;    /* see ck_keyring_obtained_ms; 0 for local keys and none */
	uint64_t n_released; /* see ck_keyring_n_released */
};

struct ck_stack_opts {
	struct ck_keyring *keys;  /* borrowed */
	bool require_encrypted;	  /* refuse plain layers */
	bool full;		  /* read every layer through, whatever indexes there are */
	ck_progress_fn *progress; /* over all layers' blob bytes; may be NULL */
	void *progress_ctx;
	const struct ck_index_store *store; /* of sealed indexes; borrowed; may be NULL */
	size_t cache_bytes;		    /* of decompressed units; 0: by the memory there is */
	struct ck_wants *wants; /* see ck_layer_spec; one for each layer of the image; or NULL */
};

/*
 * Opens IMAGE's layers: all, or ONLY one (index from 0; SIZE_MAX: all).
 * *OUT is the caller's to close; IMAGE must outlive it.
 * Errors: those of keyring and layer, wrapped with the layer's number and digest.
 */
CK_MUST_CHECK int ck_stack_open(struct ck_stack **out, const struct ck_image *image, size_t only,
				const struct ck_stack_opts *opts, struct ck_err *err);
/* Builds stack->tree from all layers. Errors: those of ck_tree_build. */
CK_MUST_CHECK int ck_stack_merge(struct ck_stack *s, struct ck_err *err);
void ck_stack_close(struct ck_stack *s); /* NULL is allowed */

static inline void ck_stack_closep(struct ck_stack **s)
{
	ck_stack_close(*s);
}

/* Reads exactly NBYTES at OFF of layer LAYER's tar stream. Errors: those of ck_layer_pread;
 * -EINVAL. */
CK_MUST_CHECK int ck_stack_pread(struct ck_stack *s, uint32_t layer, void *buf, size_t nbytes,
				 uint64_t off, struct ck_err *err);

/*
 * Reads exactly NBYTES at OFF of the regular file E of layer L; holes read as zeros.
 * OFF + NBYTES must lie within the file. Errors: -EINVAL, -EIO.
 */
CK_MUST_CHECK int ck_stack_read(struct ck_stack *s, uint32_t layer, const struct ck_entry *e,
				void *buf, size_t nbytes, uint64_t off, struct ck_err *err);

/* Has R (not yet started; borrowed until the stack's last read) told of every read from now on.
 * All layers are open. Errors: those of ck_recorder_start. */
CK_MUST_CHECK int ck_stack_record(struct ck_stack *s, struct ck_recorder *r, struct ck_err *err);

/* The attributes of node INO of TREE as stat(2) gives them (st_ino = INO, st_dev = 0). */
void ck_stack_stat(const struct ck_tree *tree, ck_ino ino, struct stat *out);

#endif
