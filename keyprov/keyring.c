#include "keyprov/keyring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "keyprov/client.h"
#include "keyprov/jwe.h"
#include "keyprov/kek.h"
#include "keyprov/pem.h"
#include "keyprov/privopts.h"

enum {
	KEYS_MAX = 64,
	/* Images can list recipients whose hosts are slow to fail; a mount may not wait
	 * for all of them. Checked before each attempt, which has a deadline of its own. */
	PATIENCE_MS = 120000,
};

struct key {
	enum { KEY_HSM, KEY_PROVIDER, KEY_PEM } kind;
	struct ck_client *client; /* KEY_PROVIDER */
	EVP_PKEY *pem;		  /* KEY_PEM */
};

struct ck_keyring {
	struct ck_attest *attest;
	struct key keys[KEYS_MAX];
	size_t n_keys;
	_Atomic uint64_t obtained_ms;
};

int ck_keyring_open(struct ck_keyring **out, struct ck_attest *attest, struct ck_err *err)
{
	struct ck_keyring *k = calloc(1, sizeof *k);

	if (!k)
		return ck_nomem(err, "making a keyring");
	k->attest = attest;
	*out = k;
	return 0;
}

void ck_keyring_close(struct ck_keyring *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->n_keys; i++) {
		ck_client_close(k->keys[i].client);
		EVP_PKEY_free(k->keys[i].pem);
	}
	free(k);
}

static int add_provider(struct key *key, const char *spec, struct ck_err *err)
{
	char name[CK_CLIENT_NAME_MAX];
	const char *value;
	int rc = ck_client_split(name, &value, spec, err);

	key->kind = KEY_PROVIDER;
	return rc < 0 ? rc : ck_client_open(&key->client, name, value, err);
}

int ck_keyring_add(struct ck_keyring *k, const char *spec, struct ck_err *err)
{
	static const char provider[] = "provider:";
	struct key key = { KEY_HSM, NULL, NULL };
	int rc = 0;

	if (k->n_keys == KEYS_MAX)
		return ck_fail(err, -EINVAL, "more than %d keys", KEYS_MAX);
	if (strcmp(spec, "hsm") == 0) {
		if (!k->attest)
			rc = ck_fail(err, -EINVAL,
				     "key \"hsm\" needs a configuration that names the HSM and "
				     "attestation hosts");
	} else if (strncmp(spec, provider, sizeof provider - 1) == 0) {
		rc = add_provider(&key, spec + sizeof provider - 1, err);
	} else {
		key.kind = KEY_PEM;
		rc = ck_pem_private(&key.pem, spec, err);
	}
	if (rc == 0)
		k->keys[k->n_keys++] = key;
	return rc;
}

/* "provider attestation-agent (key imagekey000)", "jwe (RSA-OAEP)": R for messages. */
static void describe(const struct ck_recipient *r, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s%s%.40s", ck_scheme_name(r->scheme), r->provider ? " " : "",
			 r->provider ? r->provider : "");

	if (n < 0 || (size_t)n >= cap)
		return;
	if (r->kid)
		snprintf(out + n, cap - (size_t)n, " (key %.60s)", r->kid);
	else if (r->wrap_type)
		snprintf(out + n, cap - (size_t)n, " (%.60s)", r->wrap_type);
}

/* Could KEY be meant for R? PEM keys are never for providers. */
static bool fits(const struct key *key, const struct ck_recipient *r)
{
	switch (key->kind) {
	case KEY_HSM:
		return r->scheme == CK_SCHEME_PROVIDER && r->kid && r->hsm_host;
	case KEY_PROVIDER:
		return r->scheme == CK_SCHEME_PROVIDER &&
		       strcmp(r->provider, ck_client_name(key->client)) == 0;
	case KEY_PEM:
		return r->scheme == CK_SCHEME_JWE;
	}
	return false;
}

static int unwrap_hsm(const struct ck_keyring *k, const struct ck_recipient *r,
		      struct ck_secret *out, struct ck_err *err)
{
	CK_PACKET packet = { 0 };
	struct ck_provider p = { .attest = k->attest };
	int rc = ck_packet_parse(&packet, r->packet, r->packet_len, err);

	return rc < 0 ? rc : ck_kek_unwrap(&p, &packet, out, err);
}

static int unwrap_pem(EVP_PKEY *pem, const struct ck_recipient *r, struct ck_secret *out,
		      struct ck_err *err)
{
	CK_AUTO(ck_jwe_freep) struct ck_jwe *jwe = NULL;
	int rc = ck_jwe_parse(&jwe, r->packet, r->packet_len, err);

	return rc < 0 ? rc : ck_jwe_open(jwe, pem, out, err);
}

/* What a packet held, as it came and as it reads. */
struct unwrapped {
	struct ck_secret opts;
	struct ck_layer_key *key;
};

static void unwrapped_free(struct unwrapped *u)
{
	ck_secret_free(&u->opts);
	ck_layer_key_free(u->key);
	u->key = NULL;
}

static void note_obtained(struct ck_keyring *k)
{
	uint64_t never = 0;

	atomic_compare_exchange_strong(&k->obtained_ms, &never, ck_now_ms());
}

static int try_key(struct ck_keyring *k, const struct key *key, const struct ck_recipient *r,
		   const struct ck_envelope *e, struct unwrapped *out, struct ck_err *err)
{
	int rc = -EINVAL;

	switch (key->kind) {
	case KEY_HSM:
		rc = unwrap_hsm(k, r, &out->opts, err);
		break;
	case KEY_PROVIDER:
		rc = ck_client_unwrap(key->client, r->packet, r->packet_len, &out->opts, err);
		break;
	case KEY_PEM:
		rc = unwrap_pem(key->pem, r, &out->opts, err);
		break;
	}
	if (rc == 0)
		rc = ck_privopts_read(&out->opts, e, &out->key, err);
	if (rc < 0)
		unwrapped_free(out); /* the next key starts afresh */
	else if (key->kind != KEY_PEM)
		note_obtained(k);
	return rc;
}

/* What was tried and why it failed, in so many words as a message has room for. */
struct report {
	char text[640];
	size_t len;
	int last; /* the last failure's code; 0: nothing fitted */
};

static void report_add(struct report *rep, const struct ck_recipient *r, const char *why)
{
	char who[160];
	size_t room = sizeof rep->text - rep->len;

	describe(r, who, sizeof who);
	int n = snprintf(rep->text + rep->len, room, "%s%s: %s", rep->len ? "; " : "", who, why);
	if (n > 0)
		rep->len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Tries all keys on all recipients; 0 as soon as one opens. */
static int try_all(struct ck_keyring *k, const struct ck_envelope *e, struct unwrapped *out,
		   struct report *rep)
{
	uint64_t start = ck_now_ms();

	for (size_t i = 0; i < k->n_keys; i++) {
		for (size_t n = 0; n < e->n_recipients; n++) {
			const struct ck_recipient *r = &e->recipients[n];
			struct ck_err why = { 0 };

			if (!fits(&k->keys[i], r))
				continue;
			if (ck_now_ms() - start > PATIENCE_MS) {
				report_add(rep, r, "not tried, the others took too long");
				return rep->last = -ETIMEDOUT;
			}
			int rc = try_key(k, &k->keys[i], r, e, out, &why);
			if (rc == 0)
				return 0;
			rep->last = rc;
			report_add(rep, r, why.msg);
		}
	}
	return rep->last ? rep->last : -ENOKEY;
}

/* Why no key of ours is for R. */
static const char *unfit(const struct ck_keyring *k, const struct ck_recipient *r)
{
	switch (r->scheme) {
	case CK_SCHEME_PKCS7:
	case CK_SCHEME_PGP:
	case CK_SCHEME_PKCS11:
		return "this scheme is not supported; encrypt for a provider or a JWE key";
	case CK_SCHEME_JWE:
		return "no PEM private key was given";
	case CK_SCHEME_PROVIDER:
		break;
	}
	for (size_t i = 0; i < k->n_keys; i++)
		if (k->keys[i].kind == KEY_HSM)
			return "not a packet of an HSM's key, and its provider was not given as "
			       "key";
	return "neither key \"hsm\" nor this provider was given";
}

static int nothing_fits(const struct ck_keyring *k, const struct ck_envelope *e, struct ck_err *err)
{
	struct report rep = { .len = 0 };

	if (e->n_recipients == 0)
		return ck_fail(err, -ENOKEY, "the layer's key is wrapped for nobody");
	for (size_t n = 0; n < e->n_recipients; n++)
		report_add(&rep, &e->recipients[n], unfit(k, &e->recipients[n]));
	return ck_fail(err, -ENOKEY, "no key fits: %s", rep.text);
}

static int unwrap(struct ck_keyring *k, const struct ck_envelope *e, struct unwrapped *out,
		  struct ck_err *err)
{
	struct report rep = { .len = 0 };
	int rc = ck_privopts_expected(e, err);

	if (rc < 0)
		return rc;
	rc = try_all(k, e, out, &rep);
	if (rc == 0)
		return 0;
	if (!rep.last)
		return nothing_fits(k, e, err);
	return ck_fail(err, rc, "the layer's key cannot be unwrapped: %s", rep.text);
}

uint64_t ck_keyring_obtained_ms(const struct ck_keyring *k)
{
	return atomic_load(&k->obtained_ms);
}

uint64_t ck_keyring_n_released(const struct ck_keyring *k)
{
	return k->attest ? ck_attest_n_released(k->attest) : 0;
}

int ck_keyring_unwrap(struct ck_keyring *k, const struct ck_envelope *e, struct ck_layer_key **out,
		      struct ck_err *err)
{
	CK_AUTO(unwrapped_free) struct unwrapped u = { .key = NULL };
	int rc = unwrap(k, e, &u, err);

	if (rc == 0)
		*out = ck_take(u.key);
	return rc;
}

int ck_keyring_unwrap_opts(struct ck_keyring *k, const struct ck_envelope *e,
			   struct ck_secret *opts, struct ck_err *err)
{
	CK_AUTO(unwrapped_free) struct unwrapped u = { .key = NULL };
	int rc = unwrap(k, e, &u, err);

	if (rc == 0) {
		*opts = u.opts;
		u.opts = (struct ck_secret){ 0 };
	}
	return rc;
}
