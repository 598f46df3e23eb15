/* file - small whole files and deadlines. */
#ifndef CK_FILE_H
#define CK_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/*
 * Appends the contents of PATH to B; more than B's max is -EFBIG, never a
 * silent cut. Errors: the open and read errnos, -EFBIG, -ENOMEM. B is unchanged
 * or holds a part on failure.
 */
CK_MUST_CHECK int ck_file_read(struct ck_buf *b, const char *path, struct ck_err *err);

/* The same from an open descriptor (a pipe, stdin) up to its end; NAME is for the message. */
CK_MUST_CHECK int ck_fd_read(struct ck_buf *b, int fd, const char *name, struct ck_err *err);

/* Replaces PATH by P[0..NBYTES): a reader sees the old file or the new one, whole
 * and synced. Errors: errnos; a failure leaves the old file and no litter. What is there and
 * no regular file (a device, a pipe, a link) is not replaced but written to. */
CK_MUST_CHECK int ck_file_write(const char *path, const void *p, size_t nbytes, mode_t mode,
				struct ck_err *err);

/* Writes all of P[0..NBYTES) to FD. Errors: errnos. */
CK_MUST_CHECK int ck_fd_write(int fd, const void *p, size_t nbytes, const char *name,
			      struct ck_err *err);

/* Milliseconds of a clock that only moves forward. */
uint64_t ck_now_ms(void);

#endif
