/*
 * gojson - JSON as Go's encoding/json and Rust's serde write it: what the key-provider
 * protocol looks like in the wild.
 */
#ifndef CK_GOJSON_H
#define CK_GOJSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/*
 * The value of struct field NAME of OBJ, matched as Go does without regard to case;
 * borrowed, NULL when absent, null, or when OBJ itself is NULL. Two spellings in one
 * object are an error: two readers must not see two meanings.
 * Errors: -EBADMSG (also when OBJ is no object).
 */
CK_MUST_CHECK int ck_gojson_get(json_t **out, const json_t *obj, const char *name,
				struct ck_err *err);

/*
 * A byte field: base64 text (Go's []byte), an array of integers 0..255 (Rust's
 * Vec<u8>), or JSON text as it is (ocicrypt-rs when wrapping: it starts with '{').
 * NULL (absent) gives 0 bytes. At most MAX bytes. *OUT is the caller's to free.
 * Errors: -EBADMSG naming NAME, -EFBIG, -ENOMEM.
 */
CK_MUST_CHECK int ck_gojson_bytes(struct ck_secret *out, const json_t *v, const char *name,
				  size_t max, struct ck_err *err);

/* Appends "[1,2,255]": the form of bytes that every client accepts. Errors: of ck_buf_add. */
CK_MUST_CHECK int ck_gojson_add_bytes(struct ck_buf *b, const void *p, size_t nbytes,
				      struct ck_err *err);

#endif
