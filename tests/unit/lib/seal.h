/*
 * seal - sealed layers made in the test, and what one can make of them who holds the key.
 * Everything aborts on failure: a test that cannot set up has failed.
 */
#ifndef CK_TEST_SEAL_H
#define CK_TEST_SEAL_H

#include "tar/inflate/seektable.h"
#include "tar/pass.h"
#include "tests/unit/lib/make.h"

#define MK_ZSTD_TYPE "application/vnd.oci.image.layer.v1.tar+zstd"

struct mk_sealed {
	struct ck_buf tar, blob;
	struct ck_blob_key key;
	struct ck_layer_spec spec; /* of the blob as it is; points at the key */
	uint64_t index_off;	   /* of the embedded index, in the plaintext */
};

/* Seals TAR (copied) as the program does: packed anew in zstd frames, its index behind them.
 * KEY_SEED makes the key. F is the caller's to mk_sealed_free, and stays where it is. */
void mk_seal(struct mk_sealed *f, const struct ck_buf *tar, uint64_t key_seed);
void mk_sealed_free(struct mk_sealed *f);

/* The tar of mk_tar, but of file data that zstd packs to a tenth or so. */
void mk_light_tar(struct ck_buf *out, uint64_t seed, size_t n_files, size_t file_len);

/* Appends the plaintext of F's blob. */
void mk_unseal(struct ck_buf *out, const struct mk_sealed *f);

/* Makes PLAIN, sealed under F's key and for its media type, F's blob; the manifest's
 * digest is made to fit. */
void mk_reseal(struct mk_sealed *f, const void *plain, size_t nbytes);

/* The manifest's digest made to fit the blob as it now is: nobody needs a key for that. */
void mk_redigest(struct mk_sealed *f);

/* The index of F. To be freed by ck_pass_result_free. */
void mk_index_of(struct ck_pass_result *out, const struct mk_sealed *f);

/* Appends a skippable frame 0x184D2A50 + NIBBLE of P[0..NBYTES). */
void mk_skippable(struct ck_buf *out, unsigned nibble, const void *p, size_t nbytes);

/* Lists the frames of the zstd stream P[0..NBYTES) in FRAMES (room for CAP); returns how
 * many there are. */
size_t mk_frames(struct ck_seek_frame *frames, size_t cap, const uint8_t *p, size_t nbytes);

#endif
