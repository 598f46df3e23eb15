#include "keyprov/client.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "keyprov/cmdcall.h"
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

	if (!path || !*path)
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

/* As ocicrypt writes it, both parameter objects always there: some servers insist. */
static int request(const struct ck_client *c, const void *packet, size_t len, struct ck_buf *out,
		   struct ck_err *err)
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

/* ocicrypt's service, then Microsoft's rename of it. */
static int ask_grpc(const struct ck_client *c, const struct ck_buf *req, uint64_t deadline_ms,
		    struct ck_buf *answer, struct ck_err *err)
{
	int rc = ck_grpccall(c->grpc, "/keyprovider.KeyProviderService/UnWrapKey", req->data,
			     req->len, deadline_ms, answer, err);

	if (rc != -ENOSYS)
		return rc;
	struct ck_err first = *err;
	rc = ck_grpccall(c->grpc, "/key_provider.KeyProviderService/UnWrapKey", req->data, req->len,
			 deadline_ms, answer, err);
	if (rc == -ENOSYS)
		*err = first;
	return rc;
}

static int read_answer(const struct ck_buf *answer, struct ck_secret *out, struct ck_err *err)
{
	CK_JSON *doc = NULL;
	json_t *results, *opts;
	int rc;

	if ((rc = ck_json_parse_secret(&doc, answer->data, answer->len, "its answer", err)) < 0 ||
	    (rc = ck_gojson_get(&results, doc, "keyunwrapresults", err)) < 0 ||
	    (rc = ck_gojson_get(&opts, results, "optsdata", err)) < 0 ||
	    (rc = ck_gojson_bytes(out, opts, "optsdata", CK_PRIVOPTS_MAX, err)) < 0)
		return rc;
	return out->len ? 0 : ck_fail(err, -EBADMSG, "its answer has no \"optsdata\"");
}

int ck_client_unwrap(const struct ck_client *c, const void *packet, size_t len,
		     struct ck_secret *out, struct ck_err *err)
{
	CK_BUF req = { 0 }, answer = { .max = ANSWER_MAX };
	uint64_t deadline_ms = ck_now_ms() + DEADLINE_MS;
	struct ck_err why = { 0 };
	int rc = request(c, packet, len, &req, &why);

	if (rc == 0 && c->argv)
		rc = ck_cmdcall(c->argv, req.data, req.len, deadline_ms, &answer, &why);
	else if (rc == 0)
		rc = ask_grpc(c, &req, deadline_ms, &answer, &why);
	if (rc == 0)
		rc = read_answer(&answer, out, &why);
	return rc < 0 ? ck_fail(err, rc, "key provider %s: %s", c->name, why.msg) : 0;
}
