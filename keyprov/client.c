#include "keyprov/client.h"

#include <errno.h>
#include <string.h>

#include "base/cmdcall.h"
#include "base/file.h"
#include "base/json.h"
#include "keyprov/envelope.h"
#include "keyprov/gojson.h"
#include "keyprov/grpccall.h"
#include "keyprov/privopts.h"

enum { CONFIG_MAX = 1 << 20, ANSWER_MAX = 4 << 20, DEADLINE_MS = 30000 };

static const char config_var[] = "OCICRYPT_KEYPROVIDER_CONFIG";

struct ck_client {
	char *name;
	char *value;   /* the parameter; ocicrypt's "Enabled" when none was given */
	json_t *entry; /* of the configuration; what follows is borrowed from it */
	const char *grpc;
	char **argv; /* NULL-ended; NULL when it is no program */
};

bool ck_client_configured(void)
{
	const char *path = getenv(config_var);

	return path && *path;
}

int ck_client_split(char name[CK_CLIENT_NAME_MAX], const char **value, const char *spec,
		    struct ck_err *err)
{
	size_t len = strcspn(spec, ":");

	if (len == 0 || len >= CK_CLIENT_NAME_MAX)
		return ck_fail(err, -EINVAL, "key \"provider:%.80s\" names no provider", spec);
	snprintf(name, CK_CLIENT_NAME_MAX, "%.*s", (int)len, spec);
	*value = spec[len] ? spec + len + 1 : NULL;
	return 0;
}

static int read_cmd(struct ck_client *c, const json_t *cmd, struct ck_err *err)
{
	const char *path;
	json_t *args;
	int rc;

	if ((rc = ck_json_str(&path, cmd, "path", true, err)) < 0 ||
	    (rc = ck_json_arr(&args, cmd, "args", false, err)) < 0)
		return rc;
	size_t n = json_array_size(args);
	c->argv = calloc(n + 2, sizeof *c->argv);
	if (!c->argv)
		return ck_nomem(err, "reading the key-provider configuration");
	c->argv[0] = (char *)(uintptr_t)path;
	for (size_t i = 0; i < n; i++) {
		const char *arg = json_string_value(json_array_get(args, i));
		if (!arg)
			return ck_fail(err, -EBADMSG, "an argument is not a string");
		c->argv[i + 1] = (char *)(uintptr_t)arg;
	}
	return 0;
}

static int read_entry(struct ck_client *c, struct ck_err *err)
{
	json_t *cmd;
	int rc = ck_json_obj(&cmd, c->entry, "cmd", false, err);

	if (rc < 0)
		return rc;
	if (cmd) /* wins over grpc, as in ocicrypt */
		return read_cmd(c, cmd, err);
	if (json_object_get(c->entry, "grpc-tls"))
		return ck_fail(err, -ENOTSUP, "grpc-tls is not supported; use a unix socket");
	if ((rc = ck_json_str(&c->grpc, c->entry, "grpc", false, err)) < 0)
		return rc;
	if (!c->grpc || !*c->grpc)
		return ck_fail(err, -ENOTSUP, "it has neither \"cmd\" nor \"grpc\"");
	return 0;
}

static int read_config(struct ck_client *c, struct ck_err *err)
{
	const char *path = getenv(config_var);
	CK_JSON *doc = NULL;
	json_t *providers;

	if (!ck_client_configured())
		return ck_fail(err, -EINVAL,
			       "key provider %s is not known: set %s to the file that says "
			       "how to reach it",
			       c->name, config_var);
	if (ck_json_file(&doc, path, CONFIG_MAX, err) < 0)
		return ck_wrap(err, "%s", config_var);
	if (ck_json_obj(&providers, doc, "key-providers", true, err) < 0 ||
	    ck_json_obj(&c->entry, providers, c->name, false, err) < 0)
		return ck_wrap(err, "%s", path);
	if (!c->entry)
		return ck_fail(err, -ENOENT, "%s lists no key provider named %s", path, c->name);
	json_incref(c->entry);
	int rc = read_entry(c, err);
	return rc < 0 ? ck_wrap(err, "%s: key provider %s", path, c->name) : 0;
}

int ck_client_open(struct ck_client **out, const char *name, const char *value, struct ck_err *err)
{
	struct ck_client *c = calloc(1, sizeof *c);
	int rc;

	if (!c)
		return ck_nomem(err, "adding a key provider");
	c->name = strdup(name);
	c->value = strdup(value && *value ? value : "Enabled");
	if (!c->name || !c->value)
		rc = ck_nomem(err, "adding a key provider");
	else
		rc = read_config(c, err);
	if (rc < 0)
		ck_client_close(c);
	else
		*out = c;
	return rc;
}

void ck_client_close(struct ck_client *c)
{
	if (!c)
		return;
	json_decref(c->entry);
	free(c->argv);
	free(c->name);
	free(c->value);
	free(c);
}

const char *ck_client_name(const struct ck_client *c)
{
	return c->name;
}

/* Requests as ocicrypt writes them, both parameter objects always there: some servers
 * insist. */
static int unwrap_request(const struct ck_client *c, const void *packet, size_t len,
			  struct ck_buf *out, struct ck_err *err)
{
	CK_BUF value = { 0 }, annotation = { 0 };
	int rc;

	if ((rc = ck_b64_encode(&value, CK_B64_STD, c->value, strlen(c->value), err)) < 0 ||
	    (rc = ck_b64_encode(&annotation, CK_B64_STD, packet, len, err)) < 0)
		return rc;
	CK_JSON *doc =
	    json_pack("{s:s, s:{s:n, s:n}, s:{s:{s:{s:[s]}}, s:s}}", "op", "keyunwrap",
		      "keywrapparams", "ec", "optsdata", "keyunwrapparams", "dc", "Parameters",
		      c->name, ck_buf_str(&value), "annotation", ck_buf_str(&annotation));
	return doc ? ck_json_dump(out, doc, err) : ck_nomem(err, "asking a key provider");
}

static int wrap_request(const struct ck_client *c, const struct ck_secret *opts, struct ck_buf *out,
			struct ck_err *err)
{
	CK_BUF value = { 0 }, data = { 0 };
	int rc;

	if ((rc = ck_b64_encode(&value, CK_B64_STD, c->value, strlen(c->value), err)) < 0 ||
	    (rc = ck_b64_encode(&data, CK_B64_STD, opts->data, opts->len, err)) < 0)
		return rc;
	CK_JSON *doc = json_pack("{s:s, s:{s:{s:{s:[s]}, s:{s:{}}}, s:s}, s:{s:n, s:n}}", "op",
				 "keywrap", "keywrapparams", "ec", "Parameters", c->name,
				 ck_buf_str(&value), "DecryptConfig", "Parameters", "optsdata",
				 ck_buf_str(&data), "keyunwrapparams", "dc", "annotation");
	return doc ? ck_json_dump(out, doc, err) : ck_nomem(err, "asking a key provider");
}

static int call_grpc(const struct ck_client *c, const char *package, const char *method,
		     const struct ck_buf *req, uint64_t deadline_ms, struct ck_buf *answer,
		     struct ck_err *err)
{
	char path[64];

	snprintf(path, sizeof path, "/%s.KeyProviderService/%s", package, method);
	return ck_grpccall(c->grpc, path, req->data, req->len, deadline_ms, answer, err);
}

/* METHOD of ocicrypt's service, then of Microsoft's rename of it. */
static int ask_grpc(const struct ck_client *c, const char *method, const struct ck_buf *req,
		    uint64_t deadline_ms, struct ck_buf *answer, struct ck_err *err)
{
	int rc = call_grpc(c, "keyprovider", method, req, deadline_ms, answer, err);

	if (rc != -ENOSYS)
		return rc;
	struct ck_err first = *err;
	rc = call_grpc(c, "key_provider", method, req, deadline_ms, answer, err);
	if (rc == -ENOSYS)
		*err = first;
	return rc;
}

static int ask(const struct ck_client *c, const char *method, const struct ck_buf *req,
	       struct ck_buf *answer, struct ck_err *err)
{
	uint64_t deadline_ms = ck_now_ms() + DEADLINE_MS;

	if (c->argv)
		return ck_cmdcall(c->argv, req->data, req->len, deadline_ms, NULL, answer, err);
	return ask_grpc(c, method, req, deadline_ms, answer, err);
}

/* The bytes at FIELD of RESULTS, which may not be none. */
static int read_answer(const struct ck_buf *answer, const char *results, const char *field,
		       size_t max, struct ck_secret *out, struct ck_err *err)
{
	CK_JSON *doc = NULL;
	json_t *obj, *v;
	int rc;

	if ((rc = ck_json_parse_secret(&doc, answer->data, answer->len, "its answer", err)) < 0 ||
	    (rc = ck_gojson_get(&obj, doc, results, err)) < 0 ||
	    (rc = ck_gojson_get(&v, obj, field, err)) < 0 ||
	    (rc = ck_gojson_bytes(out, v, field, max, err)) < 0)
		return rc;
	return out->len ? 0 : ck_fail(err, -EBADMSG, "its answer has no \"%s\"", field);
}

static int with_name(const struct ck_client *c, int rc, const struct ck_err *why,
		     struct ck_err *err)
{
	return rc < 0 ? ck_fail(err, rc, "key provider %s: %s", c->name, why->msg) : 0;
}

int ck_client_unwrap(const struct ck_client *c, const void *packet, size_t len,
		     struct ck_secret *out, struct ck_err *err)
{
	CK_BUF req = { 0 }, answer = { .max = ANSWER_MAX };
	struct ck_err why = { 0 };
	int rc = unwrap_request(c, packet, len, &req, &why);

	if (rc == 0)
		rc = ask(c, "UnWrapKey", &req, &answer, &why);
	if (rc == 0)
		rc = read_answer(&answer, "keyunwrapresults", "optsdata", CK_PRIVOPTS_MAX, out,
				 &why);
	return with_name(c, rc, &why, err);
}

int ck_client_wrap(const struct ck_client *c, const struct ck_secret *opts, struct ck_buf *out,
		   struct ck_err *err)
{
	CK_BUF req = { 0 }, answer = { .max = ANSWER_MAX };
	CK_SECRET packet = { 0 };
	struct ck_err why = { 0 };
	int rc = wrap_request(c, opts, &req, &why);

	if (rc == 0)
		rc = ask(c, "WrapKey", &req, &answer, &why);
	if (rc == 0)
		rc = read_answer(&answer, "keywrapresults", "annotation", CK_ENVELOPE_PACKET_MAX,
				 &packet, &why);
	if (rc == 0)
		rc = ck_buf_add(out, packet.data, packet.len, &why);
	return with_name(c, rc, &why, err);
}
