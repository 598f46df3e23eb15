#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ck_one_line(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s; s++) {
		if (*s < 0x20 || *s == 0x7f)
			*s = '?';
		else if (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
			s[0] = s[1] = '?'; /* U+0080 to U+009F: terminals obey these too */
	}
}

int ck_fail(struct ck_err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof err->msg, fmt, ap);
	va_end(ap);
	ck_one_line(err->msg);
	err->code = code;
	return code;
}

int ck_wrap(struct ck_err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	char old[sizeof err->msg], head[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(head, sizeof head, fmt, ap);
	va_end(ap);
	memcpy(old, err->msg, sizeof old);
	/* Truncation is fine: the head (where) matters more than the tail. */
	size_t n = strlen(head);
	snprintf(err->msg, sizeof err->msg, "%s: %.*s", head, (int)(sizeof err->msg - n - 3), old);
	ck_one_line(err->msg);
	return err->code;
}

void ck_advise(struct ck_err *err, const char *fmt, ...)
{
	if (!err)
		return;
	char more[sizeof err->msg];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(more, sizeof more, fmt, ap);
	va_end(ap);
	size_t n = strlen(err->msg);
	snprintf(err->msg + n, sizeof err->msg - n, " (%s)", more);
	ck_one_line(err->msg);
}

int ck_nomem(struct ck_err *err, const char *what_for)
{
	return ck_fail(err, -ENOMEM, "out of memory %s", what_for);
}
