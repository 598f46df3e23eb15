/*
 * authfile - credentials for a repository, from where podman, skopeo and docker keep them.
 * Source: containers-auth.json(5), docker's config.json ("auths", "credHelpers", "credsStore"),
 * docker-credential-helpers' protocol ("get").
 *
 * The files are read anew each time: logins change under a mount that lives for weeks.
 * Threads: any.
 */
#ifndef CK_AUTHFILE_H
#define CK_AUTHFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

/* Strings, each with its NUL in it; {NULL, 0} where there is none. */
struct ck_creds {
	struct ck_secret user, password;
	struct ck_secret identity; /* a token to get others with; then the rest is empty */
	struct ck_secret bearer;   /* a token to be used as it is; likewise */
	char source[200];	   /* "FILE" or "helper NAME (FILE)"; "" when there are none */
};

/*
 * Finds the credentials for HOST[:PORT]/REPO in FILE, or with NULL in REGISTRY_AUTH_FILE, else
 * in each of XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID/auth.json),
 * XDG_CONFIG_HOME/containers/auth.json, DOCKER_CONFIG/config.json (HOME/.docker/config.json).
 * In a file the longest key that HOST/REPO starts with wins; a helper for the host goes before,
 * a store for all hosts behind. A helper that says that it knows none is like no entry.
 * Helpers have until DEADLINE_MS of ck_now_ms, at most 10 s, and are ended soon after *CANCEL (may
 * be NULL) becomes true.
 * Returns 0 also where there are none: then OUT is empty. *OUT is the caller's to free.
 * Errors: -ENOENT (FILE is not there), -EBADMSG (a file that cannot be understood),
 * -EACCES (a helper failed), -ECANCELED, errnos, -ENOMEM.
 */
CK_MUST_CHECK int ck_authfile_find(struct ck_creds *out, const char *file, const char *host,
				   const char *repo, uint64_t deadline_ms,
				   const atomic_bool *cancel, struct ck_err *err);
void ck_creds_free(struct ck_creds *c); /* {0} is allowed */

/* Whose C are, for messages: "of user NAME from FILE", "from FILE"; "": there are none. */
enum { CK_CREDS_WHOSE = 300 };
void ck_creds_whose(char out[CK_CREDS_WHOSE], const struct ck_creds *c);

#define CK_ADVICE_LOGIN "podman login or docker login keep them, --authfile names a file"

#define CK_CREDS CK_AUTO(ck_creds_free) struct ck_creds

#endif
