/*
 * range - what an answer to a request for bytes says that it holds.
 * Source: RFC 9110 sections 14.4 (Content-Range), 15.3.7 (206), 8.4 (Content-Encoding).
 * All bytes here are hostile.
 */
#ifndef CK_RANGE_H
#define CK_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/http.h"

/* Bytes of a blob of SIZE. */
struct ck_range {
	uint64_t off, end; /* the byte behind the last */
	uint64_t size;
	bool asked; /* the request had a Range: else it was for all of the blob */
};

/*
 * Judges the head of a 200 or 206 answer to a request for ASKED, and says in GOT what is to come: a
 * part from ASKED's start on that may end early, or the whole blob.
 * Errors: -EPROTO (it cannot be taken for that).
 */
CK_MUST_CHECK int ck_range_judge(struct ck_range *got, const struct ck_range *asked,
				 const struct ck_http_res *res, struct ck_err *err);

#endif
