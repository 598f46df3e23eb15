/* indexstore - sealed indexes of layers, kept in the cache: a small kind of its own. */
#ifndef CK_INDEXSTORE_H
#define CK_INDEXSTORE_H

#include "fs/cache/blobcache.h"
#include "tar/layer.h"

/* The cache as a layer asks it; borrows C. Nothing in it is secret or believed: an index is sealed
 * under its layer's key, and checked whenever it is read. */
struct ck_index_store ck_blobcache_indexes(struct ck_blobcache *c);

#endif
