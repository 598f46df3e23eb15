#include "tests/fault/util.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t fr_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void fr_sleep_until(uint64_t at_us)
{
	struct timespec t = { (time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

void *fr_alloc(size_t nbytes)
{
	void *p = calloc(1, nbytes ? nbytes : 1);

	if (!p)
		fr_die("out of memory");
	return p;
}

void *fr_grow(void *p, size_t nbytes)
{
	void *q = realloc(p, nbytes ? nbytes : 1);

	if (!q)
		fr_die("out of memory");
	return q;
}

char *fr_copy(const char *s)
{
	char *c = s ? strdup(s) : NULL;

	if (s && !c)
		fr_die("out of memory");
	return c;
}

void fr_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)fputs("registry: ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
	va_end(args);
	_Exit(1);
}

void fr_append(char *at, size_t cap, const char *fmt, ...)
{
	size_t len = strlen(at);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(at + len, cap - len, fmt, args);
	va_end(args);
}

bool fr_number(const char *s, uint64_t *out)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno)
		return false;
	*out = n;
	return true;
}

void fr_digest(const void *p, size_t nbytes, char out[FR_DIGEST])
{
	unsigned char sum[SHA256_DIGEST_LENGTH];

	SHA256(p, nbytes, sum);
	(void)snprintf(out, FR_DIGEST, "sha256:");
	for (size_t i = 0; i < sizeof sum; i++)
		(void)snprintf(out + 7 + 2 * i, 3, "%02x", sum[i]);
}

long fr_base64_decode(const char *s, char *out, size_t cap)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	size_t n = 0, n_bits = 0;

	for (; *s && *s != '='; s++) {
		char c = *s == '-' ? '+' : *s == '_' ? '/' : *s;
		const char *d = strchr(digits, c);
		if (!d || n + 1 >= cap)
			return -1;
		bits = bits << 6 | (uint32_t)(d - digits);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			out[n++] = (char)(bits >> n_bits);
		}
	}
	out[n] = 0;
	return (long)n;
}

char *fr_base64_encode(const void *p, size_t nbytes, bool url)
{
	char *out = fr_alloc(nbytes / 3 * 4 + 8);

	EVP_EncodeBlock((unsigned char *)out, p, (int)nbytes);
	for (char *c = out; url && *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? 0 : *c;
	return out;
}
