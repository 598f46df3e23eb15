/*
 * hostlist - which hosts and key ids may be asked at all.
 *
 * What an image names is only ever matched against the configuration (DESIGN
 * section 6.1), and both end up in URLs, so their alphabets are closed.
 */
#ifndef CK_HOSTLIST_H
#define CK_HOSTLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum {
	CK_HOST_MAX = 253, /* RFC 1035 section 2.3.4, as text */
	CK_KID_MAX = 192,  /* 127 of a name, '/', a version */
};

struct ck_hostlist {
	char **patterns; /* lower case; owned */
	size_t n_patterns;
};

/* Copies PATTERNS (NULL-ended, may be NULL): exact names, or suffixes that start with
 * '.' and stand for at least one label before them. WHAT ("hsm_hosts") is for the
 * message. Errors: -EINVAL (malformed pattern), -ENOMEM; OUT is empty then. */
CK_MUST_CHECK int ck_hostlist_init(struct ck_hostlist *out, const char *const *patterns,
				   const char *what, struct ck_err *err);
void ck_hostlist_free(struct ck_hostlist *l);

/*
 * Writes HOST in lower case to OUT when it is a well-formed DNS name (letters, digits,
 * '-' and single dots; no port, no user) and matches the list; WHAT ("Managed HSM") is
 * for the message. Errors: -EPERM.
 */
CK_MUST_CHECK int ck_hostlist_admit(char out[CK_HOST_MAX + 1], const struct ck_hostlist *l,
				    const char *host, const char *what, struct ck_err *err);

/* Whether S may be a key id: NAME or NAME/VERSION of letters, digits and '-', as Azure
 * names keys (1 to 127 characters; a version has at most 64). */
bool ck_kid_ok(const char *s);

#endif
