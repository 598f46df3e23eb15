#include "keyprov/recipients.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/client.h"
#include "keyprov/envelope.h"
#include "keyprov/jweseal.h"
#include "keyprov/kek.h"
#include "keyprov/newopts.h"
#include "keyprov/pem.h"
#include "keyprov/privopts.h"
#include "keyprov/protocol.h"

struct recipient {
	char *spec;	  /* for messages; without a provider's VALUE */
	char *annotation; /* its name */
	/* One of these: */
	struct ck_client *client;
	struct ck_kek kek;
	EVP_PKEY *pem;
};

struct ck_recipients {
	const struct ck_provider *own;
	struct recipient list[CK_ENVELOPE_RECIPIENTS_MAX];
	size_t n;
};

int ck_recipients_open(struct ck_recipients **out, const struct ck_provider *own,
		       struct ck_err *err)
{
	struct ck_recipients *r = calloc(1, sizeof *r);

	if (!r)
		return ck_nomem(err, "making a list of recipients");
	r->own = own;
	*out = r;
	return 0;
}

static void recipient_free(struct recipient *r)
{
	free(r->spec);
	free(r->annotation);
	ck_client_close(r->client);
	ck_kek_free(&r->kek);
	EVP_PKEY_free(r->pem);
}

void ck_recipients_close(struct ck_recipients *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		recipient_free(&r->list[i]);
	free(r);
}

size_t ck_recipients_count(const struct ck_recipients *r)
{
	return r->n;
}

/* SPEC is PREFIX NAME, the annotation KEYS NAME. */
static int set_names(struct recipient *r, const char *prefix, const char *keys, const char *name,
		     struct ck_err *err)
{
	if (asprintf(&r->spec, "%s%s", prefix, name) < 0)
		r->spec = NULL;
	if (asprintf(&r->annotation, "%s%s", keys, name) < 0)
		r->annotation = NULL;
	return r->spec && r->annotation ? 0 : ck_nomem(err, "adding a recipient");
}

/* A key that OWN wraps with. Ours or nobody's: no provider is configured. */
static int add_own(struct recipient *r, const struct ck_provider *own, const char *name,
		   const char *value, struct ck_err *err)
{
	char kid[CK_KID_MAX];

	if (!own || !value || !ck_agent_parse(kid, value))
		return ck_fail(err, -EINVAL,
			       "set OCICRYPT_KEYPROVIDER_CONFIG to the file that says how to reach "
			       "this provider%s%s%s",
			       own ? ", or name a key of the HSM: provider:" : "", own ? name : "",
			       own ? ":aasp:<key id>" : "");
	if (!kid[0])
		return ck_fail(err, -EINVAL, "it names no key: provider:%s:aasp:<key id>", name);
	return ck_kek_find(&r->kek, own, kid, err);
}

static int add_provider(struct recipient *r, const struct ck_provider *own, const char *spec,
			struct ck_err *err)
{
	char name[CK_CLIENT_NAME_MAX];
	const char *value;
	int rc = ck_client_split(name, &value, spec, err);

	if (rc < 0 || (rc = set_names(r, "provider:", CK_ENC_PROVIDER, name, err)) < 0)
		return rc;
	CK_JSON *text = json_string(name);
	if (!text)
		return ck_fail(err, -EINVAL, "key \"provider:%s\" is not UTF-8", name);
	if (ck_client_configured())
		return ck_client_open(&r->client, name, value, err);
	rc = add_own(r, own, name, value, err);
	return rc < 0 ? ck_wrap(err, "recipient %s", r->spec) : 0;
}

static int add_pem(struct recipient *r, const char *path, struct ck_err *err)
{
	int rc = set_names(r, path, CK_ENC_JWE, "", err);

	return rc < 0 ? rc : ck_pem_recipient(&r->pem, path, err);
}

/* A packet of OPTS for R, appended to OUT. */
static int make_packet(const struct recipient *r, const struct ck_secret *opts, struct ck_buf *out,
		       struct ck_err *err)
{
	int rc;

	if (r->client)
		rc = ck_client_wrap(r->client, opts, out, err);
	else if (r->pem)
		rc = ck_jwe_seal(r->pem, opts, out, err);
	else
		rc = ck_kek_seal(&r->kek, opts->data, opts->len, out, err);
	return rc < 0 ? ck_wrap(err, "wrapping a layer's key for %s", r->spec) : 0;
}

/* A key that is here wraps something, or it would fail after the layer's work is done. */
static int try_out(const struct recipient *r, struct ck_err *err)
{
	CK_SECRET nothing = { 0 };
	CK_BUF packet = { 0 };
	int rc = r->client ? 0 : ck_secret_new(&nothing, 1, err);

	return rc < 0 || r->client ? rc : make_packet(r, &nothing, &packet, err);
}

int ck_recipients_add(struct ck_recipients *r, const char *spec, struct ck_err *err)
{
	static const char provider[] = "provider:";
	struct recipient new = { .spec = NULL };
	int rc;

	if (r->n == CK_ENVELOPE_RECIPIENTS_MAX)
		return ck_fail(err, -EINVAL, "more than %d recipients", CK_ENVELOPE_RECIPIENTS_MAX);
	if (strncmp(spec, provider, sizeof provider - 1) == 0)
		rc = add_provider(&new, r->own, spec + sizeof provider - 1, err);
	else if (strcmp(spec, "hsm") == 0)
		rc = ck_fail(err, -EINVAL,
			     "key \"hsm\" does not say which key to encrypt for; use "
			     "provider:attestation-agent:aasp:<key id>");
	else
		rc = add_pem(&new, spec, err);
	if (rc == 0)
		rc = try_out(&new, err);
	if (rc < 0)
		recipient_free(&new);
	else
		r->list[r->n++] = new;
	return rc;
}

/* Puts PACKET behind what ANNOTATIONS hold at NAME. */
static int append(json_t *annotations, const char *name, const struct ck_buf *packet,
		  struct ck_err *err)
{
	CK_BUF value = { 0 };
	const char *old;
	int rc = ck_json_str(&old, annotations, name, false, err);

	if (rc == 0 && old && *old)
		rc = ck_buf_addf(&value, err, "%s,", old);
	if (rc == 0)
		rc = ck_b64_encode(&value, CK_B64_STD, packet->data, packet->len, err);
	if (rc == 0 && json_object_set_new(annotations, name, json_string(ck_buf_str(&value))) < 0)
		rc = ck_nomem(err, "adding a packet");
	return rc;
}

/* Instead of json_copy, which leaves members out when memory runs out, and does not say so. */
static json_t *copy(const json_t *annotations)
{
	CK_JSON *c = json_object();

	return c && json_object_update(c, (json_t *)(uintptr_t)annotations) == 0 ? ck_take(c)
										 : NULL;
}

/* Whether envelope.h reads ANNOTATIONS. Public options may come later. */
static int check(const json_t *annotations, struct ck_err *err)
{
	static const struct ck_layer_key any = { .cipher = CK_LAYER_CHUNKED };
	CK_AUTO(ck_envelope_freep) struct ck_envelope *e = NULL;
	CK_JSON *whole = copy(annotations);
	int rc = 0;

	if (!whole)
		return ck_nomem(err, "adding packets");
	if (!json_object_get(whole, CK_ENC_PUBOPTS))
		rc = ck_newopts_public(whole, &any, err);
	if (rc == 0)
		rc = ck_envelope_parse(&e, whole, err);
	return rc < 0 ? ck_wrap(err, "a layer's key cannot be wrapped for all recipients") : 0;
}

/* Makes ANNOTATIONS what NEW is. A failure is undone in an order that takes no memory: with
 * as many members as before, the table has room for them. */
static int commit(json_t *annotations, json_t *new, struct ck_err *err)
{
	CK_JSON *old = copy(annotations);
	const char *name;
	json_t *v;

	if (!old)
		return ck_nomem(err, "adding packets");
	if (json_object_update(annotations, new) == 0)
		return 0;
	json_object_foreach (new, name, v)
		if (!json_object_get(old, name))
			(void)json_object_del(annotations, name);
	json_object_foreach (old, name, v)
		(void)json_object_set(annotations, name, v);
	return ck_nomem(err, "adding packets");
}

int ck_recipients_wrap(const struct ck_recipients *r, const struct ck_secret *opts,
		       json_t *annotations, struct ck_err *err)
{
	int rc;

	if (r->n == 0)
		return ck_fail(err, -EINVAL, "there is nobody to wrap a layer's key for");
	if (opts->len == 0 || opts->len > CK_PRIVOPTS_MAX)
		return ck_fail(err, -EINVAL, "private options of %zu bytes; 1 to %d are allowed",
			       opts->len, CK_PRIVOPTS_MAX);
	if (!json_is_object(annotations))
		return ck_fail(err, -EINVAL, "the annotations are not a JSON object");
	CK_JSON *new = copy(annotations);
	if (!new)
		return ck_nomem(err, "adding packets");
	for (size_t i = 0; i < r->n; i++) {
		CK_BUF packet = { 0 };
		if ((rc = make_packet(&r->list[i], opts, &packet, err)) < 0 ||
		    (rc = append(new, r->list[i].annotation, &packet, err)) < 0)
			return rc;
	}
	rc = check(new, err);
	return rc < 0 ? rc : commit(annotations, new, err);
}
