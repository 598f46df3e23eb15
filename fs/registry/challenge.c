#include "fs/registry/challenge.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

enum { CHALLENGE_MAX = 8 << 10 };

/* RFC 9110 section 5.6.2. */
static bool is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(const char *s)
{
	size_t n = 0;

	while (is_token_char(s[n]))
		n++;
	return n;
}

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

static const char *skip_commas(const char *s)
{
	return s + strspn(s, " \t,");
}

/* The length of a token68 at S that is one: what follows ends the challenge. 0: none. */
static size_t token68_len(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || (s[n] && strchr("-._~+/", s[n])))
		n++;
	if (n == 0)
		return 0;
	n += strspn(s + n, "=");
	const char *next = skip_blanks(s + n);
	return *next == 0 || *next == ',' ? n : 0;
}

/* Reads the token or quoted-string at *AT into a string that is the caller's. */
static int read_value(char **out, const char **at, struct ck_err *err)
{
	const char *s = *at;
	char *v = malloc(strlen(s) + 1);
	size_t n = 0;

	if (!v)
		return ck_nomem(err, "reading a challenge");
	if (*s == '"') {
		for (s++; *s && *s != '"'; s++) {
			if (*s == '\\' && s[1])
				s++;
			v[n++] = *s;
		}
		if (*s != '"') {
			free(v);
			return ck_fail(err, -EBADMSG, "a challenge's text has no end");
		}
		s++;
	} else {
		n = token_len(s);
		memcpy(v, s, n);
		s += n;
	}
	v[n] = 0;
	*at = s;
	*out = v;
	return 0;
}

static void keep(char **member, char **value)
{
	if (!*member)
		*member = ck_take(*value);
}

/* Reads one "name=value", whose name has N bytes, for the challenge that OF says it belongs to. */
static int read_param(struct ck_challenge *of, const char **at, size_t n, struct ck_err *err)
{
	const char *name = *at, *s = skip_blanks(name + n);
	CK_AUTO(ck_freep) char *value = NULL;

	s = skip_blanks(s + 1);
	int rc = read_value(&value, &s, err);
	if (rc < 0)
		return rc;
	*at = s;
	if (!of)
		return 0;
	if (n == 5 && strncasecmp(name, "realm", n) == 0)
		keep(&of->realm, &value);
	else if (n == 7 && strncasecmp(name, "service", n) == 0)
		keep(&of->service, &value);
	else if (n == 5 && strncasecmp(name, "scope", n) == 0)
		keep(&of->scope, &value);
	return 0;
}

static int parse(struct ck_challenge *out, const char *s, struct ck_err *err)
{
	struct ck_challenge *current = NULL; /* whose parameters count */
	bool started = false;

	for (s = skip_commas(s); *s; s = skip_commas(s)) {
		size_t n = token_len(s);
		if (n == 0)
			return ck_fail(err, -EBADMSG, "a challenge is malformed at \"%.20s\"", s);
		if (started && *skip_blanks(s + n) == '=') {
			int rc = read_param(current, &s, n, err);
			if (rc < 0)
				return rc;
			const char *next = skip_blanks(s);
			if (*next && *next != ',')
				return ck_fail(err, -EBADMSG,
					       "a challenge is malformed at \"%.20s\"", next);
			continue;
		}
		bool first = !out->bearer;
		started = true;
		current = n == 6 && strncasecmp(s, "bearer", n) == 0 && first ? out : NULL;
		out->bearer |= current != NULL;
		out->basic |= n == 5 && strncasecmp(s, "basic", n) == 0;
		s += n;
		if (*s && *s != ' ' && *s != '\t' && *s != ',')
			return ck_fail(err, -EBADMSG, "a challenge is malformed at \"%.20s\"", s);
		s = skip_blanks(s);
		s += token68_len(s);
	}
	return 0;
}

int ck_challenge_parse(struct ck_challenge *out, const char *value, struct ck_err *err)
{
	if (strlen(value) > CHALLENGE_MAX)
		return ck_fail(err, -EBADMSG, "a challenge has more than %d bytes", CHALLENGE_MAX);
	return parse(out, value, err);
}

void ck_challenge_free(struct ck_challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	*c = (struct ck_challenge){ 0 };
}
