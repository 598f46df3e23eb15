#include "fs/oci/dockername.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { HEX_NAME = 64 };

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/* One or more of "a", "a-b", with dots between them; up to END. */
static bool is_name(const char *s, const char *end)
{
	for (const char *at = s; at < end; at++) {
		bool edge = at == s || at + 1 == end || at[-1] == '.' || at[1] == '.';
		if (!is_alnum(*at) && (edge || (*at != '-' && *at != '.')))
			return false;
	}
	return s < end;
}

/* "[::1]", its address not looked at closely. */
static const char *skip_ipv6(const char *s)
{
	size_t n = strspn(s + 1, "0123456789abcdefABCDEF:");

	return n && s[1 + n] == ']' ? s + n + 2 : NULL;
}

bool ck_dockername_is_host(const char *s)
{
	const char *end = *s == '[' ? skip_ipv6(s) : s + strcspn(s, ":");

	if (!end || (*s != '[' && !is_name(s, end)))
		return false;
	if (!*end)
		return true;
	size_t digits = *end == ':' ? strspn(end + 1, "0123456789") : 0;
	return digits > 0 && digits <= 5 && !end[1 + digits] &&
	       strtoul(end + 1, NULL, 10) <= UINT16_MAX;
}

/* How long the separator at S is, inside a part of a repository's name: one dot, one or two
 * underscores, any number of dashes; 0: it is none. */
static size_t separator(const char *s)
{
	if (*s == '.')
		return 1;
	if (*s == '_')
		return s[1] == '_' ? 2 : 1;
	return strspn(s, "-");
}

bool ck_dockername_is_repo(const char *s)
{
	if (strlen(s) > CK_REPO_MAX)
		return false;
	for (;;) {
		if (!is_lower_or_digit(*s))
			return false;
		while (is_lower_or_digit(*s))
			s++;
		if (!*s)
			return true;
		size_t n = *s == '/' ? 1 : separator(s);
		if (n == 0)
			return false;
		s += n;
	}
}

bool ck_dockername_is_tag(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > CK_TAG_MAX || *s == '.' || *s == '-')
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && *s != '_' && *s != '.' && *s != '-')
			return false;
	return true;
}

static bool is_address(const char *name, size_t len)
{
	return memchr(name, '.', len) || (len == 9 && memcmp(name, "localhost", 9) == 0);
}

/* Whether a first part NAME[0..LEN) can be a host and not the start of a repository's name. */
static bool looks_like_host(const char *name, size_t len)
{
	if (is_address(name, len) || memchr(name, ':', len) || *name == '[')
		return true;
	for (size_t i = 0; i < len; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			return true;
	return false;
}

static bool all_hex(const char *s)
{
	return strlen(s) == HEX_NAME && strspn(s, "0123456789abcdef") == HEX_NAME;
}

static int check(const char *text, const char *host, const char *repo, const char *tag,
		 struct ck_err *err)
{
	bool upper = false;

	if (!ck_dockername_is_host(host))
		return ck_fail(err, -EINVAL, "\"%.300s\" is not a registry's HOST[:PORT]", host);
	for (const char *s = repo; *s; s++)
		upper |= isupper((unsigned char)*s) != 0;
	if (upper)
		return ck_fail(err, -EINVAL,
			       "the repository's name \"%.300s\" must be in lower case", repo);
	if (!ck_dockername_is_repo(repo))
		return ck_fail(err, -EINVAL, "\"%.300s\" is not a repository's name", repo);
	if (all_hex(text))
		return ck_fail(err, -EINVAL,
			       "\"%s\" could be an image's id, and names no repository", text);
	if (tag && !ck_dockername_is_tag(tag))
		return ck_fail(err, -EINVAL, "\"%.300s\" is not a tag", tag);
	return 0;
}

int ck_dockername_split(const char *text, char **host, char **repo, char **tag, struct ck_err *err)
{
	const char *slash = strchr(text, '/');
	size_t n =
	    slash && looks_like_host(text, (size_t)(slash - text)) ? (size_t)(slash - text) : 0;
	CK_AUTO(ck_freep) char *h = n ? strndup(text, n) : strdup("docker.io");
	const char *name = n ? slash + 1 : text;
	const char *colon = strchr(name, ':');
	size_t name_len = colon ? (size_t)(colon - name) : strlen(name);
	CK_AUTO(ck_freep) char *r = NULL;
	CK_AUTO(ck_freep) char *t = colon ? strdup(colon + 1) : NULL;

	/* Docker would look for an image of that name at docker.io, and we send one there. */
	if (!slash && is_address(text, name_len))
		return ck_fail(err, -EINVAL, "\"%.300s\" names a registry, and no repository in it",
			       text);
	if (h && strcmp(h, "index.docker.io") == 0)
		memmove(h, h + 6, sizeof "docker.io");
	bool library = h && strcmp(h, "docker.io") == 0 && !memchr(name, '/', name_len);
	if (asprintf(&r, "%s%.*s", library ? "library/" : "", (int)name_len, name) < 0)
		r = NULL;
	if (!h || !r || (colon && !t))
		return ck_nomem(err, "naming an image");
	int rc = check(text, h, r, t, err);
	if (rc < 0)
		return rc;
	*host = ck_take(h);
	*repo = ck_take(r);
	*tag = ck_take(t);
	return 0;
}
