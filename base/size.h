/* size - numbers of bytes as people write them. */
#ifndef CK_SIZE_H
#define CK_SIZE_H

#include <stdint.h>

#include "base/err.h"

/* "4096", or with K, M, G or T behind it, which are powers of 1024. Errors: -EINVAL (anything
 * else, or more than INT64_MAX). */
CK_MUST_CHECK int ck_size_parse(uint64_t *out, const char *s, struct ck_err *err);

#endif
