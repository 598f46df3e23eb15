/*
 * make - layers made in the test: bytes, their compressed and encrypted forms.
 * Everything aborts on failure: a test that cannot set up has failed.
 */
#ifndef CK_TEST_MAKE_H
#define CK_TEST_MAKE_H

#include <stdint.h>

#include "base/buf.h"
#include "tar/layer.h"

/* Seeded bytes, a mix of noise and repeats, so that they compress to about a half. */
void mk_bytes(struct ck_buf *out, uint64_t seed, size_t nbytes);

/* A tar of N_FILES regular files "d/<i>" of FILE_LEN mixed bytes each (libarchive, pax). */
void mk_tar(struct ck_buf *out, uint64_t seed, size_t n_files, size_t file_len);

/* One gzip member by zlib. STRATEGY as deflateInit2's. */
void mk_gzip(struct ck_buf *out, const void *p, size_t nbytes, int level, int strategy);

/* One zstd frame with a content checksum. */
void mk_zstd(struct ck_buf *out, const void *p, size_t nbytes, int level);

/* Encrypts BLOB in place as ocicrypt does and fills KEY. */
void mk_encrypt(struct ck_buf *blob, struct ck_blob_key *key, uint64_t seed);

/* KEY's HMAC made to fit BLOB as it now is: what one can do who holds the key. */
void mk_hmac(const struct ck_buf *blob, struct ck_blob_key *key);

/* The spec of a layer whose blob is BLOB and whose tar stream is TAR. */
struct ck_layer_spec mk_spec(const struct ck_buf *blob, const struct ck_buf *tar,
			     const struct ck_blob_key *key);

/* A small fast seeded generator (splitmix64). */
uint64_t mk_random(uint64_t *state);

#endif
