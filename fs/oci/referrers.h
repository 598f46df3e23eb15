/*
 * referrers - the list of what refers to an image: an index with the name that
 * ck_referrers_name says, in a layout and in a registry without the referrers API.
 * Source: OCI distribution spec v1.1, "Referrers Tag Schema".
 */
#ifndef CK_REFERRERS_H
#define CK_REFERRERS_H

#include "fs/oci/layout.h"

/*
 * Reads the list from the layout L, if INDEX, its index.json, names it NAME. *OUT is the
 * caller's reference. Errors: -ENOENT (it does not), -EBADMSG, -ENOTSUP, errnos.
 */
CK_MUST_CHECK int ck_referrers_read(json_t **out, const struct ck_layout *l, const json_t *index,
				    const char *name, struct ck_err *err);

/* Appends to TEXT the list REFERRERS (NULL: there is none) with the artifact D in it, in the
 * place of older ones of ours. REFERRERS is changed. Errors: -EFBIG (4 MiB), -ENOMEM. */
CK_MUST_CHECK int ck_referrers_make(struct ck_buf *text, json_t *referrers,
				    const struct ck_descriptor *d, struct ck_err *err);

/* A blob that something leads to must be there: -ENOENT would say that there is nothing.
 * Returns RC, or -EBADMSG in its place. */
int ck_missing_is_damage(int rc, struct ck_err *err);

#endif
