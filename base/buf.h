/*
 * buf - a growable run of bytes with a ceiling, always wiped when freed or
 * moved, so that it may hold tokens and requests with keys in them.
 */
#ifndef CK_BUF_H
#define CK_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct ck_buf {
	uint8_t *data; /* NULL when empty; one NUL byte always follows the contents */
	size_t len;    /* bytes held */
	size_t cap;    /* bytes of room, without the NUL */
	size_t max;    /* len never passes this; 0 means 1 GiB */
};

/* Errors: -EFBIG past max, -ENOMEM. On failure the contents are unchanged. */
CK_MUST_CHECK int ck_buf_reserve(struct ck_buf *b, size_t more_nbytes, struct ck_err *err);
CK_MUST_CHECK int ck_buf_add(struct ck_buf *b, const void *p, size_t nbytes, struct ck_err *err);
CK_MUST_CHECK int ck_buf_adds(struct ck_buf *b, const char *s, struct ck_err *err);
CK_MUST_CHECK int ck_buf_addf(struct ck_buf *b, struct ck_err *err, const char *fmt, ...)
    CK_PRINTF(3, 4);

/* The contents as a string; "" when empty. */
const char *ck_buf_str(const struct ck_buf *b);

void ck_buf_free(struct ck_buf *b); /* wipes; leaves it empty, max kept */

#define CK_BUF CK_AUTO(ck_buf_free) struct ck_buf

#endif
