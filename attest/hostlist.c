#include "attest/hostlist.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool alnum_or_dash(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-';
}

/* Labels of 1 to 63 characters, none beginning or ending with '-', joined by '.'. */
static bool host_ok(const char *s)
{
	size_t len = strnlen(s, CK_HOST_MAX + 1), label = 0;

	if (len == 0 || len > CK_HOST_MAX)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (s[i] == '.' || s[i] == 0) {
			if (label == 0 || label > 63 || s[i - 1] == '-')
				return false;
			label = 0;
		} else if (!alnum_or_dash(s[i]) || (label == 0 && s[i] == '-')) {
			return false;
		} else {
			label++;
		}
	}
	return true;
}

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

int ck_hostlist_init(struct ck_hostlist *out, const char *const *patterns, const char *what,
		     struct ck_err *err)
{
	size_t n = 0;

	*out = (struct ck_hostlist){ 0 };
	while (patterns && patterns[n])
		n++;
	out->patterns = calloc(n + 1, sizeof *out->patterns);
	if (!out->patterns)
		return ck_nomem(err, "copying host names");
	for (; out->n_patterns < n; out->n_patterns++) {
		const char *p = patterns[out->n_patterns];
		int rc = 0;
		if (!host_ok(p + (p[0] == '.')))
			rc = ck_fail(err, -EINVAL,
				     "%s: \"%.80s\" is neither a host name nor a suffix that "
				     "starts with '.'",
				     what, p);
		else if (!(out->patterns[out->n_patterns] = strdup(p)))
			rc = ck_nomem(err, "copying host names");
		if (rc < 0) {
			ck_hostlist_free(out);
			return rc;
		}
		lower(out->patterns[out->n_patterns]);
	}
	return 0;
}

void ck_hostlist_free(struct ck_hostlist *l)
{
	for (size_t i = 0; i < l->n_patterns; i++)
		free(l->patterns[i]);
	free(l->patterns);
	*l = (struct ck_hostlist){ 0 };
}

static bool matches(const char *pattern, const char *host)
{
	size_t p = strlen(pattern), h = strlen(host);

	if (pattern[0] != '.')
		return strcmp(pattern, host) == 0;
	return h > p && strcmp(host + (h - p), pattern) == 0;
}

int ck_hostlist_admit(char out[CK_HOST_MAX + 1], const struct ck_hostlist *l, const char *host,
		      const char *what, struct ck_err *err)
{
	if (!host || !host_ok(host))
		return ck_fail(err, -EPERM, "%s host \"%.80s\" is not a host name", what,
			       host ? host : "");
	memcpy(out, host, strlen(host) + 1);
	lower(out);
	for (size_t i = 0; i < l->n_patterns; i++)
		if (matches(l->patterns[i], out))
			return 0;
	return ck_fail(err, -EPERM, "%s host %s is not among the hosts the configuration allows",
		       what, out);
}

bool ck_kid_ok(const char *s)
{
	size_t name = 0, version = 0;

	while (name < 128 && alnum_or_dash(s[name]))
		name++;
	if (name == 0 || name > 127)
		return false;
	if (s[name] == 0)
		return true;
	if (s[name] != '/')
		return false;
	s += name + 1;
	while (version < 65 && alnum_or_dash(s[version]) && s[version] != '-')
		version++;
	return version > 0 && version <= 64 && s[version] == 0;
}
