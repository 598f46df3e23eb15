/*
 * Fuzz: any bytes as what a registry or its token service says. The first byte chooses as what: a
 * challenge, a token, the head of an answer to a request for a range, a URL that a redirect
 * gives.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/url.h"
#include "fs/registry/challenge.h"
#include "fs/registry/range.h"
#include "fs/registry/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What comes of quoted text is no longer than it, and has no NUL of its own. */
static void fuzz_challenge(const char *text, size_t len)
{
	struct ck_challenge c = { 0 };

	(void)!ck_challenge_parse(&c, text, NULL);
	const char *const parts[] = { c.realm, c.service, c.scope };
	size_t n = 0;
	for (int i = 0; i < 3; i++)
		n += parts[i] ? strlen(parts[i]) : 0;
	if (n > len || (n && !c.bearer))
		abort();
	ck_challenge_free(&c);
}

/* A token is one header's value and no more. */
static void fuzz_token(const char *text, size_t len)
{
	CK_BUF out = { 0 };
	uint64_t lifetime = 0;

	if (ck_token_parse(&out, &lifetime, text, len, 1800000000, NULL) < 0) {
		if (out.len)
			abort();
		return;
	}
	if (out.len == 0 || lifetime == UINT64_MAX || lifetime > 86400000)
		abort();
	for (size_t i = 0; i < out.len; i++)
		if (out.data[i] <= ' ' || out.data[i] > '~')
			abort();
}

/* Lines "Name: value" as headers. What is taken lies within what was asked for, and starts there,
 * or is the whole blob. */
static void fuzz_range(const char *text, size_t len)
{
	struct ck_http_res res = { .status = len && text[0] & 1 ? 200 : 206 };
	struct ck_range asked = { .off = 100, .end = 300, .size = 1000, .asked = true }, got;
	const char *end = text + len;

	if (len && text[0] & 2)
		asked = (struct ck_range){ .off = 0, .end = 1000, .size = 1000 };
	for (const char *l = len ? text + 1 : end; l < end;) {
		size_t n = strcspn(l, "\n"), colon = strcspn(l, ":\n");
		if (colon < n &&
		    (ck_buf_add(&res.headers, l, colon, NULL) < 0 ||
		     ck_buf_add(&res.headers, "", 1, NULL) < 0 ||
		     ck_buf_add(&res.headers, l + colon + 1, n - colon - 1, NULL) < 0 ||
		     ck_buf_add(&res.headers, "", 1, NULL) < 0))
			abort();
		l += n + (l[n] == '\n');
	}
	if (ck_range_judge(&got, &asked, &res, NULL) == 0) {
		bool whole = got.off == 0 && got.end == 1000;
		bool part = asked.asked && got.off == asked.off && got.end > got.off &&
			    got.end <= asked.end;
		if (res.status == 200 ? !whole : !part)
			abort();
	}
	ck_http_res_free(&res);
}

/* A URL that was taken is taken again as the same, and leads nowhere but to http. */
static void fuzz_url(const char *text)
{
	struct ck_url a, b;

	if (ck_url_read(&a, "https://h.example:5000/v2/x/blobs/y?z=1", text, NULL) < 0)
		return;
	if (strncmp(a.origin, a.tls ? "https://" : "http://", a.tls ? 8 : 7) != 0 || !*a.name ||
	    strpbrk(a.text, " \r\n\t"))
		abort();
	if (ck_url_read(&b, NULL, a.text, NULL) == 0) {
		if (strcmp(a.origin, b.origin) != 0 || a.tls != b.tls)
			abort();
		ck_url_free(&b);
	}
	ck_url_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int ready = -1;

	if (ready < 0)
		ready = ck_secret_init(NULL);
	if (ready < 0)
		abort();
	if (len == 0)
		return 0;
	char *text = strndup((const char *)data + 1, len - 1);
	if (!text)
		abort();
	size_t n = strlen(text);
	if (data[0] % 4 == 0)
		fuzz_challenge(text, n);
	else if (data[0] % 4 == 1)
		fuzz_token(text, n);
	else if (data[0] % 4 == 2)
		fuzz_range(text, n);
	else
		fuzz_url(text);
	free(text);
	return 0;
}
