/*
 * check - an index that came from outside: every number in it is looked at before any is
 * used as an offset, and none makes looking at it take longer than its size explains.
 */
#ifndef CK_INDEX_CHECK_H
#define CK_INDEX_CHECK_H

#include "tar/index/index.h"

/* Errors: -EBADMSG when a span, extent or attribute lies outside its table or a tar
 * stream of TAR_LEN bytes, when entries share what each has of its own in an index that was
 * built, when a path is not one that ck_index_add_path leaves, when entries are out of
 * order, or when the ranges to prefetch are not as struct ck_index says. -ENOMEM. */
CK_MUST_CHECK int ck_index_check(const struct ck_index *x, uint64_t tar_len, struct ck_err *err);

#endif
