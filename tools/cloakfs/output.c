#include "tools/cloakfs/output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* The bytes of the printable character at S[0..LEN), or 0. RFC 3629. */
static size_t printable(const unsigned char *s, size_t len)
{
	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	size_t n = s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* U+0080 to U+009F are controls; then the longer forms of shorter characters,
	 * surrogates, and what lies above U+10FFFF. */
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
	    (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void ck_output_name(const char *s, size_t len)
{
	if (!isatty(STDOUT_FILENO)) {
		fwrite(s, 1, len, stdout);
		return;
	}
	for (size_t i = 0; i < len;) {
		size_t n = printable((const unsigned char *)s + i, len - i);
		if (n)
			fwrite(s + i, 1, n, stdout);
		else
			printf("\\%03o", (unsigned char)s[i]);
		i += n ? n : 1;
	}
}

void ck_output_size(char out[CK_OUTPUT_SIZE], uint64_t nbytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)nbytes / 1024;
	size_t u = 0;

	if (nbytes < 1024) {
		snprintf(out, CK_OUTPUT_SIZE, "%u bytes", (unsigned)nbytes);
		return;
	}
	for (; v >= 1024 && u < 5; u++)
		v /= 1024;
	snprintf(out, CK_OUTPUT_SIZE, "%.1f %s", v, units[u]);
}

int ck_output_flush(struct ck_err *err)
{
	bool failed = ferror(stdout);

	if (fflush(stdout) != 0 || failed)
		return ck_fail(err, -(errno ? errno : EIO), "cannot write standard output: %s",
			       strerror(errno ? errno : EIO));
	return 0;
}

int ck_output_bytes(const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_fd_write(STDOUT_FILENO, p, nbytes, "standard output", err);
}
