/*
 * media - the media types of an image's parts, OCI's and Docker's.
 * Source: OCI image spec v1.1, media-types.md; Docker image manifest v2 schema 2; the
 * suffix "+encrypted" is ocicrypt's.
 */
#ifndef CK_MEDIA_H
#define CK_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define CK_MEDIA_MANIFEST	 "application/vnd.oci.image.manifest.v1+json"
#define CK_MEDIA_INDEX		 "application/vnd.oci.image.index.v1+json"
#define CK_MEDIA_CONFIG		 "application/vnd.oci.image.config.v1+json"
#define CK_MEDIA_EMPTY		 "application/vnd.oci.empty.v1+json"
#define CK_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define CK_MEDIA_DOCKER_LIST	 "application/vnd.docker.distribution.manifest.list.v2+json"
#define CK_MEDIA_DOCKER_CONFIG	 "application/vnd.docker.container.image.v1+json"
#define CK_MEDIA_ENCRYPTED	 "+encrypted"

/* Longer ones are refused where they are read. */
enum { CK_MEDIA_MAX = 255 };

/* What a descriptor's media type promises. */
bool ck_media_is_index(const char *media_type);
bool ck_media_is_manifest(const char *media_type);

/*
 * The OCI media type of a layer once it is decrypted, into OUT[0..CAP): "+encrypted" is
 * taken off, Docker's types become OCI's, those of its foreign layers nondistributable.
 * COMPRESSION "gzip", "zstd" or "none" takes the place of the type's own; NULL keeps that.
 * Errors: -ENOTSUP (not a layer's type that we know), -EINVAL (COMPRESSION), -EMSGSIZE (CAP).
 */
CK_MUST_CHECK int ck_media_layer(char *out, size_t cap, const char *media_type,
				 const char *compression, struct ck_err *err);

#endif
