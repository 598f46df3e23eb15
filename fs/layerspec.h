/*
 * layerspec - what tar/ must know to open a layer of an image: its names, its key.
 */
#ifndef CK_LAYERSPEC_H
#define CK_LAYERSPEC_H

#include "fs/oci/image.h"
#include "keyprov/keyring.h"
#include "tar/layer.h"

/* Where a sealed layer's index is said to be, an annotation of its descriptor: {"offset":N,
 * "length":N} of its plaintext. A hint: what it leads to must prove itself. */
#define CK_INDEX_HINT "io.cloakfs.index"

enum { CK_LAYER_NAME = 64 };

struct ck_layerspec {
	char name[CK_LAYER_NAME]; /* "layer 2 (sha256:ab12cd34ef56...)" */
	char media_type[256];	  /* of the plaintext */
	struct ck_blob_key *key;  /* in secret memory; NULL: a plain layer */
	struct ck_layer_spec spec;
};

/* The name alone. */
void ck_layer_name(char out[CK_LAYER_NAME], const struct ck_image *image, size_t idx);

/* What can be said of layer IDX without a key or its blob: -EBADMSG where media type and
 * annotations do not agree whether it is encrypted. The caller names the layer. */
CK_MUST_CHECK int ck_layer_check(const struct ck_image_layer *l, struct ck_err *err);
/* -EPERM, with a message about the configuration's require_encrypted, for a plain layer. */
CK_MUST_CHECK int ck_layer_demand_encrypted(const struct ck_image_layer *l, struct ck_err *err);

/* Says to BLOB, layer L's, what opening it will read of it first, as far as that is known before
 * there is a key: the header of a sealed layer, and its end from its index on. */
void ck_layer_announce(const struct ck_image_layer *l, struct ck_reader *blob);

/*
 * Fills OUT for layer IDX of IMAGE, whose key KEYS unwraps. OUT is the caller's to
 * ck_layerspec_free either way and may not move: its spec points into it.
 * Errors: those of envelope and keyring.
 */
CK_MUST_CHECK int ck_layerspec_make(struct ck_layerspec *out, const struct ck_image *image,
				    size_t idx, struct ck_keyring *keys, struct ck_err *err);
void ck_layerspec_free(struct ck_layerspec *s); /* {0} is allowed; wipes */

#define CK_LAYERSPEC CK_AUTO(ck_layerspec_free) struct ck_layerspec

/* The key as tar/ wants it, in secret memory, the caller's to ck_secret_dealloc; NULL where
 * the arena is full. */
struct ck_blob_key *ck_blob_key_of(const struct ck_layer_key *k);

#endif
