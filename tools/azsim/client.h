/* client - how the subcommands reach the running simulator: by its cloakfs.json. */
#ifndef AZ_CLIENT_H
#define AZ_CLIENT_H

#include <jansson.h>

#include "base/http.h"
#include "tools/azsim/dir.h"

struct az_client {
	char dir[AZ_DIR_MAX + 1];
	json_t *config;
	struct ck_http *http;
};

/* Errors: -ENOENT (no such state), -ESRCH (not running). */
CK_MUST_CHECK int az_client_open(struct az_client *c, const char *state, struct ck_err *err);
void az_client_close(struct az_client *c);

/*
 * One request; BODY (NULL: none) is sent as JSON, AUTHORIZATION (NULL: none) as that
 * header. *OUT is a new reference to the answer's JSON.
 * Errors: -EPROTO with the service's own words when the answer is not 200.
 */
CK_MUST_CHECK int az_client_call(json_t **out, struct az_client *c, const char *method,
				 const char *url, const char *authorization, const json_t *body,
				 struct ck_err *err);

/* The same for PATH of the control interface. */
CK_MUST_CHECK int az_client_control(json_t **out, struct az_client *c, const char *method,
				    const char *path, const json_t *body, struct ck_err *err);

#endif
