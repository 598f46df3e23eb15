/*
 * output - results on stdout, where a full disk or a closed pipe is an error.
 */
#ifndef CK_OUTPUT_H
#define CK_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Prints bytes that an image chose (a name, a key id): as they are, but on a terminal
 * with control characters and invalid UTF-8 as \ooo, so that they cannot drive it. */
void ck_output_name(const char *s, size_t len);

/* "12.3 MiB" into OUT. */
enum { CK_OUTPUT_SIZE = 24 };
void ck_output_size(char out[CK_OUTPUT_SIZE], uint64_t nbytes);

/* Flushes what stdio holds. Errors: errnos, with a message. */
CK_MUST_CHECK int ck_output_flush(struct ck_err *err);

/* Writes bytes past stdio. Errors: errnos, with a message. */
CK_MUST_CHECK int ck_output_bytes(const void *p, size_t nbytes, struct ck_err *err);

#endif
