/*
 * convert - a layer's blob written anew: encrypted, decrypted, recompressed.
 *
 * One verifying pass over the source, whose bytes are made into the new blob on the way.
 * With recompression the tar stream becomes independent zstd frames with a seek table
 * (framer.h); sealed as well, the layer index comes with it (embedded.h). Without, the
 * compressed bytes stay as they are. The tar stream is the same always: diff_ids stay.
 */
#ifndef CK_CONVERT_H
#define CK_CONVERT_H

#include "base/pool.h"
#include "base/sink.h"
#include "tar/inflate/units.h"
#include "tar/layer.h"

struct ck_conversion {
	const struct ck_blob_key *key; /* of the new blob; NULL: plain. Borrowed */
	const char *media_type;	       /* of its plaintext; a sealed blob is bound to it */
	bool recompress;
	int level;	      /* zstd's, for recompression */
	struct ck_pool *pool; /* likewise; borrowed */
};

struct ck_converted {
	uint8_t hmac[32];	       /* of a CTR blob; else zeros */
	uint64_t index_off, index_len; /* of the index in a sealed blob's plaintext; 0: none */
	enum ck_compression compression;
	uint64_t tar_len;
	size_t n_entries;
};

/*
 * Reads the layer that SPEC and BLOB (borrowed) describe, and writes it as HOW says to OUT.
 * What OUT got is to be dropped when this fails: verified is all only when it succeeds, the
 * index that a sealed layer holds, or will hold, too.
 * Memory: some 50 MiB and the index, whatever the layer's size.
 * Errors: those of the pass, wrapped with the layer's name; -EINVAL (level, media type),
 * those of OUT.
 */
CK_MUST_CHECK int ck_convert(struct ck_converted *result, const struct ck_layer_spec *spec,
			     struct ck_reader *blob, const struct ck_conversion *how,
			     const struct ck_sink *out, ck_progress_fn *progress,
			     void *progress_ctx, struct ck_err *err);

#endif
