/*
 * referrers - what refers to an image, as a registry says.
 * Source: OCI distribution spec v1.1, "Listing Referrers" and "Referrers Tag Schema".
 */
#ifndef CK_REGISTRY_REFERRERS_H
#define CK_REGISTRY_REFERRERS_H

#include <jansson.h>

#include "fs/registry/registry.h"

/*
 * Gets the list of what refers to the manifest DIGEST ("sha256:<hex>") and is of ARTIFACT_TYPE:
 * {"manifests": descriptors}, from the referrers API, all its pages, and of annotations when it was
 * created alone; or, where the registry has none, from the tag "sha256-<hex>", as it is, with
 * others. *OUT is the caller's reference. HURRY_MS is
 * ck_registry_req's, of whether there is such an API, too.
 * Errors: -ENOENT (nothing refers to it), -EBADMSG, those of ck_registry_do and
 * ck_registry_resolve.
 */
CK_MUST_CHECK int ck_registry_referrers(json_t **out, struct ck_registry *r, const char *digest,
					const char *artifact_type, unsigned hurry_ms,
					struct ck_err *err);

#endif
