/* whole - the --in and --out of wrap and unwrap: small whole files, "-" being stdio. */
#ifndef CK_WHOLE_H
#define CK_WHOLE_H

#include <sys/types.h>

#include "base/buf.h"

/* Appends FILE to B, within B's max. Errors: those of ck_file_read. */
CK_MUST_CHECK int ck_whole_read(struct ck_buf *b, const char *file, struct ck_err *err);

/* Writes B to FILE, whole or not at all. Errors: those of ck_file_write. */
CK_MUST_CHECK int ck_whole_write(const struct ck_buf *b, const char *file, mode_t mode,
				 struct ck_err *err);

#endif
