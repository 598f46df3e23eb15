/*
 * credhelper - asks a docker-credential-NAME program. Private to authfile.
 * Source: docker-credential-helpers, README "Development": the server's name on stdin, JSON with
 * ServerURL, Username, Secret on stdout; a Username of "<token>" marks an identity token.
 */
#ifndef CK_CREDHELPER_H
#define CK_CREDHELPER_H

#include "fs/registry/authfile.h"

/* Fills OUT but for its source. NAME is of letters, digits, '-', '_' and '.'.
 * CANCEL: as ck_cmdcall. Errors: -ENOENT (it has none for SERVER), -EACCES (it failed), -EBADMSG,
 * -ECANCELED, -ENOMEM. */
CK_MUST_CHECK int ck_credhelper_get(struct ck_creds *out, const char *name, const char *server,
				    uint64_t deadline_ms, const atomic_bool *cancel,
				    struct ck_err *err);

/* Copies S into OUT as ck_creds holds it. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_creds_set(struct ck_secret *out, const char *s, size_t len,
			       struct ck_err *err);

#endif
