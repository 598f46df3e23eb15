/* nonce - 32 random bytes as base64url, for a service to echo. */
#ifndef CK_NONCE_H
#define CK_NONCE_H

#include "base/err.h"

enum { CK_NONCE_STR = 44 };

/* Errors: -EIO (no randomness). */
CK_MUST_CHECK int ck_nonce(char out[CK_NONCE_STR], struct ck_err *err);

#endif
