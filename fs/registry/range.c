#include "fs/registry/range.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* Reads digits at *S; false: none, or too many. */
static bool read_number(const char **s, uint64_t *out)
{
	uint64_t v = 0;
	size_t n = strspn(*s, "0123456789");

	if (n == 0 || n > 18)
		return false;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (uint64_t)((*s)[i] - '0');
	*s += n;
	*out = v;
	return true;
}

/* "bytes FIRST-LAST/SIZE"; SIZE may be "*". */
static bool read_range(const char *s, uint64_t *first, uint64_t *last, uint64_t *size)
{
	if (strncasecmp(s, "bytes", 5) != 0 || (s[5] != ' ' && s[5] != '\t'))
		return false;
	s += 5 + strspn(s + 5, " \t");
	if (!read_number(&s, first) || *s++ != '-' || !read_number(&s, last) || *s++ != '/')
		return false;
	if (strcmp(s, "*") == 0)
		return true;
	return read_number(&s, size) && !*s;
}

static int judge_part(struct ck_range *got, const struct ck_range *asked, const char *range,
		      bool has_length, uint64_t length, struct ck_err *err)
{
	uint64_t first = 0, last = 0, size = asked->size;

	if (!asked->asked)
		return ck_fail(err, -EPROTO, "it answered 206, and was not asked for a range");
	if (!range || !read_range(range, &first, &last, &size))
		return ck_fail(err, -EPROTO,
			       "it answered 206 without a range (Content-Range: %.60s)",
			       range ? range : "none");
	if (first != asked->off || last < first || last >= asked->end || size != asked->size)
		return ck_fail(err, -EPROTO,
			       "it answered with another range: %.60s, not %" PRIu64 "-%" PRIu64
			       "/%" PRIu64,
			       range, asked->off, asked->end - 1, asked->size);
	if (has_length && length > last + 1 - first)
		return ck_fail(err, -EPROTO,
			       "it answered with %" PRIu64 " bytes for the range %.60s", length,
			       range);
	got->off = first;
	got->end = last + 1;
	return 0;
}

static int judge_whole(struct ck_range *got, const struct ck_range *asked, const char *type,
		       bool has_length, uint64_t length, struct ck_err *err)
{
	if (has_length && length != asked->size)
		return ck_fail(err, -EPROTO,
			       "it answered with %" PRIu64 " bytes, but the blob has %" PRIu64,
			       length, asked->size);
	/* An error page of no said length is told by its type. */
	if (!has_length && (!type || strncasecmp(type, "application/octet-stream", 24) != 0))
		return ck_fail(err, -EPROTO,
			       "it answered with something of no said length (Content-Type: %.60s)",
			       type ? type : "none");
	got->off = 0;
	got->end = asked->size;
	return 0;
}

int ck_range_judge(struct ck_range *got, const struct ck_range *asked,
		   const struct ck_http_res *res, struct ck_err *err)
{
	const char *coding = ck_http_res_header(res, "Content-Encoding");
	const char *text = ck_http_res_header(res, "Content-Length");
	uint64_t length = 0;

	*got = *asked;
	if (coding && *coding && strcasecmp(coding, "identity") != 0)
		return ck_fail(err, -EPROTO, "it answered with Content-Encoding %.40s, unasked",
			       coding);
	if (text && (!read_number(&text, &length) || *text))
		return ck_fail(err, -EPROTO, "its Content-Length is no number");
	if (res->status == 206)
		return judge_part(got, asked, ck_http_res_header(res, "Content-Range"),
				  text != NULL, length, err);
	return judge_whole(got, asked, ck_http_res_header(res, "Content-Type"), text != NULL,
			   length, err);
}
