#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"

int ck_buf_reserve(struct ck_buf *b, size_t more_nbytes, struct ck_err *err)
{
	size_t max = b->max ? b->max : (size_t)1 << 30;

	if (b->len > max || more_nbytes > max - b->len)
		return ck_fail(err, -EFBIG, "more than the %zu bytes allowed", max);
	size_t need = b->len + more_nbytes;
	if (b->data && need <= b->cap)
		return 0;
	size_t cap = b->cap < 256 ? 256 : b->cap;
	while (cap < need)
		cap *= 2;
	if (cap > max)
		cap = max;
	uint8_t *p = malloc(cap + 1);
	if (!p)
		return ck_nomem(err, "growing a buffer");
	/* Not realloc: it would leave the old copy behind unwiped. */
	if (b->data) {
		memcpy(p, b->data, b->len + 1);
		ck_wipe(b->data, b->len);
		free(b->data);
	} else {
		p[0] = 0;
	}
	b->data = p;
	b->cap = cap;
	return 0;
}

int ck_buf_add(struct ck_buf *b, const void *p, size_t nbytes, struct ck_err *err)
{
	int rc = ck_buf_reserve(b, nbytes, err);
	if (rc < 0)
		return rc;
	if (nbytes)
		memcpy(b->data + b->len, p, nbytes);
	b->len += nbytes;
	b->data[b->len] = 0;
	return 0;
}

int ck_buf_adds(struct ck_buf *b, const char *s, struct ck_err *err)
{
	return ck_buf_add(b, s, strlen(s), err);
}

int ck_buf_addf(struct ck_buf *b, struct ck_err *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return ck_fail(err, -EINVAL, "cannot format text");
	int rc = ck_buf_reserve(b, (size_t)n, err);
	if (rc < 0)
		return rc;
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

const char *ck_buf_str(const struct ck_buf *b)
{
	return b->data ? (const char *)b->data : "";
}

void ck_buf_free(struct ck_buf *b)
{
	if (b->data)
		ck_wipe(b->data, b->len);
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}
