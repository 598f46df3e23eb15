/*
 * jwt - signed tokens that a registry with the certificate believes.
 * Source: RFC 7515 (compact serialization, x5c), RFC 7518 (RS256).
 */
#ifndef FR_JWT_H
#define FR_JWT_H

#include <jansson.h>

struct fr_jwt; /* opaque */

/* Ends the program where the files are not readable. */
struct fr_jwt *fr_jwt_open(const char *key_file, const char *cert_file);
char *fr_jwt_sign(const struct fr_jwt *j, json_t *claims); /* the caller's to free */

#endif
