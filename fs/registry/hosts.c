#include "fs/registry/hosts.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/url.h"
#include "fs/registry/certs.h"
#include "fs/registry/toml.h"

enum { FILE_MAX = 1 << 20, MIRRORS_MAX = 64, HEADERS_MAX = 64 };

/* One table of the file on its way into E. */
struct reading {
	const char *dir;
	struct ck_hosts_entry *e;
	struct ck_err *err;
};

static void entry_free(struct ck_hosts_entry *e)
{
	free(e->url);
	ck_buf_free(&e->ca);
	free(e->cert_file);
	free(e->key_file);
	for (size_t i = 0; i < e->n_headers; i++)
		free(e->headers[i]);
	free(e->headers);
}

void ck_hosts_free(struct ck_hosts *h)
{
	for (size_t i = 0; i < h->n_mirrors; i++)
		entry_free(&h->mirrors[i]);
	free(h->mirrors);
	entry_free(&h->server);
	*h = (struct ck_hosts){ 0 };
}

static int wrong(const struct reading *r, const char *key, const char *what)
{
	return ck_fail(r->err, -EBADMSG, "%s is not %s", key, what);
}

static int read_bool(const struct reading *r, const json_t *table, const char *key, bool *out)
{
	const json_t *v = json_object_get(table, key);

	if (v && !json_is_boolean(v))
		return wrong(r, key, "true or false");
	*out = json_is_true(v);
	return 0;
}

/* The IDX-th string of V, a string or an array of such; NULL: there is none. */
static const char *nth(const json_t *v, size_t idx)
{
	if (json_is_string(v))
		return idx == 0 ? json_string_value(v) : NULL;
	return json_string_value(json_array_get(v, idx));
}

static size_t count(const json_t *v)
{
	return json_is_string(v) ? 1 : json_array_size(v);
}

static int read_capabilities(const struct reading *r, const json_t *table)
{
	const json_t *v = json_object_get(table, "capabilities");

	r->e->can = v ? 0 : CK_CAN_ALL;
	if (v && !json_is_array(v))
		return wrong(r, "capabilities", "an array");
	for (size_t i = 0; i < count(v); i++) {
		const char *s = nth(v, i);
		if (s && strcmp(s, "pull") == 0)
			r->e->can |= CK_CAN_PULL;
		else if (s && strcmp(s, "resolve") == 0)
			r->e->can |= CK_CAN_RESOLVE;
		else if (s && strcmp(s, "push") == 0)
			r->e->can |= CK_CAN_PUSH;
		else
			return wrong(r, "capabilities", "of \"pull\", \"resolve\" and \"push\"");
	}
	return 0;
}

/* A path of the file's as an absolute one, the caller's to free. */
static char *path_of(const struct reading *r, const char *path)
{
	char *out = NULL;

	if (*path == '/')
		return strdup(path);
	return asprintf(&out, "%s/%s", r->dir, path) < 0 ? NULL : out;
}

static int read_ca(const struct reading *r, const json_t *table)
{
	const json_t *v = json_object_get(table, "ca");

	if (v && !json_is_string(v) && !json_is_array(v))
		return wrong(r, "ca", "a path or an array of paths");
	for (size_t i = 0; i < count(v); i++) {
		const char *s = nth(v, i);
		if (!s || !*s)
			return wrong(r, "ca", "a path or an array of paths");
		CK_AUTO(ck_freep) char *path = path_of(r, s);
		if (!path)
			return ck_nomem(r->err, "reading a hosts file");
		int rc = ck_certs_add_roots(&r->e->ca, path, r->err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* "both.pem", ["both.pem", ...] or [["cert", "key"], ...]: the first counts. */
static int read_client(const struct reading *r, const json_t *table)
{
	const json_t *v = json_object_get(table, "client");
	const json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;

	if (!v)
		return 0;
	const char *cert = nth(first, 0), *key = nth(first, 1);
	if (!cert || !*cert || count(first) > 2)
		return wrong(r, "client", "a path, an array of paths or of [certificate, key]");
	r->e->cert_file = path_of(r, cert);
	r->e->key_file = path_of(r, key && *key ? key : cert);
	return r->e->cert_file && r->e->key_file ? 0 : ck_nomem(r->err, "reading a hosts file");
}

static bool is_header_name(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || (s[n] && strchr("!#$%&'*+-.^_`|~", s[n])))
		n++;
	return n > 0 && !s[n];
}

static int add_header(const struct reading *r, const char *name, const char *value)
{
	struct ck_hosts_entry *e = r->e;

	if (!value || !is_header_name(name) || e->n_headers == HEADERS_MAX)
		return wrong(r, "header", "a table of strings or arrays of strings");
	for (const char *s = value; *s; s++)
		if ((unsigned char)*s < ' ' && *s != '\t')
			return wrong(r, "header", "of printable characters");
	char **headers = realloc(e->headers, (e->n_headers + 1) * sizeof *headers);
	if (!headers)
		return ck_nomem(r->err, "reading a hosts file");
	e->headers = headers;
	/* An empty value is curl's way to leave a header out; ";" stands for an empty one. */
	if (asprintf(&headers[e->n_headers], "%s%s%s", name, *value ? ": " : ";", value) < 0)
		return ck_nomem(r->err, "reading a hosts file");
	e->n_headers++;
	return 0;
}

static int read_headers(const struct reading *r, const json_t *table)
{
	json_t *headers = json_object_get(table, "header"), *v;
	const char *name;

	if (headers && !json_is_object(headers))
		return wrong(r, "header", "a table of strings or arrays of strings");
	json_object_foreach (headers, name, v) {
		if (!json_is_string(v) && !json_is_array(v))
			return wrong(r, "header", "a table of strings or arrays of strings");
		for (size_t i = 0; i < count(v); i++) {
			int rc = add_header(r, name, nth(v, i));
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* The URL under which "/REPO/..." stands. */
static int read_url(const struct reading *r, const json_t *table, const char *text)
{
	CK_AUTO(ck_url_free) struct ck_url u = { 0 };
	CK_AUTO(ck_freep) char *full = NULL;
	bool override = false;
	int rc = read_bool(r, table, "override_path", &override);

	if (rc == 0 && !strstr(text, "://") && asprintf(&full, "https://%s", text) < 0) {
		full = NULL;
		return ck_nomem(r->err, "reading a hosts file");
	}
	if (rc == 0)
		rc = ck_url_read(&u, NULL, full ? full : text, r->err);
	if (rc == 0 && strchr(u.text, '?'))
		return wrong(r, "a host's URL", "one that can have a query");
	if (rc < 0)
		return rc == -EINVAL ? -EBADMSG : rc;
	size_t n = strlen(u.text);
	while (n && u.text[n - 1] == '/')
		u.text[--n] = 0;
	bool versioned = n > strlen(u.origin) + 2 && strcmp(u.text + n - 3, "/v2") == 0;
	if (asprintf(&r->e->url, "%s%s", u.text, override || versioned ? "" : "/v2") < 0) {
		r->e->url = NULL;
		return ck_nomem(r->err, "reading a hosts file");
	}
	return 0;
}

static int read_entry(const struct reading *r, const json_t *table, const char *url)
{
	int rc = url && *url ? read_url(r, table, url) : 0;

	if (rc == 0)
		rc = read_capabilities(r, table);
	if (rc == 0)
		rc = read_bool(r, table, "skip_verify", &r->e->skip_verify);
	if (rc == 0)
		rc = read_ca(r, table);
	if (rc == 0)
		rc = read_client(r, table);
	return rc < 0 ? rc : read_headers(r, table);
}

static int read_mirrors(struct ck_hosts *out, const json_t *root, const char *dir,
			struct ck_err *err)
{
	json_t *hosts = json_object_get(root, "host"), *table;
	const char *url;

	if (hosts && !json_is_object(hosts))
		return ck_fail(err, -EBADMSG, "host is not a table");
	if (json_object_size(hosts) > MIRRORS_MAX)
		return ck_fail(err, -EBADMSG, "more than %d hosts", MIRRORS_MAX);
	out->mirrors = calloc(json_object_size(hosts) + 1, sizeof *out->mirrors);
	if (!out->mirrors)
		return ck_nomem(err, "reading a hosts file");
	json_object_foreach (hosts, url, table) {
		struct reading r = { dir, &out->mirrors[out->n_mirrors++], err };
		if (!*url)
			return ck_fail(err, -EBADMSG, "a host's URL is empty");
		if (!json_is_object(table))
			return ck_fail(err, -EBADMSG, "host.\"%.200s\" is not a table", url);
		int rc = read_entry(&r, table, url);
		if (rc < 0) {
			ck_wrap(err, "[host.\"%.200s\"]", url);
			return rc;
		}
	}
	return 0;
}

static int read_root(struct ck_hosts *out, const json_t *root, const char *dir, struct ck_err *err)
{
	const json_t *server = json_object_get(root, "server");
	struct reading r = { dir, &out->server, err };

	if (server && !json_is_string(server))
		return wrong(&r, "server", "a string");
	int rc = read_entry(&r, root, json_string_value(server));
	return rc < 0 ? rc : read_mirrors(out, root, dir, err);
}

int ck_hosts_parse(struct ck_hosts *out, const char *text, size_t len, const char *dir,
		   const char *name, struct ck_err *err)
{
	struct ck_hosts h = { 0 };
	CK_JSON *root = NULL;
	int rc = ck_toml_parse(&root, text, len, name, err);

	if (rc < 0)
		return rc;
	rc = read_root(&h, root, dir, err);
	if (rc < 0) {
		ck_hosts_free(&h);
		ck_wrap(err, "%s", name);
		return rc;
	}
	*out = h;
	return 0;
}

/* The IDX-th directory that may be HOST's; false: there is no such. */
static bool place(char out[PATH_MAX], const char *dir, const char *host, unsigned idx)
{
	const char *colon = strrchr(host, ':');
	int n = -1;

	if (idx == 0)
		n = snprintf(out, PATH_MAX, "%s/%s", dir, host);
	else if (idx == 1 && colon && colon[1] && !strchr(colon, ']'))
		n = snprintf(out, PATH_MAX, "%s/%.*s_%s_", dir, (int)(colon - host), host,
			     colon + 1);
	else if (idx == 2)
		n = snprintf(out, PATH_MAX, "%s/_default", dir);
	return n > 0 && n < PATH_MAX - 16;
}

int ck_hosts_read(struct ck_hosts *out, const char *dir, const char *host, struct ck_err *err)
{
	char sub[PATH_MAX], path[PATH_MAX + 16];

	*out = (struct ck_hosts){ .server.can = CK_CAN_ALL };
	for (unsigned i = 0; i < 3; i++) {
		CK_BUF text = { .max = FILE_MAX };
		if (!place(sub, dir, host, i))
			continue;
		snprintf(path, sizeof path, "%s/hosts.toml", sub);
		int rc = ck_file_read(&text, path, err);
		if (rc == -ENOENT || rc == -ENOTDIR)
			continue;
		if (rc == 0)
			rc = ck_hosts_parse(out, ck_buf_str(&text), text.len, sub, path, err);
		out->found = rc == 0;
		return rc;
	}
	return 0;
}
