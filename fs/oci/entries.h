/*
 * entries - the entries of an index: their names, and how a new one is set among them.
 * Source: OCI image spec v1.1, annotations.md (org.opencontainers.image.ref.name and its
 * grammar); OCI distribution spec v1.1, "Referrers Tag Schema"; what skopeo 1.18 was seen
 * to do with names that are taken.
 * Nothing here opens a file.
 */
#ifndef CK_ENTRIES_H
#define CK_ENTRIES_H

#include <jansson.h>
#include <stdbool.h>

#include "fs/oci/manifest.h"

enum { CK_REFERRERS_NAME = sizeof "sha256-" + 2 * CK_SHA256_LEN };

/* The name of an entry, borrowed from it; "" when it has none. */
const char *ck_entry_name(const json_t *entry);

/* The first entry NAME, borrowed from INDEX; NULL when there is none. */
const json_t *ck_entries_find(const json_t *index, const char *name);

/* "sha256-<hex>": the name of the index that lists what refers to the manifest DIGEST. */
void ck_referrers_name(char out[CK_REFERRERS_NAME], const uint8_t digest[CK_SHA256_LEN]);
bool ck_referrers_named(const char *name);

/* Whether an entry is something that refers to an image, or the list of such. */
bool ck_entry_is_referrer(const json_t *entry);

/* Whether NAME is one that others will read, too. Errors: -EINVAL. */
CK_MUST_CHECK int ck_entry_name_check(const char *name, struct ck_err *err);

/* Parses an index.json; no bytes at all make an empty index. *OUT is the caller's
 * reference. Errors: those of ck_manifest_list_parse. */
CK_MUST_CHECK int ck_entries_parse(json_t **out, const void *p, size_t nbytes, struct ck_err *err);

/*
 * Sets D as INDEX's entry NAME (NULL: nameless), with PLATFORM (object, borrowed; may be
 * NULL). Who had the name loses it and stays, nameless; a nameless entry of the same
 * digest becomes the new one and keeps its other members. So does skopeo.
 * Errors: -ENOMEM.
 */
CK_MUST_CHECK int ck_entries_set(json_t *index, const struct ck_descriptor *d, const char *name,
				 const json_t *platform, struct ck_err *err);

/* Makes D the entry NAME in the place of whatever was. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_entries_replace(json_t *index, const struct ck_descriptor *d, const char *name,
				     struct ck_err *err);

#endif
