#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ck_size_parse(uint64_t *out, const char *s, struct ck_err *err)
{
	static const char units[] = "KMGT";
	char *end;

	errno = 0;
	unsigned long long n = strtoull(s, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	if (s[0] < '0' || s[0] > '9' || errno || (*end && (!unit || end[1])) ||
	    n > (unsigned long long)INT64_MAX >> shift)
		return ck_fail(err, -EINVAL,
			       "\"%.40s\" is not a number of bytes, with K, M, G or T behind it or "
			       "without",
			       s);
	*out = n << shift;
	return 0;
}
