/*
 * beside - the index artifact beside an image, looked for when an index is first asked for: most
 * mounts find what they need in the layer itself or in the cache.
 */
#ifndef CK_BESIDE_H
#define CK_BESIDE_H

#include "fs/oci/artifact.h"
#include "fs/oci/image.h"
#include "fs/oci/reference.h"

struct ck_beside {
	struct ck_reference ref;
	const struct ck_image *image; /* borrowed */
	struct ck_artifact *artifact; /* NULL: there is none, or it was not looked for */
	bool looked;
};

/* For IMAGE, which REF names. *B, zeroed before, is the caller's to close either way.
 * Errors: those of ck_reference_parse. */
CK_MUST_CHECK int ck_beside_open(struct ck_beside *b, const char *ref, const struct ck_image *image,
				 struct ck_err *err);
void ck_beside_close(struct ck_beside *b);

/* As a layer asks it, in one thread. Borrows B. An artifact that cannot be used costs a log line.
 */
struct ck_index_store ck_beside_store(struct ck_beside *b);

#endif
