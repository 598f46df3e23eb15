/*
 * embedded - the layer index (indexfile.h) inside a sealed layer.
 *
 * At the end of the plaintext, which is a zstd stream, stand two skippable frames: the
 * index (magic number 0x184D2A5C), whose digest and blob size are zeros since they are not
 * known inside, and the seek table, whose last entry is that of the index. Any zstd passes
 * over both. The chunks around them authenticate them.
 */
#ifndef CK_EMBEDDED_H
#define CK_EMBEDDED_H

#include "tar/inflate/seektable.h"
#include "tar/pass.h"

/*
 * Appends both frames. FRAMES[0..N) are the stream's so far; WHAT has the units in it.
 * *INDEX_LEN is the length of the index, which begins CK_SKIPPABLE_HEADER bytes behind what
 * OUT held before. Errors: -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_embedded_write(struct ck_buf *out, const struct ck_pass_result *what,
				    const uint8_t diff_id[32], const struct ck_seek_frame *frames,
				    size_t n, uint64_t *index_len, struct ck_err *err);

/*
 * Finds and opens the index of a layer whose plaintext is PLAIN. HINT_OFF (0: none) is where
 * it is said to begin: right, it saves a read. *OUT is the caller's to ck_pass_result_free.
 * Errors: -ENOENT (there is none), -EBADMSG (malformed, or of another tar stream than the
 * config's DIFF_ID), those of PLAIN, -ENOMEM.
 */
CK_MUST_CHECK int ck_embedded_read(struct ck_pass_result *out, struct ck_reader *plain,
				   uint64_t hint_off, const uint8_t diff_id[32],
				   struct ck_err *err);

/*
 * Who reads all of a layer must find what its index shows to others: 0 when the index in
 * PLAIN is that of WHAT, which a pass over it found, and its units decode to the tar stream of
 * DIFF_ID (which costs another decompression), or when there is none. Errors: -EBADMSG, those of
 * PLAIN, -ENOMEM.
 */
CK_MUST_CHECK int ck_embedded_compare(struct ck_reader *plain, uint64_t hint_off,
				      const uint8_t diff_id[32], const struct ck_pass_result *what,
				      struct ck_err *err);

#endif
