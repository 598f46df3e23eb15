#include "tools/cloakfs/config.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/json.h"
#include "base/size.h"
#include "fs/oci/dockername.h"

enum {
	MAX_FILE = 1 << 20,
	MAX_HOST = 253,
	MAX_CACHE_MIB = 1 << 20,
	REQUEST_MS = 60000,
	MAX_REQUEST_MS = 24 * 3600 * 1000
};

/* Every string member: where it is read from, and what it must look like. */
enum shape { TEXT, PATH, PATH_OR_NONE, SOCKET, URL, HOST };

static int check_host(const char *s, bool suffix_allowed, struct ck_err *err)
{
	const char *name = suffix_allowed && s[0] == '.' ? s + 1 : s;
	size_t len = strlen(name);

	if (len == 0 || len > MAX_HOST || name[0] == '.' || name[0] == '-' ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != len)
		return ck_fail(err, -EINVAL, "\"%.80s\" is not a host name in lower case%s", s,
			       suffix_allowed ? " nor a suffix that starts with \".\"" : "");
	return 0;
}

static int check_url(const char *s, struct ck_err *err)
{
	const char *host = strstr(s, "://");

	if ((strncmp(s, "http://", 7) != 0 && strncmp(s, "https://", 8) != 0) ||
	    strpbrk(s, " ?#@\"\\") || !host[3] || host[3] == '/')
		return ck_fail(err, -EINVAL, "\"%.80s\" is not an http:// or https:// URL", s);
	return 0;
}

/* Puts DIR before a relative path, in the document itself, which holds the string. */
static int resolve(json_t *obj, const char *key, const char *dir, const char **value,
		   struct ck_err *err)
{
	if (!**value)
		return ck_fail(err, -EINVAL, "it is empty");
	if (**value == '/')
		return 0;
	json_t *full = json_sprintf("%s%s", dir, *value);
	if (!full || json_object_set_new(obj, key, full) < 0)
		return ck_nomem(err, "reading the configuration");
	*value = json_string_value(full);
	return 0;
}

/* The same for the path behind "unix:"; other addresses stay as they are. */
static int resolve_socket(json_t *obj, const char *key, const char *dir, const char **value,
			  struct ck_err *err)
{
	if (strncmp(*value, "unix:", 5) != 0 || (*value)[5] == '/')
		return **value ? 0 : ck_fail(err, -EINVAL, "it is empty");
	json_t *full = (*value)[5] ? json_sprintf("unix:%s%s", dir, *value + 5) : NULL;
	if (!(*value)[5])
		return ck_fail(err, -EINVAL, "it names no socket");
	if (!full || json_object_set_new(obj, key, full) < 0)
		return ck_nomem(err, "reading the configuration");
	*value = json_string_value(full);
	return 0;
}

static int read_text(const char **out, json_t *obj, const char *key, enum shape shape,
		     const char *dir, struct ck_err *err)
{
	int rc = ck_json_str(out, obj, key, false, err);

	if (rc < 0 || !*out)
		return rc;
	if (shape == PATH || (shape == PATH_OR_NONE && strcmp(*out, "none") != 0))
		rc = resolve(obj, key, dir, out, err);
	else if (shape == SOCKET)
		rc = resolve_socket(obj, key, dir, out, err);
	else if (shape == URL)
		rc = check_url(*out, err);
	else if (shape == HOST)
		rc = check_host(*out, false, err);
	else if (!**out)
		rc = ck_fail(err, -EINVAL, "it is empty");
	return rc < 0 ? ck_wrap(err, "\"%s\"", key) : 0;
}

static int read_hosts(const char ***out, const json_t *obj, const char *key, struct ck_err *err)
{
	json_t *array, *item;
	size_t i;
	int rc = ck_json_arr(&array, obj, key, false, err);

	if (rc < 0)
		return rc;
	*out = calloc(json_array_size(array) + 1, sizeof **out);
	if (!*out)
		return ck_nomem(err, "reading the configuration");
	json_array_foreach (array, i, item) {
		const char *s = json_string_value(item);
		rc = check_host(s ? s : "", true, err);
		if (rc < 0)
			return ck_wrap(err, "\"%s\"", key);
		(*out)[i] = s;
	}
	return 0;
}

static int read_addresses(struct ck_config *c, const json_t *obj, struct ck_err *err)
{
	json_t *map, *v;
	const char *host;
	int rc = ck_json_obj(&map, obj, "addresses", false, err);

	if (rc < 0 || !map)
		return rc;
	c->addresses = calloc(json_object_size(map) + 1, sizeof *c->addresses);
	if (!c->addresses)
		return ck_nomem(err, "reading the configuration");
	json_object_foreach (map, host, v) {
		const char *to;
		rc = check_host(host, false, err);
		if (rc == 0)
			rc = ck_json_str(&to, map, host, true, err);
		if (rc == 0 && !strrchr(to, ':'))
			rc = ck_fail(err, -EINVAL, "\"%.80s\" is not ADDRESS:PORT", to);
		if (rc < 0)
			return ck_wrap(err, "\"addresses\"");
		c->addresses[c->n_addresses++] = (struct ck_http_address){ host, to };
	}
	return 0;
}

static int read_plain_http(struct ck_config *c, const json_t *registry, struct ck_err *err)
{
	json_t *array = NULL, *item;
	size_t i;
	int rc = registry ? ck_json_arr(&array, registry, "plain_http", false, err) : 0;

	if (rc < 0)
		return rc;
	c->registry.plain_http = calloc(json_array_size(array) + 1, sizeof *c->registry.plain_http);
	if (!c->registry.plain_http)
		return ck_nomem(err, "reading the configuration");
	json_array_foreach (array, i, item) {
		const char *s = json_string_value(item);
		if (!s || !ck_dockername_is_host(s))
			return ck_fail(err, -EINVAL, "\"plain_http\": \"%.80s\" is not HOST[:PORT]",
				       s ? s : "");
		c->registry.plain_http[i] = s;
	}
	return 0;
}

static int read_group(json_t **out, json_t *root, const char *key, const char *const *allowed,
		      struct ck_err *err)
{
	int rc = ck_json_obj(out, root, key, false, err);

	return rc < 0 || !*out ? rc : ck_json_only(*out, allowed, key, err);
}

static int read_strings(struct ck_config *c, json_t *root, const char *dir, struct ck_err *err)
{
	static const char *const wrap_keys[] = { "kms_endpoint", "attester_endpoint", NULL };
	static const char *const evidence_keys[] = { "tsm_dir", "sev_guest", "host_certs", NULL };
	static const char *const identity_keys[] = { "client_id", NULL };
	json_t *wrap, *evidence, *identity;
	int rc = read_group(&wrap, root, "wrap", wrap_keys, err);

	if (rc == 0)
		rc = read_group(&evidence, root, "evidence", evidence_keys, err);
	if (rc == 0)
		rc = read_group(&identity, root, "identity", identity_keys, err);
	if (rc < 0)
		return rc;
	const struct {
		const char **to;
		json_t *obj; /* NULL when the file lacks the group */
		const char *key;
		enum shape shape;
	} members[] = {
		{ &c->key_info_dir, root, "key_info_dir", PATH },
		{ &c->ca_file, root, "ca_file", PATH },
		{ &c->cache_dir, root, "cache_dir", PATH_OR_NONE },
		{ &c->metrics, root, "metrics", SOCKET },
		{ &c->imds_url, root, "imds_url", URL },
		{ &c->authority_url, root, "authority_url", URL },
		{ &c->hsm_resource, root, "hsm_resource", URL },
		{ &c->wrap_hsm_host, wrap, "kms_endpoint", HOST },
		{ &c->wrap_maa_host, wrap, "attester_endpoint", HOST },
		{ &c->tsm_dir, evidence, "tsm_dir", PATH },
		{ &c->sev_guest, evidence, "sev_guest", PATH },
		{ &c->host_certs, evidence, "host_certs", PATH },
		{ &c->client_id, identity, "client_id", TEXT },
	};
	for (size_t i = 0; rc == 0 && i < sizeof members / sizeof members[0]; i++)
		rc = read_text(members[i].to, members[i].obj, members[i].key, members[i].shape, dir,
			       err);
	return rc;
}

/* Bytes: a number, or as --cache-size has them. */
static int read_cache_size(struct ck_config *c, struct ck_err *err)
{
	const char *text = NULL;
	int rc;

	if (json_is_integer(json_object_get(c->json, "cache_size"))) {
		rc = ck_json_u64(&c->cache_size, c->json, "cache_size", false, err);
	} else {
		rc = ck_json_str(&text, c->json, "cache_size", false, err);
		if (rc < 0 || !text)
			return rc;
		rc = ck_size_parse(&c->cache_size, text, err);
		if (rc < 0)
			ck_wrap(err, "\"cache_size\"");
	}
	if (rc == 0 && c->cache_size < CK_CACHE_MIN)
		rc = ck_fail(err, -EINVAL, "\"cache_size\" is below %s", CK_CACHE_MIN_TEXT);
	return rc;
}

static int read_registry(struct ck_config *c, json_t *root, const char *dir, struct ck_err *err)
{
	static const char *const keys[] = { "auth_file",  "hosts_dir",	"certs_dir",
					    "plain_http", "timeout_ms", NULL };
	json_t *registry;
	int rc = read_group(&registry, root, "registry", keys, err);
	const struct {
		const char **to;
		const char *key;
	} paths[] = {
		{ &c->registry.auth_file, "auth_file" },
		{ &c->registry.hosts_dir, "hosts_dir" },
		{ &c->registry.certs_dir, "certs_dir" },
	};

	for (size_t i = 0; rc == 0 && i < sizeof paths / sizeof paths[0]; i++)
		rc = read_text(paths[i].to, registry, paths[i].key, PATH, dir, err);
	if (rc == 0)
		rc = read_plain_http(c, registry, err);
	if (rc < 0 || !json_object_get(registry, "timeout_ms"))
		return rc;
	rc = ck_json_u64(&c->registry.timeout_ms, registry, "timeout_ms", true, err);
	if (rc == 0 && (c->registry.timeout_ms == 0 || c->registry.timeout_ms > MAX_REQUEST_MS))
		rc = ck_fail(err, -EINVAL, "\"timeout_ms\" is not within 1 and %d", MAX_REQUEST_MS);
	return rc;
}

static int read_limits(struct ck_config *c, struct ck_err *err)
{
	int rc = ck_json_bool(&c->require_encrypted, c->json, "require_encrypted", false, err);

	if (rc == 0)
		rc = read_cache_size(c, err);
	if (rc == 0)
		rc = ck_json_bool(&c->require_digest, c->json, "require_digest", false, err);
	if (rc == 0)
		rc = ck_json_u64(&c->unit_cache_mib, c->json, "unit_cache_mib", false, err);
	if (rc == 0 && c->unit_cache_mib > MAX_CACHE_MIB)
		rc = ck_fail(err, -EINVAL, "\"unit_cache_mib\" is above %d", MAX_CACHE_MIB);
	if (rc == 0)
		rc = ck_json_u64(&c->request_timeout_ms, c->json, "request_timeout_ms", false, err);
	if (rc == 0 && (c->request_timeout_ms == 0 || c->request_timeout_ms > MAX_REQUEST_MS))
		rc = ck_fail(err, -EINVAL, "\"request_timeout_ms\" is not within 1 and %d",
			     MAX_REQUEST_MS);
	return rc;
}

static int read_root(struct ck_config *c, const char *dir, struct ck_err *err)
{
	static const char *const keys[] = {
		"hsm_hosts",	  "maa_hosts",		"key_info_dir",	  "wrap",
		"evidence",	  "identity",		"imds_url",	  "ca_file",
		"cache_dir",	  "cache_size",		"authority_url",  "hsm_resource",
		"addresses",	  "require_encrypted",	"require_digest", "registry",
		"unit_cache_mib", "request_timeout_ms", "metrics",	  NULL
	};

	if (!json_is_object(c->json))
		return ck_fail(err, -EBADMSG, "it is not a JSON object");
	int rc = ck_json_only(c->json, keys, "the configuration", err);
	if (rc == 0)
		rc = read_hosts(&c->hsm_hosts, c->json, "hsm_hosts", err);
	if (rc == 0)
		rc = read_hosts(&c->maa_hosts, c->json, "maa_hosts", err);
	if (rc == 0)
		rc = read_strings(c, c->json, dir, err);
	if (rc == 0)
		rc = read_addresses(c, c->json, err);
	if (rc < 0)
		return rc;
	rc = read_registry(c, c->json, dir, err);
	return rc < 0 ? ck_wrap(err, "\"registry\"") : read_limits(c, err);
}

/* The directory of PATH, absolute, with a '/' behind it. */
static int directory_of(char out[PATH_MAX], const char *path, struct ck_err *err)
{
	char full[PATH_MAX];

	if (!realpath(path, full))
		return ck_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	char *slash = strrchr(full, '/');
	slash[1] = 0;
	memcpy(out, full, sizeof full);
	return 0;
}

/* NULL: no file at all. */
static const char *which_file(const char *path)
{
	const char *env = getenv(CK_CONFIG_ENV);

	if (path)
		return path;
	if (env && *env)
		return env;
	return access(CK_CONFIG_DEFAULT, F_OK) == 0 ? CK_CONFIG_DEFAULT : NULL;
}

int ck_config_load(struct ck_config *out, const char *path, struct ck_err *err)
{
	struct ck_config c = { .request_timeout_ms = REQUEST_MS };
	char dir[PATH_MAX] = "/";
	int rc = 0;

	path = which_file(path);
	if (path) {
		rc = directory_of(dir, path, err);
		if (rc == 0)
			rc = ck_json_file(&c.json, path, MAX_FILE, err);
	} else {
		c.json = json_object();
	}
	if (rc == 0)
		rc = read_root(&c, dir, err);
	if (rc == 0) {
		*out = c;
		return 0;
	}
	ck_config_free(&c);
	return ck_wrap(err, "configuration %s", path ? path : "(none)");
}

void ck_config_free(struct ck_config *c)
{
	free(c->hsm_hosts);
	free(c->maa_hosts);
	free(c->addresses);
	free(c->registry.plain_http);
	json_decref(c->json);
	*c = (struct ck_config){ 0 };
}
