#include "fs/registry/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/text.h"
#include "fs/registry/authfile.h"
#include "fs/registry/challenge.h"
#include "fs/registry/registry.h"
#include "fs/registry/token.h"

enum { SPARE_MS = 10000, TICK_MS = 50, GRANTS_MAX = 64 };

/* What one kind of request is let in with. */
struct grant {
	struct grant *next;
	bool push;
	char *mount_from;	    /* NULL: none */
	struct ck_challenge asked;  /* the bearer challenge that it answers */
	struct ck_buf header;	    /* "Authorization: ...", empty: none yet */
	uint64_t till_ms;	    /* when another is got; of ck_now_ms */
	char whose[CK_CREDS_WHOSE]; /* the credentials are that it was got with, "": none */
};

struct ck_auth {
	char *file, *host, *repo;
	struct ck_http *http;
	pthread_mutex_t lock;
	pthread_cond_t free; /* no thread is getting anything */
	bool busy;	     /* one is; all below is its own as long as that is set */
	struct grant *grants;
	unsigned n_grants;
};

static void grant_free(struct grant *g)
{
	free(g->mount_from);
	ck_challenge_free(&g->asked);
	ck_buf_free(&g->header);
	free(g);
}

void ck_auth_free(struct ck_auth *a)
{
	if (!a)
		return;
	for (struct grant *g = a->grants, *next; g; g = next) {
		next = g->next;
		grant_free(g);
	}
	pthread_cond_destroy(&a->free);
	pthread_mutex_destroy(&a->lock);
	free(a->file);
	free(a->host);
	free(a->repo);
	free(a);
}

struct ck_auth *ck_auth_new(const struct ck_auth_opts *o)
{
	struct ck_auth *a = calloc(1, sizeof *a);
	pthread_condattr_t attr;

	if (!a)
		return NULL;
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->free, &attr);
	pthread_condattr_destroy(&attr);
	a->http = o->http;
	a->file = o->file ? strdup(o->file) : NULL;
	a->host = strdup(o->host);
	a->repo = strdup(o->repo);
	if ((o->file && !a->file) || !a->host || !a->repo) {
		ck_auth_free(a);
		return NULL;
	}
	return a;
}

/* Becomes the one thread that works on A. Errors: -ECANCELED, -ETIMEDOUT. */
static int enter(struct ck_auth *a, const struct ck_auth_need *need, struct ck_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&a->lock);
	while (a->busy && rc == 0) {
		uint64_t now = ck_now_ms(), till = now + TICK_MS;
		struct timespec t = { (time_t)(till / 1000), (long)(till % 1000) * 1000000 };
		if (need->cancel && atomic_load(need->cancel))
			rc = ck_fail(err, -ECANCELED, "the request was given up");
		else if (now >= need->deadline_ms)
			rc = ck_fail(err, -ETIMEDOUT, "no time is left to get a token");
		else
			(void)pthread_cond_timedwait(&a->free, &a->lock, &t);
	}
	if (rc == 0)
		a->busy = true;
	pthread_mutex_unlock(&a->lock);
	return rc;
}

static void leave(struct ck_auth *a)
{
	pthread_mutex_lock(&a->lock);
	a->busy = false;
	pthread_cond_broadcast(&a->free);
	pthread_mutex_unlock(&a->lock);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct grant *find(struct ck_auth *a, const struct ck_auth_need *need)
{
	struct grant *g = a->grants;

	while (g && (g->push != need->push || !same(g->mount_from, need->mount_from)))
		g = g->next;
	return g;
}

static struct grant *find_or_make(struct ck_auth *a, const struct ck_auth_need *need)
{
	struct grant *g = find(a, need);

	if (g)
		return g;
	/* One that mounts from everywhere must not gather tokens without end. */
	while (a->n_grants >= GRANTS_MAX) {
		struct grant *first = a->grants;
		a->grants = first->next;
		a->n_grants--;
		grant_free(first);
	}
	g = calloc(1, sizeof *g);
	if (!g || (need->mount_from && !(g->mount_from = strdup(need->mount_from)))) {
		free(g);
		return NULL;
	}
	g->push = need->push;
	g->next = a->grants;
	a->grants = g;
	a->n_grants++;
	return g;
}

static bool nobody(const struct ck_creds *c)
{
	return !c->user.len && !c->identity.len && !c->bearer.len;
}

/* HEADER, which is taken, is good until it is refused. */
static void keep(struct grant *g, struct ck_buf *header)
{
	ck_buf_free(&g->header);
	g->header = *header;
	*header = (struct ck_buf){ 0 };
	g->till_ms = UINT64_MAX;
}

/* The challenge's scope, and what else the request needs. */
static int get_token(struct ck_auth *a, struct grant *g, const struct ck_auth_need *need,
		     const struct ck_creds *creds, struct ck_err *err)
{
	CK_BUF own = { 0 }, from = { 0 }, token = { 0 };
	const char *scopes[2];
	size_t n = 0;
	uint64_t lifetime_ms;
	int rc =
	    ck_buf_addf(&own, err, "repository:%s:%s", a->repo, need->push ? "pull,push" : "pull");

	if (rc == 0 && need->mount_from)
		rc = ck_buf_addf(&from, err, "repository:%s:pull", need->mount_from);
	if (rc < 0)
		return rc;
	scopes[n++] = g->asked.scope && *g->asked.scope ? g->asked.scope : ck_buf_str(&own);
	if (from.len && !strstr(scopes[0], ck_buf_str(&from)))
		scopes[n++] = ck_buf_str(&from);
	const struct ck_token_req req = {
		.http = a->http,
		.realm = g->asked.realm,
		.service = g->asked.service,
		.scopes = scopes,
		.n_scopes = n,
		.creds = creds,
		.deadline_ms = need->deadline_ms,
		.cancel = need->cancel,
	};
	rc = ck_token_get(&token, &lifetime_ms, &req, err);
	if (rc < 0)
		return rc;
	ck_buf_free(&g->header);
	rc = ck_buf_adds(&g->header, "Authorization: Bearer ", err);
	if (rc == 0)
		rc = ck_buf_add(&g->header, token.data, token.len, err);
	/* Not to be on its way when it expires. */
	uint64_t spare = lifetime_ms / 4 < SPARE_MS ? lifetime_ms / 4 : SPARE_MS;
	g->till_ms = ck_now_ms() + lifetime_ms - spare;
	return rc;
}

/* The token of a file, as it is. */
static int use_fixed(struct grant *g, const struct ck_creds *creds, const char *sent,
		     struct ck_err *err)
{
	CK_BUF header = { 0 };
	int rc =
	    ck_buf_addf(&header, err, "Authorization: Bearer %s", (const char *)creds->bearer.data);

	if (rc < 0)
		return rc;
	ck_creds_whose(g->whose, creds);
	if (strcmp(sent, ck_buf_str(&header)) == 0)
		return ck_fail(err, -EACCES, "the token from %s was refused (" CK_ADVICE_LOGIN ")",
			       creds->source);
	keep(g, &header);
	return 0;
}

static int find_creds(struct ck_creds *out, const struct ck_auth *a,
		      const struct ck_auth_need *need, struct ck_err *err)
{
	return ck_authfile_find(out, a->file, a->host, a->repo, need->deadline_ms, need->cancel,
				err);
}

static int use_bearer(struct ck_auth *a, struct grant *g, const struct ck_auth_need *need,
		      const char *origin, const char *sent, struct ck_err *err)
{
	CK_CREDS creds = { 0 };
	int rc = find_creds(&creds, a, need, err);

	if (rc < 0)
		return rc;
	if (creds.bearer.len)
		return use_fixed(g, &creds, sent, err);
	if (!g->asked.realm)
		return ck_fail(err, -EPROTO,
			       "the registry asks for a token, and says not from where");
	rc = ck_token_realm_check(g->asked.realm, origin, !nobody(&creds), err);
	ck_creds_whose(g->whose, &creds);
	return rc < 0 ? rc : get_token(a, g, need, &creds, err);
}

static int use_basic(struct ck_auth *a, struct grant *g, const struct ck_auth_need *need,
		     const char *sent, struct ck_err *err)
{
	CK_CREDS creds = { 0 };
	CK_BUF pair = { 0 }, header = { 0 };
	int rc = find_creds(&creds, a, need, err);

	if (rc < 0)
		return rc;
	if (!creds.user.len)
		return ck_fail(
		    err, -EACCES,
		    "it asks for a name and a password, and none were found for %s/%s%s%s "
		    "(" CK_ADVICE_LOGIN ")",
		    a->host, a->repo, creds.source[0] ? ", only a token from " : "", creds.source);
	rc = ck_buf_addf(&pair, err, "%s:%s", (const char *)creds.user.data,
			 (const char *)creds.password.data);
	if (rc == 0)
		rc = ck_buf_adds(&header, "Authorization: Basic ", err);
	if (rc == 0)
		rc = ck_b64_encode(&header, CK_B64_STD, pair.data, pair.len, err);
	if (rc < 0)
		return rc;
	ck_creds_whose(g->whose, &creds);
	if (strcmp(sent, ck_buf_str(&header)) == 0)
		return ck_fail(err, -EACCES, "credentials %s were refused (" CK_ADVICE_LOGIN ")",
			       g->whose);
	keep(g, &header);
	return 0;
}

/* Reads all challenges of RES. */
static int read_challenges(struct ck_challenge *c, const struct ck_http_res *res,
			   struct ck_err *err)
{
	const char *v = NULL;
	int rc = 0;

	while (rc == 0 && (v = ck_http_res_header_next(res, "WWW-Authenticate", v)))
		rc = ck_challenge_parse(c, v, err);
	/* What follows one that can be met does not matter. */
	if (c->bearer || c->basic || rc == -ENOMEM)
		return rc == -ENOMEM ? rc : 0;
	if (rc < 0)
		return -EPROTO;
	return ck_fail(err, -EACCES,
		       "the registry answered 401, and asks for nothing that can be given");
}

static int meet(struct ck_auth *a, const struct ck_auth_need *need, const char *origin,
		const char *sent, const struct ck_http_res *res, struct ck_err *err)
{
	CK_AUTO(ck_challenge_free) struct ck_challenge c = { 0 };
	struct grant *g = find_or_make(a, need);

	if (!g)
		return ck_nomem(err, "remembering a token");
	/* Another thread has got a new one meanwhile. */
	if (g->header.len && strcmp(ck_buf_str(&g->header), sent) != 0 && ck_now_ms() < g->till_ms)
		return 0;
	int rc = read_challenges(&c, res, err);
	if (rc < 0)
		return rc;
	if (!c.bearer)
		return use_basic(a, g, need, sent, err);
	ck_challenge_free(&g->asked);
	g->asked = c;
	c = (struct ck_challenge){ 0 };
	return use_bearer(a, g, need, origin, sent, err);
}

int ck_auth_challenged(struct ck_auth *a, const struct ck_auth_need *need, const char *origin,
		       const char *sent, const struct ck_http_res *res, struct ck_err *err)
{
	int rc = enter(a, need, err);

	if (rc < 0)
		return rc;
	rc = meet(a, need, origin, sent, res, err);
	leave(a);
	return rc;
}

void ck_auth_tell(struct ck_auth *a, const struct ck_auth_need *need, char *out, size_t cap)
{
	*out = 0;
	if (enter(a, need, NULL) < 0)
		return;
	const struct grant *g = find(a, need);
	if (g && g->whose[0])
		snprintf(out, cap, "asked with credentials %s; for others, " CK_ADVICE_LOGIN,
			 g->whose);
	else
		snprintf(out, cap, "asked without credentials; " CK_ADVICE_LOGIN);
	leave(a);
}

int ck_auth_header(struct ck_auth *a, const struct ck_auth_need *need, const char *origin,
		   struct ck_buf *header, struct ck_err *err)
{
	int rc = enter(a, need, err);

	if (rc < 0)
		return rc;
	struct grant *g = find(a, need);
	if (g && g->header.len && ck_now_ms() >= g->till_ms)
		rc = use_bearer(a, g, need, origin, "", err);
	if (rc == 0 && g && g->header.len)
		rc = ck_buf_add(header, g->header.data, g->header.len, err);
	leave(a);
	return rc;
}
