/*
 * origin - where an image's blobs come from, for who tells how that fares.
 * Threads: any, as long as the image and its blobs are open.
 */
#ifndef CK_ORIGIN_H
#define CK_ORIGIN_H

#include "fs/oci/image.h"
#include "fs/registry/remote.h"

/* By what blobs come from a registry; NULL where the image is local. */
struct ck_net *ck_image_net(const struct ck_image *img);

/* Ends what is being fetched, and whatever is asked for from now on; nothing for a local image. */
void ck_image_cancel(const struct ck_image *img);

/* The blobs of the layers as they were opened last, n_layers of them; NULL: a local one, or not
 * opened. NULL instead of an array: an image that is no one's but the caller's. */
struct ck_remote *const *ck_image_remotes(const struct ck_image *img);

/* The blob DIGEST that ck_image_other_blob opened last, as long as it is open; NULL: it is local,
 * or was not opened. */
struct ck_remote *ck_image_other_remote(const struct ck_image *img,
					const uint8_t digest[CK_SHA256_LEN]);

#endif
