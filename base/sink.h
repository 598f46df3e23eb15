/* sink - where bytes go, in order; the writing counterpart of a reader. */
#ifndef CK_SINK_H
#define CK_SINK_H

#include <stddef.h>

#include "base/err.h"

struct ck_sink {
	/* Takes all of P[0..NBYTES), or fails with a negative errno. */
	int (*write)(void *ctx, const void *p, size_t nbytes, struct ck_err *err);
	void *ctx;
};

static inline int ck_sink_write(const struct ck_sink *s, const void *p, size_t nbytes,
				struct ck_err *err)
{
	return s->write(s->ctx, p, nbytes, err);
}

#endif
