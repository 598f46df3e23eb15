/*
 * mkimage - small images written by fs/oci/writer.h, and what is left of them on the disk.
 */
#ifndef CK_TEST_MKIMAGE_H
#define CK_TEST_MKIMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fs/oci/writer.h"

/* The layer IDX of image SEED: a text, the same each time. */
void mkimage_layer(char out[64], unsigned seed, size_t idx);

/*
 * Writes image SEED with N_LAYERS layers to REF, from open to close. Returns what failed
 * first, or 0 with the manifest's digest in DIGEST.
 */
int mkimage_write(const char *ref, unsigned seed, size_t n_layers, uint8_t digest[32],
		  struct ck_err *err);

/* Puts config and layers into W, and appends the manifest that fits. */
int mkimage_blobs(struct ck_image_writer *w, unsigned seed, size_t n_layers,
		  struct ck_buf *manifest, struct ck_err *err);

/* Appends a line for everything below DIR, sorted: path, type, size, digest. Nothing at
 * all when there is no DIR. */
void mkimage_list(struct ck_buf *out, const char *dir);

/* Fails the test when a file below DIR that is named by a digest has other bytes. */
void mkimage_check_names(const char *dir);

#endif
