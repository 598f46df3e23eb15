/*
 * err - how every fallible cloakfs function reports failure.
 *
 * A function returns 0 (or a count >= 0) on success and a negative errno on
 * failure; the number is what FUSE replies with. The text is for the person
 * reading the log: one sentence that says what was being done, to what, why it
 * failed and, where we know, what to do.
 * Nothing here allocates, so the error path cannot itself run out of memory.
 */
#ifndef CK_ERR_H
#define CK_ERR_H

#include <stddef.h>

#define CK_MUST_CHECK	__attribute__((warn_unused_result))
#define CK_PRINTF(f, a) __attribute__((format(printf, f, a)))

struct ck_err {
	int code;      /* negative errno, 0 when unset */
	char msg[768]; /* one line, NUL-terminated, never key material */
};

/* Sets *err (may be NULL) and returns CODE, so `return ck_fail(...)` works.
 * Control characters in the text become '?': names from images reach logs here. */
int ck_fail(struct ck_err *err, int code, const char *fmt, ...) CK_PRINTF(3, 4);

/* Puts "FMT: " before the message already in *err (may be NULL); returns err->code,
 * or -EIO without *err. */
int ck_wrap(struct ck_err *err, const char *fmt, ...) CK_PRINTF(2, 3);

/* Puts " (FMT)" behind the message in *err (may be NULL): what to do about it. */
void ck_advise(struct ck_err *err, const char *fmt, ...) CK_PRINTF(2, 3);

/* Makes every control character of S a '?', those of two bytes (UTF-8) too. */
void ck_one_line(char *s);

/* ck_fail with -ENOMEM and "out of memory WHAT-FOR". */
int ck_nomem(struct ck_err *err, const char *what_for);

#endif
