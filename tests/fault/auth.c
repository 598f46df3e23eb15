#include "tests/fault/auth.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tests/fault/jwt.h"
#include "tests/fault/util.h"

struct token {
	struct token *next;
	char *text, *scopes; /* " repository:NAME:pull,push ..." */
	uint64_t until_us;
};

struct fr_auth {
	struct fr_auth_opts opts;
	struct fr_jwt *jwt;
	pthread_mutex_t mutex;
	struct token *tokens;
	uint64_t ttl_ms, says_s;
};

struct fr_auth *fr_auth_new(const struct fr_auth_opts *opts)
{
	struct fr_auth *a = fr_alloc(sizeof *a);

	a->opts = *opts;
	a->ttl_ms = 300000;
	if (opts->key_file)
		a->jwt = fr_jwt_open(opts->key_file, opts->cert_file);
	pthread_mutex_init(&a->mutex, NULL);
	return a;
}

void fr_auth_ttl(struct fr_auth *a, uint64_t ttl_ms, uint64_t says_s)
{
	pthread_mutex_lock(&a->mutex);
	a->ttl_ms = ttl_ms;
	a->says_s = says_s;
	pthread_mutex_unlock(&a->mutex);
}

void fr_auth_expire(struct fr_auth *a)
{
	pthread_mutex_lock(&a->mutex);
	for (struct token *t = a->tokens; t; t = t->next)
		t->until_us = 0;
	pthread_mutex_unlock(&a->mutex);
}

/* The credentials of a scheme; false: others, or none. */
static bool credentials(const struct fr_request *q, const char *scheme, char *out, size_t cap)
{
	char value[8192];
	size_t n = strlen(scheme);

	if (!fr_request_header(q, "Authorization", value, sizeof value) ||
	    strncasecmp(value, scheme, n) != 0 || value[n] != ' ')
		return false;
	(void)snprintf(out, cap, "%s", value + n + 1);
	return true;
}

static bool user_known(const struct fr_auth *a, const char *pair)
{
	for (size_t i = 0; a->opts.users[i]; i++)
		if (strcmp(a->opts.users[i], pair) == 0)
			return true;
	return false;
}

/* "NAME:PASSWORD" of a request with basic credentials. */
static bool basic(const struct fr_request *q, char *pair, size_t cap)
{
	char value[4096];

	return credentials(q, "Basic", value, sizeof value) &&
	       fr_base64_decode(value, pair, cap) > 0;
}

void fr_auth_who(const struct fr_request *q, char *out, size_t cap)
{
	char pair[4096], value[8];

	(void)snprintf(out, cap, "-");
	if (basic(q, pair, sizeof pair))
		(void)snprintf(out, cap, "Basic:%.*s", (int)strcspn(pair, ": "), pair);
	else if (fr_request_header(q, "Authorization", value, sizeof value))
		(void)snprintf(out, cap, "Bearer");
}

static bool covers(const char *scopes, const char *repo, const char *action)
{
	char want[1100];

	(void)snprintf(want, sizeof want, " repository:%s:", repo);
	const char *at = strstr(scopes, want);
	if (!at)
		return false;
	at += strlen(want);
	const char *found = strstr(at, action);
	return found && (size_t)(found - at) < strcspn(at, " ");
}

static bool token_good(struct fr_auth *a, const char *text, const struct fr_access *want)
{
	uint64_t now = fr_now_us();
	bool good = false;

	pthread_mutex_lock(&a->mutex);
	for (struct token *t = a->tokens; t && !good; t = t->next)
		good = now < t->until_us && strcmp(t->text, text) == 0 &&
		       (!want->repo || covers(t->scopes, want->repo, "pull")) &&
		       (!want->push || covers(t->scopes, want->repo, "push")) &&
		       (!want->from || covers(t->scopes, want->from, "pull"));
	pthread_mutex_unlock(&a->mutex);
	return good;
}

bool fr_auth_check(struct fr_auth *a, const struct fr_request *q, const struct fr_access *want,
		   const char *base, char *challenge, size_t cap)
{
	char given[8192];
	bool any = fr_request_header(q, "Authorization", given, 2);

	*challenge = 0;
	if (a->opts.mode == FR_OPEN)
		return true;
	if (a->opts.mode == FR_BASIC) {
		(void)snprintf(challenge, cap, "Basic realm=\"the %s, \\\"fault\\\"\"",
			       a->opts.service);
		return (!any && a->opts.anonymous && !want->push) ||
		       (basic(q, given, sizeof given) && user_known(a, given));
	}
	(void)snprintf(challenge, cap, "Bearer realm=\"%s/token\",service=\"%s\"", base,
		       a->opts.service);
	if (want->repo)
		fr_append(challenge, cap, ",scope=\"repository:%s:%s\"", want->repo,
			  want->push ? "pull,push" : "pull");
	if (!credentials(q, "Bearer", given, sizeof given))
		return false;
	fr_append(challenge, cap, ",error=\"invalid_token\"");
	return token_good(a, given, want);
}

/* ---- the token server ---- */

/* Who is there: a name, "" for nobody in particular; false: wrong credentials. */
static bool who(const struct fr_auth *a, const struct fr_request *q, const char *form, char *name,
		size_t cap)
{
	char pair[4096], user[1024], password[1024];

	*name = 0;
	if (form && fr_request_param(form, "refresh_token", pair, sizeof pair)) {
		(void)snprintf(name, cap, "identity");
		return a->opts.refresh && strcmp(pair, a->opts.refresh) == 0;
	}
	if (form && fr_request_param(form, "username", user, sizeof user)) {
		(void)fr_request_param(form, "password", password, sizeof password);
		(void)snprintf(pair, sizeof pair, "%s:%s", user, password);
	} else if (!basic(q, pair, sizeof pair)) {
		return !fr_request_header(q, "Authorization", pair, sizeof pair);
	}
	(void)snprintf(name, cap, "%.*s", (int)strcspn(pair, ":"), pair);
	return user_known(a, pair);
}

/* Adds what NAME gets of a scope "repository:NAME:ACTION,ACTION". */
static void grant(const struct fr_auth *a, const char *scope, bool named, json_t *access,
		  char *scopes, size_t cap)
{
	const char *name = strchr(scope, ':'), *actions = strrchr(scope, ':');
	json_t *got = json_array();
	bool pull = named || a->opts.anonymous;

	if (strncmp(scope, "repository:", 11) != 0 || actions == name) {
		json_decref(got);
		return;
	}
	if (pull && strstr(actions, "pull"))
		json_array_append_new(got, json_string("pull"));
	if (named && strstr(actions, "push"))
		json_array_append_new(got, json_string("push"));
	fr_append(scopes, cap, " repository:%.*s:%s%s", (int)(actions - name - 1), name + 1,
		  pull ? "pull" : "", named && strstr(actions, "push") ? ",push" : "");
	json_array_append_new(access,
			      json_pack("{s:s, s:s%, s:o}", "type", "repository", "name", name + 1,
					(size_t)(actions - name - 1), "actions", got));
}

/* Every "scope" of a query or form, each of which may hold several. */
static json_t *grant_all(const struct fr_auth *a, const char *text, bool named, char *scopes,
			 size_t cap)
{
	json_t *access = json_array();
	char all[4096], *save = NULL;

	for (const char *at = text; *at; at += strcspn(at, "&"), at += *at == '&') {
		if (strncmp(at, "scope=", 6) != 0)
			continue;
		(void)fr_request_param(at, "scope", all, sizeof all);
		for (char *s = strtok_r(all, " ", &save); s; s = strtok_r(NULL, " ", &save))
			grant(a, s, named, access, scopes, cap);
	}
	return access;
}

static char *make_token(struct fr_auth *a, const char *name, json_t *access)
{
	unsigned char noise[24];
	time_t now = time(NULL);

	RAND_bytes(noise, sizeof noise);
	char *id = fr_base64_encode(noise, sizeof noise, true);
	if (!a->jwt)
		return id;
	json_t *claims = json_pack(
	    "{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:O}", "iss", a->opts.issuer, "sub", name, "aud",
	    a->opts.service, "exp", (json_int_t)now + (json_int_t)(a->ttl_ms / 1000), "nbf",
	    (json_int_t)(now - 5), "iat", (json_int_t)now, "jti", id, "access", access);
	char *token = fr_jwt_sign(a->jwt, claims);
	json_decref(claims);
	free(id);
	return token;
}

static char *remember(struct fr_auth *a, char *text, const char *scopes, bool oauth)
{
	struct token *t = fr_alloc(sizeof *t);

	t->text = text;
	t->scopes = fr_copy(scopes);
	pthread_mutex_lock(&a->mutex);
	t->until_us = fr_now_us() + a->ttl_ms * 1000;
	t->next = a->tokens;
	a->tokens = t;
	uint64_t says = a->says_s ? a->says_s : a->ttl_ms / 1000;
	pthread_mutex_unlock(&a->mutex);
	json_t *doc = json_pack("{s:s}", oauth ? "access_token" : "token", text);
	if (says != UINT64_MAX)
		json_object_set_new(doc, "expires_in", json_integer((json_int_t)says));
	char *out = json_dumps(doc, JSON_COMPACT);
	json_decref(doc);
	return out;
}

int fr_auth_token(struct fr_auth *a, struct fr_request *q, char **doc)
{
	char name[256], scopes[4096] = "", service[256];
	size_t len;
	bool post = strcmp(q->method, "POST") == 0;
	char *form = post ? fr_request_whole(q, 64 << 10, &len) : NULL;
	const char *text = form ? form : q->query;

	(void)fr_request_param(text, "service", service, sizeof service);
	if (!who(a, q, form, name, sizeof name) || strcmp(service, a->opts.service) != 0) {
		*doc = fr_copy("{\"details\":\"incorrect username or password\"}");
		free(form);
		return 401;
	}
	json_t *access = grant_all(a, text, name[0] != 0, scopes, sizeof scopes);
	*doc = remember(a, make_token(a, name, access), scopes, post);
	json_decref(access);
	free(form);
	return 200;
}
