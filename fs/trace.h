/*
 * trace - which parts of an image's files were used, in the order of first use; as a text.
 *
 * The first line is "cloakfs-trace 1"; each other "LAYER OFFSET LENGTH PATH\n": the layer's
 * number, 0 being the lowest; LENGTH bytes, 1 or more, at OFFSET of the file, in decimal; and the
 * file's path in the layer, without a '/' before it, where a space, a tab, a newline and a
 * backslash are \040, \011, \012 and \134, as in /proc/self/mounts, and other bytes as they are.
 * Threads: any.
 */
#ifndef CK_TRACE_H
#define CK_TRACE_H

#include "base/buf.h"
#include "tar/index/prefetch.h"

/* A trace at most. PATH: of a line, in bytes, escaped or not. */
enum { CK_TRACE_BYTES = 256 << 20, CK_TRACE_LINES = 1 << 20, CK_TRACE_PATH = 16384 };

struct ck_trace_line {
	uint32_t layer;
	struct ck_wanted what;
};

struct ck_trace {
	struct ck_trace_line *lines;
	size_t n;
	char *paths; /* in which those of the lines lie */
};

/*
 * Reads P[0..NBYTES), which NAME (a file) holds. A '/' before a path may be there. *OUT is the
 * caller's to ck_trace_free, on success only.
 * Errors: -EBADMSG, -EFBIG (the message begins with "NAME line N: "), -ENOMEM.
 */
CK_MUST_CHECK int ck_trace_parse(struct ck_trace *out, const char *name, const void *p,
				 size_t nbytes, struct ck_err *err);
/* The same of the file PATH. Errors: those, and errnos. */
CK_MUST_CHECK int ck_trace_read(struct ck_trace *out, const char *path, struct ck_err *err);
void ck_trace_free(struct ck_trace *t); /* {0} is allowed */

/* Appends the first line, or one of the others. Errors: -EFBIG (B's max), -ENOMEM. */
CK_MUST_CHECK int ck_trace_begin(struct ck_buf *b, struct ck_err *err);
CK_MUST_CHECK int ck_trace_add(struct ck_buf *b, uint32_t layer, const struct ck_wanted *what,
			       struct ck_err *err);

/* T's lines for each of N_LAYERS layers, in order; those of other layers are left out. Borrows
 * from T. *OUT, N_LAYERS of them in one block with what they point to, is the caller's to free.
 * Errors: -ENOMEM. */
CK_MUST_CHECK int ck_trace_wants(struct ck_wants **out, const struct ck_trace *t, size_t n_layers,
				 struct ck_err *err);

#endif
