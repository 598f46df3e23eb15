/*
 * beside - the index artifact beside an image, looked for when an index is first asked for: most
 * mounts find what they need in the layer itself.
 *
 * An index in the cache may be older than one that somebody put beside the image since, which says
 * what to prefetch, perhaps. So the artifact is asked for before the cache is, too: which indexes
 * it names costs a small request, and one that was taken before is not taken again. Where the
 * registry does not answer soon, what is in the cache serves.
 */
#ifndef CK_BESIDE_H
#define CK_BESIDE_H

#include "fs/oci/artifact.h"
#include "fs/oci/image.h"
#include "fs/oci/reference.h"

struct ck_beside {
	struct ck_reference ref;
	const struct ck_image *image; /* borrowed */
	struct ck_blobcache *cache;   /* that remembers what was taken; borrowed; NULL: none */
	struct ck_artifact *artifact; /* NULL: there is none, or it was not looked for */
	bool looked, hurried;	      /* for as long as it takes; in a hurry, in vain */
};

/* For IMAGE, which REF names; CACHE may be NULL. *B, zeroed before, is the caller's to close either
 * way. Errors: those of ck_reference_parse. */
CK_MUST_CHECK int ck_beside_open(struct ck_beside *b, const char *ref, const struct ck_image *image,
				 struct ck_blobcache *cache, struct ck_err *err);
void ck_beside_close(struct ck_beside *b);

/* As a layer asks it, in one thread. Borrows B. An artifact that cannot be used costs a log line.
 */
struct ck_index_store ck_beside_store(struct ck_beside *b);

/* The same for what CACHE has not been given yet, and only if it can be had soon: to be asked
 * before CACHE's own indexes. */
struct ck_index_store ck_beside_newer(struct ck_beside *b);

#endif
