/*
 * imageconvert - an image written anew into a layout or to a registry: its layers encrypted,
 * decrypted, or opened to further recipients. Config, diff_ids and chain IDs stay as they are.
 */
#ifndef CK_IMAGECONVERT_H
#define CK_IMAGECONVERT_H

#include "base/pool.h"
#include "fs/oci/image.h"
#include "fs/oci/writer.h"
#include "keyprov/keyring.h"
#include "keyprov/recipients.h"
#include "tar/layer.h"

/* What becomes of a layer. */
enum ck_layer_fate {
	CK_LAYER_PASSED,    /* as it is */
	CK_LAYER_ENCRYPTED, /* it was plain */
	CK_LAYER_DECRYPTED, /* it was encrypted */
	CK_LAYER_REWRAPPED  /* the blob as it is, its key wrapped for more recipients */
};

struct ck_image_conversion {
	const char *dst; /* as ck_image_writer_open has it */
	struct ck_image_writer_opts dst_opts;
	/* Whom to encrypt for; NULL: every encrypted layer is decrypted. */
	const struct ck_recipients *recipients;
	/* Unwraps the keys of layers that are encrypted already. When encrypting, NULL lets them
	 * pass; else their keys are wrapped for the recipients too. */
	struct ck_keyring *keys;
	enum ck_layer_cipher cipher; /* of newly encrypted layers */
	bool recompress;	     /* them, into zstd frames */
	int level;		     /* zstd's */
	const bool *chosen;	     /* for each layer whether to encrypt it; NULL: all */
	bool require_encrypted;	     /* when decrypting: refuse plain layers */
	struct ck_wants *wants;	     /* see ck_layer_spec; one for each layer; or NULL */
	ck_progress_fn *progress;    /* over all layers' blob bytes; may be NULL */
	void *progress_ctx;
};

struct ck_layer_converted {
	enum ck_layer_fate fate;
	char digest[CK_DIGEST_STR]; /* of the new blob */
	uint64_t size;		    /* likewise, bytes */
	uint64_t index_len;	    /* of the index within; 0: none */
};

/*
 * Converts IMAGE as HOW says. All or nothing: on failure, and where it is killed, the
 * destination is what it was. LAYERS[0..image->n_layers) and MANIFEST_DIGEST are filled on
 * success.
 * Keys are asked for, and recipients, before any blob is read. Layers that are encrypted or
 * decrypted are verified in full, and so is every layer of an image that is decrypted; others
 * by their digest.
 * Errors: those of writing images, of keyring, recipients and the verifying pass, wrapped
 * with the layer; -EINVAL (there is nothing to do); -EPERM (require_encrypted).
 */
CK_MUST_CHECK int ck_image_convert(const struct ck_image *image,
				   const struct ck_image_conversion *how,
				   struct ck_layer_converted *layers,
				   char manifest_digest[CK_DIGEST_STR], struct ck_err *err);

#endif
