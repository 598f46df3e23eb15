/*
 * prefetch - --prefetch FILE of commands that make indexes: the trace, and what became of it.
 */
#ifndef CK_TOOLS_PREFETCH_H
#define CK_TOOLS_PREFETCH_H

#include "fs/oci/image.h"
#include "fs/trace.h"

struct ck_prefetch {
	const char *file;
	struct ck_trace trace;
	struct ck_wants *wants; /* for each layer of the image; NULL: nothing was asked for */
	size_t n_layers;
};

/* Reads FILE (NULL: there is nothing to do, here and later) for IMAGE. *P, zeroed before, is the
 * caller's to close either way. Errors: those of ck_trace_read. */
CK_MUST_CHECK int ck_prefetch_open(struct ck_prefetch *p, const char *file,
				   const struct ck_image *image, struct ck_err *err);
void ck_prefetch_close(struct ck_prefetch *p);

/* Says on stderr what of FILE went into no index. */
void ck_prefetch_tell(const struct ck_prefetch *p);

#define CK_PREFETCH CK_AUTO(ck_prefetch_close) struct ck_prefetch

#endif
