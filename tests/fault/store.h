/*
 * store - the repositories that the test registry has, of layouts on disk and of what was pushed.
 *
 * What was pushed stays in memory; nothing is ever freed or taken back. A layout's blobs are read
 * when they are asked for. Threads: any.
 */
#ifndef FR_STORE_H
#define FR_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fault/util.h"

struct fr_store; /* opaque */

/* Bytes of a blob: a file's, or memory's. */
struct fr_bytes {
	int fd; /* -1: memory */
	const uint8_t *mem;
	uint64_t len;
};

struct fr_manifest {
	char digest[FR_DIGEST];
	char *type;
	char *doc;
	size_t len;
	json_t *json;
};

/* NO_REFERRERS: layouts' artifacts get fallback tags ("sha256-<hex>"), as one who pushed them to
 * a registry without the API would have made. */
struct fr_store *fr_store_new(bool no_referrers);

/* Repository NAME shows DIR, an OCI layout; more than one may be added to one name. */
void fr_store_layout(struct fr_store *s, const char *name, const char *dir);

bool fr_store_known(struct fr_store *s, const char *name);

/* Opens blob DIGEST of NAME; the caller closes with fr_bytes_close. */
bool fr_store_blob(struct fr_store *s, const char *name, const char *digest, struct fr_bytes *out);
/* Another blob than DIGEST, the largest one that there is. */
bool fr_store_other(struct fr_store *s, const char *name, const char *digest, struct fr_bytes *out);
/* Adds a blob; MEM becomes the store's, and has that digest. Makes NAME where it is not known. */
void fr_store_add(struct fr_store *s, const char *name, const char *digest, uint8_t *mem,
		  uint64_t len);
/* Makes FROM's blob one of NAME's too; false: there is none. */
bool fr_store_mount(struct fr_store *s, const char *name, const char *from, const char *digest);

/* The manifest that a tag or a digest names, borrowed for good; NULL: none. */
const struct fr_manifest *fr_store_manifest(struct fr_store *s, const char *name,
					    const char *reference);
/* Keeps a manifest, under a tag too where REFERENCE is one. NULL: why not is in WHY. */
const struct fr_manifest *fr_store_put(struct fr_store *s, const char *name, const char *reference,
				       const char *type, const void *doc, size_t len, char *why,
				       size_t cap);

/* New references of the caller: the tags' names; an index of the manifests with that subject (of
 * that artifact type, where it is not NULL). */
json_t *fr_store_tags(struct fr_store *s, const char *name);
json_t *fr_store_referrers(struct fr_store *s, const char *name, const char *subject,
			   const char *artifact_type);

bool fr_bytes_read(const struct fr_bytes *b, uint64_t off, void *buf, size_t nbytes);
void fr_bytes_close(struct fr_bytes *b);

#endif
