#include "base/url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { URL_MAX = 16 << 10 };

static void curl_url_freep(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void curl_text_freep(char **s)
{
	curl_free(*s);
}

#define CURL_TEXT CK_AUTO(curl_text_freep) char *

/* Copies a part into malloc's memory. */
static int part(char **out, CURLU *u, CURLUPart what, unsigned flags)
{
	CURL_TEXT s = NULL;
	CURLUcode c = curl_url_get(u, what, &s, flags);

	if (c != CURLUE_OK)
		return -EINVAL;
	*out = strdup(s);
	return *out ? 0 : -ENOMEM;
}

static int read_origin(struct ck_url *out, CURLU *u)
{
	CK_AUTO(ck_freep) char *scheme = NULL;
	CK_AUTO(ck_freep) char *port = NULL;
	int rc = part(&scheme, u, CURLUPART_SCHEME, 0);

	if (rc == 0)
		rc = part(&out->name, u, CURLUPART_HOST, 0);
	if (rc < 0)
		return rc;
	for (char *s = out->name; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	out->tls = strcasecmp(scheme, "https") == 0;
	if (!*out->name || (!out->tls && strcasecmp(scheme, "http") != 0))
		return -EINVAL;
	rc = part(&port, u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
	if (rc == -ENOMEM)
		return rc;
	if (asprintf(&out->origin, "%s://%s%s%s", out->tls ? "https" : "http", out->name,
		     port ? ":" : "", port ? port : "") < 0) {
		out->origin = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int read_url(struct ck_url *out, const char *base, const char *text)
{
	CK_AUTO(curl_url_freep) CURLU *u = curl_url();

	if (!u)
		return -ENOMEM;
	for (const char *s = text; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '\\')
			return -EINVAL;
	if (strlen(text) > URL_MAX)
		return -EINVAL;
	if (base && curl_url_set(u, CURLUPART_URL, base, 0) != CURLUE_OK)
		return -EINVAL;
	if (curl_url_set(u, CURLUPART_URL, text, CURLU_DISALLOW_USER) != CURLUE_OK)
		return -EINVAL;
	/* A fragment is not sent, and of no use to us. */
	(void)curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	int rc = read_origin(out, u);
	return rc < 0 ? rc : part(&out->text, u, CURLUPART_URL, 0);
}

int ck_url_read(struct ck_url *out, const char *base, const char *text, struct ck_err *err)
{
	struct ck_url u = { 0 };
	int rc = read_url(&u, base, text);

	if (rc == 0) {
		*out = u;
		return 0;
	}
	ck_url_free(&u);
	if (rc == -ENOMEM)
		return ck_nomem(err, "reading a URL");
	return ck_fail(err, -EINVAL, "\"%.*s\" is not an http:// or https:// URL that can be used",
		       (int)(strcspn(text, "?") < 200 ? strcspn(text, "?") : 200), text);
}

void ck_url_free(struct ck_url *u)
{
	free(u->name);
	free(u->origin);
	free(u->text);
	*u = (struct ck_url){ 0 };
}

bool ck_url_is_loopback(const char *name)
{
	unsigned a, b, c, d;
	char more;

	if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
		return true;
	return sscanf(name, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &more) == 4 && a == 127 &&
	       b < 256 && c < 256 && d < 256;
}

int ck_url_escape(struct ck_buf *out, const char *s, struct ck_err *err)
{
	int rc = 0;

	for (; rc == 0 && *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			rc = ck_buf_add(out, s, 1, err);
		else
			rc = ck_buf_addf(out, err, "%%%02X", (unsigned char)*s);
	}
	return rc;
}
