#include "fs/registry/authfile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "fs/registry/credhelper.h"
#include "fs/registry/token.h"

enum { FILE_MAX = 1 << 20, KEY_MAX = 1024 };

/* What is looked for. */
struct wanted {
	const char *host, *repo;
	bool docker_io;
	uint64_t deadline_ms;
	const atomic_bool *cancel;
};

/* What docker calls itself. */
static const char docker_server[] = "https://index.docker.io/v1/";

void ck_creds_free(struct ck_creds *c)
{
	ck_secret_free(&c->user);
	ck_secret_free(&c->password);
	ck_secret_free(&c->identity);
	ck_secret_free(&c->bearer);
	c->source[0] = 0;
}

void ck_creds_whose(char out[CK_CREDS_WHOSE], const struct ck_creds *c)
{
	if (c->user.len)
		snprintf(out, CK_CREDS_WHOSE, "of user %.70s from %s", (const char *)c->user.data,
			 c->source);
	else
		snprintf(out, CK_CREDS_WHOSE, "%s%s", *c->source ? "from " : "", c->source);
}

/* Length of HOST at the start of KEY, or 0: docker.io has three names. */
static size_t host_len(const char *key, const struct wanted *w)
{
	static const char *const docker[] = { "docker.io", "index.docker.io",
					      "registry-1.docker.io" };
	size_t n = strcspn(key, "/");

	if (!w->docker_io)
		return strlen(w->host) == n && strncasecmp(key, w->host, n) == 0 ? n : 0;
	for (size_t i = 0; i < sizeof docker / sizeof docker[0]; i++)
		if (strlen(docker[i]) == n && strncasecmp(key, docker[i], n) == 0)
			return n;
	return 0;
}

/* How well KEY suits: 0 not at all, else 1 + how much of the repository's name it has. */
static size_t suits(const char *key, const struct wanted *w)
{
	bool url = false;

	if (strncmp(key, "https://", 8) == 0 || strncmp(key, "http://", 7) == 0) {
		key = strstr(key, "://") + 3;
		url = true;
	}
	size_t n = host_len(key, w);
	if (n == 0)
		return 0;
	/* Docker's keys are URLs, whose path says nothing: /v1/, /v2/. */
	const char *prefix = url || !key[n] ? "" : key + n + 1;
	size_t len = strlen(prefix);
	if (len && prefix[len - 1] == '/')
		len--;
	if (len == 0)
		return 1;
	if (strncmp(w->repo, prefix, len) != 0 || (w->repo[len] && w->repo[len] != '/'))
		return 0;
	return 1 + len;
}

/* "auth": base64 of user:password. */
static int read_auth(struct ck_creds *out, const char *auth, struct ck_err *err)
{
	CK_SECRET text = { 0 };
	int rc = ck_b64_decode_secret(&text, CK_B64_STD, auth, strlen(auth), err);

	if (rc < 0)
		return rc;
	const char *s = (const char *)text.data;
	const char *colon = text.len ? memchr(s, ':', text.len) : NULL;
	if (!colon)
		return ck_fail(err, -EBADMSG, "\"auth\" is not of user:password");
	size_t n = (size_t)(colon - s), rest = text.len - n - 1;
	/* Docker once padded passwords so. */
	while (rest && colon[rest] == 0)
		rest--;
	if (memchr(s, 0, n) || memchr(colon + 1, 0, rest))
		return ck_fail(err, -EBADMSG, "\"auth\" has a NUL in it");
	rc = ck_creds_set(&out->user, s, n, err);
	return rc < 0 ? rc : ck_creds_set(&out->password, colon + 1, rest, err);
}

/* Errors: -ENOENT (the entry is empty: a store has what belongs to it). */
static int read_entry(struct ck_creds *out, const json_t *entry, struct ck_err *err)
{
	const char *auth, *identity, *bearer, *user, *password;
	int rc = ck_json_str(&auth, entry, "auth", false, err);

	if (rc == 0)
		rc = ck_json_str(&identity, entry, "identitytoken", false, err);
	if (rc == 0)
		rc = ck_json_str(&bearer, entry, "registrytoken", false, err);
	if (rc == 0)
		rc = ck_json_str(&user, entry, "username", false, err);
	if (rc == 0)
		rc = ck_json_str(&password, entry, "password", false, err);
	if (rc < 0)
		return rc;
	if (identity && *identity)
		return ck_creds_set(&out->identity, identity, strlen(identity), err);
	if (bearer && *bearer && !ck_token_is(bearer))
		return ck_fail(err, -EBADMSG, "\"registrytoken\" has bytes that no token has");
	if (bearer && *bearer)
		return ck_creds_set(&out->bearer, bearer, strlen(bearer), err);
	if (auth && *auth)
		return read_auth(out, auth, err);
	if (!user || !*user || !password)
		return ck_fail(err, -ENOENT, "the entry is empty");
	rc = ck_creds_set(&out->user, user, strlen(user), err);
	return rc < 0 ? rc : ck_creds_set(&out->password, password, strlen(password), err);
}

static int from_auths(struct ck_creds *out, const json_t *root, const char *file,
		      const struct wanted *w, struct ck_err *err)
{
	json_t *auths, *entry, *best = NULL;
	const char *key, *best_key = "";
	size_t best_rank = 0;
	int rc = ck_json_obj(&auths, root, "auths", false, err);

	if (rc < 0)
		return rc;
	json_object_foreach (auths, key, entry) {
		size_t rank = suits(key, w);
		if (rank > best_rank) {
			best_rank = rank;
			best = entry;
			best_key = key;
		}
	}
	if (!best)
		return -ENOENT;
	if (!json_is_object(best))
		return ck_fail(err, -EBADMSG, "the entry \"%.200s\" is not an object", best_key);
	rc = read_entry(out, best, err);
	snprintf(out->source, sizeof out->source, "%.190s", file);
	if (rc < 0 && rc != -ENOENT)
		ck_wrap(err, "the entry \"%.200s\"", best_key);
	return rc;
}

static int ask(struct ck_creds *out, const char *helper, const char *server, const char *file,
	       const struct wanted *w, struct ck_err *err)
{
	snprintf(out->source, sizeof out->source, "helper %.60s (%.100s)", helper, file);
	return ck_credhelper_get(out, helper, server, w->deadline_ms, w->cancel, err);
}

static int from_helpers(struct ck_creds *out, const json_t *root, const char *file,
			const struct wanted *w, struct ck_err *err)
{
	json_t *helpers, *name;
	const char *key;
	int rc = ck_json_obj(&helpers, root, "credHelpers", false, err);

	if (rc < 0)
		return rc;
	json_object_foreach (helpers, key, name) {
		if (suits(key, w) != 1)
			continue;
		if (!json_is_string(name))
			return ck_fail(err, -EBADMSG, "the helper of \"%.200s\" is not a string",
				       key);
		return ask(out, json_string_value(name), key, file, w, err);
	}
	return -ENOENT;
}

static int from_store(struct ck_creds *out, const json_t *root, const char *file,
		      const struct wanted *w, struct ck_err *err)
{
	const char *store;
	int rc = ck_json_str(&store, root, "credsStore", false, err);

	if (rc < 0)
		return rc;
	if (!store || !*store)
		return -ENOENT;
	return ask(out, store, w->docker_io ? docker_server : w->host, file, w, err);
}

/* Errors: -ENOENT: no such file, or nothing for us in it. */
static int from_file(struct ck_creds *out, const char *file, const struct wanted *w, bool *is_there,
		     struct ck_err *err)
{
	CK_BUF text = { .max = FILE_MAX };
	CK_JSON *root = NULL;
	int rc = ck_file_read(&text, file, err);

	*is_there = rc != -ENOENT && rc != -ENOTDIR;
	if (rc < 0)
		return rc == -ENOTDIR ? -ENOENT : rc;
	rc = ck_json_parse_secret(&root, text.data, text.len, file, err);
	if (rc == 0 && !json_is_object(root))
		return ck_fail(err, -EBADMSG, "%s is not a JSON object", file);
	if (rc < 0)
		return rc;
	rc = from_helpers(out, root, file, w, err);
	if (rc == -ENOENT)
		rc = from_auths(out, root, file, w, err);
	if (rc == -ENOENT)
		rc = from_store(out, root, file, w, err);
	if (rc < 0) {
		ck_creds_free(out);
		if (rc != -ENOENT)
			ck_wrap(err, "%s", file);
	}
	return rc;
}

static bool join(char out[PATH_MAX], const char *dir, const char *rest)
{
	int n = dir && *dir == '/' ? snprintf(out, PATH_MAX, "%s/%s", dir, rest) : -1;

	return n > 0 && n < PATH_MAX;
}

/* The IDX-th place where a file may be; false: there is no such place. */
static bool place(char out[PATH_MAX], unsigned idx)
{
	const char *home = getenv("HOME");
	char uid[64];

	switch (idx) {
	case 0:
		if (join(out, getenv("XDG_RUNTIME_DIR"), "containers/auth.json"))
			return true;
		snprintf(uid, sizeof uid, "containers/%u/auth.json", (unsigned)geteuid());
		return join(out, "/run", uid);
	case 1:
		return join(out, getenv("XDG_CONFIG_HOME"), "containers/auth.json") ||
		       join(out, home, ".config/containers/auth.json");
	default:
		return join(out, getenv("DOCKER_CONFIG"), "config.json") ||
		       join(out, home, ".docker/config.json");
	}
}

int ck_authfile_find(struct ck_creds *out, const char *file, const char *host, const char *repo,
		     uint64_t deadline_ms, const atomic_bool *cancel, struct ck_err *err)
{
	struct wanted w = { host, repo, strcmp(host, "docker.io") == 0, deadline_ms, cancel };
	struct ck_creds c = { 0 };
	char path[PATH_MAX];
	bool is_there;
	int rc = -ENOENT;

	if (!file)
		file = getenv("REGISTRY_AUTH_FILE");
	if (file && *file) {
		rc = from_file(&c, file, &w, &is_there, err);
		if (rc == -ENOENT && !is_there)
			return rc;
	} else {
		for (unsigned i = 0; rc == -ENOENT && i < 3; i++)
			if (place(path, i))
				rc = from_file(&c, path, &w, &is_there, err);
	}
	if (rc < 0 && rc != -ENOENT)
		return rc;
	*out = c;
	return 0;
}
