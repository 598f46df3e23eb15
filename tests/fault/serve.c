/*
 * serve - connections and their requests: what each is about, who may, and what goes wrong.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/answer.h"

static const char oci_index[] = "application/vnd.oci.image.index.v1+json";

/* What a path below /v2/ is about. */
struct place {
	char repo[1024];
	char *rest;
	enum { AT_ROOT, AT_MANIFEST, AT_UPLOAD, AT_BLOB, AT_TAGS, AT_REFERRERS, NOWHERE } kind;
};

static void find_place(const char *path, struct place *p)
{
	static const char *const parts[] = { "/manifests/", "/blobs/uploads", "/blobs/",
					     "/tags/list", "/referrers/" };

	p->kind = NOWHERE;
	p->repo[0] = 0;
	if (strcmp(path, "/v2/") == 0 || strcmp(path, "/v2") == 0)
		p->kind = AT_ROOT;
	if (strncmp(path, "/v2/", 4) != 0)
		return;
	(void)snprintf(p->repo, sizeof p->repo, "%s", path + 4);
	for (int i = 0; i < 5 && p->kind == NOWHERE; i++) {
		char *at = strstr(p->repo, parts[i]);
		if (!at)
			continue;
		*at = 0;
		p->rest = at + strlen(parts[i]);
		if (*p->rest == '/')
			p->rest++;
		p->kind = AT_MANIFEST + i;
	}
}

static bool reads(const struct fr_exchange *x)
{
	return strcmp(x->q.method, "GET") == 0 || strcmp(x->q.method, "HEAD") == 0;
}

static void send_manifest(struct fr_exchange *x, const struct place *p)
{
	const struct fr_manifest *m = fr_store_manifest(x->server->store, p->repo, p->rest);
	struct fr_answer a = { .status = 200 };

	if (!m) {
		bool known = fr_store_known(x->server->store, p->repo);
		fr_answer_error(x, 404, known ? "MANIFEST_UNKNOWN" : "NAME_UNKNOWN",
				known ? "manifest unknown"
				      : "repository name not known to registry");
		return;
	}
	a.type = m->type;
	a.bytes = (struct fr_bytes){ -1, (const uint8_t *)m->doc, m->len };
	if (x->f.swap && !fr_store_other(x->server->store, p->repo, m->digest, &a.other))
		a.other.len = 0;
	fr_append(a.headers, sizeof a.headers, "Docker-Content-Digest: %s\r\nEtag: \"%s\"\r\n",
		  m->digest, m->digest);
	fr_answer(x, &a);
	if (a.other.len)
		fr_bytes_close(&a.other);
}

static void send_json(struct fr_exchange *x, json_t *doc, const char *type, const char *headers)
{
	char *text = json_dumps(doc, JSON_COMPACT);

	fr_answer_text(x, 200, type, text, headers);
	free(text);
	json_decref(doc);
}

static void send_tags(struct fr_exchange *x, const struct place *p)
{
	if (!fr_store_known(x->server->store, p->repo)) {
		fr_answer_error(x, 404, "NAME_UNKNOWN", "repository name not known to registry");
		return;
	}
	send_json(x,
		  json_pack("{s:s, s:o}", "name", p->repo, "tags",
			    fr_store_tags(x->server->store, p->repo)),
		  "application/json", NULL);
}

static void send_referrers(struct fr_exchange *x, const struct place *p)
{
	char type[256];

	if (x->server->no_referrers) {
		fr_answer_text(x, 404, "text/plain; charset=utf-8", "404 page not found\n", NULL);
		return;
	}
	bool some = fr_request_param(x->q.query, "artifactType", type, sizeof type);
	send_json(x, fr_store_referrers(x->server->store, p->repo, p->rest, some ? type : NULL),
		  oci_index, some ? "OCI-Filters-Applied: artifactType\r\n" : NULL);
}

static void send_token(struct fr_exchange *x)
{
	char *doc = NULL;
	int status = fr_auth_token(x->server->auth, &x->q, &doc);

	fr_answer_text(x, status, "application/json", doc, NULL);
	free(doc);
}

/* Whether the request may do what it asks for; answers where not. */
static bool may(struct fr_exchange *x, const struct place *p, bool expired)
{
	char challenge[1600], headers[1700] = "", from[1024] = "";
	struct fr_access want = { p->kind == AT_ROOT ? NULL : p->repo, !reads(x), NULL };

	if (p->kind == AT_UPLOAD)
		want.push = true;
	if (want.push && fr_request_param(x->q.query, "from", from, sizeof from))
		want.from = from;
	if (fr_auth_check(x->server->auth, &x->q, &want, x->base, challenge, sizeof challenge) &&
	    !expired)
		return true;
	if (challenge[0])
		fr_append(headers, sizeof headers, "WWW-Authenticate: %s\r\n", challenge);
	fr_answer_text(
	    x, 401, "application/json",
	    "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\","
	    "\"detail\":null}]}\n",
	    headers);
	return false;
}

static void at_registry(struct fr_exchange *x)
{
	struct place p;

	find_place(x->q.path, &p);
	if (x->door == FR_TOKEN) {
		send_token(x);
		return;
	}
	if (!may(x, &p, x->f.status == 401))
		return;
	if (p.kind == AT_ROOT)
		fr_answer_text(x, 200, "application/json", "{}", NULL);
	else if (p.kind == AT_UPLOAD)
		fr_push_upload(x, p.repo, p.rest);
	else if (p.kind == AT_MANIFEST && strcmp(x->q.method, "PUT") == 0)
		fr_push_manifest(x, p.repo, p.rest);
	else if (!reads(x) || p.kind == NOWHERE)
		fr_answer_error(x, reads(x) ? 404 : 405, "UNSUPPORTED",
				"The operation is unsupported.");
	else if (p.kind == AT_MANIFEST)
		send_manifest(x, &p);
	else if (p.kind == AT_BLOB && x->server->redirect)
		fr_redirect(x, p.repo, p.rest);
	else if (p.kind == AT_BLOB)
		fr_send_blob(x, p.repo, p.rest);
	else if (p.kind == AT_TAGS)
		send_tags(x, &p);
	else
		send_referrers(x, &p);
}

static void fail_with_status(struct fr_exchange *x)
{
	char headers[64] = "";

	if (x->f.retry)
		fr_append(headers, sizeof headers, "Retry-After: %" PRIu64 "\r\n", x->f.retry_s);
	fr_answer_text(x, (int)x->f.status, "application/json",
		       "{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"told to fail\"}]}\n",
		       headers);
}

/* What the plan says of the whole answer; else what was asked for. */
static void answer(struct fr_exchange *x)
{
	static const char page[] =
	    "<!DOCTYPE html>\n<html><head><title>Something went wrong</title>"
	    "</head><body>Please try again later.</body></html>\n";
	char headers[600] = "";

	if (x->f.delay_ms && fr_wire_gone(x->wire, (int)x->f.delay_ms)) {
		x->over = true;
	} else if (x->f.page) {
		fr_answer_text(x, 200, "text/html; charset=utf-8", page, NULL);
	} else if (x->f.redirect[0]) {
		fr_append(headers, sizeof headers, "Location: %s\r\n", x->f.redirect);
		fr_answer_none(x, 307, headers);
	} else if (x->f.status && (x->f.status != 401 || x->door != FR_REGISTRY)) {
		fail_with_status(x);
	} else if (x->door == FR_BLOBS) {
		fr_redirected(x);
	} else {
		at_registry(x);
	}
}

/* TIME DOOR METHOD TARGET RANGE STATUS BYTES WHO RULES MILLISECONDS */
static void log_line(const struct fr_exchange *x, uint64_t from_us)
{
	static const char *const doors[] = { "registry", "blobs", "token" };
	char range[128], who[256], line[2048];
	struct timespec t;

	if (x->server->log < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	if (!fr_request_header(&x->q, "Range", range, sizeof range))
		(void)snprintf(range, sizeof range, "-");
	fr_auth_who(&x->q, who, sizeof who);
	int n = snprintf(
	    line, sizeof line, "%lld.%03ld %s %s %.1000s %s %d %" PRIu64 " %s %s %" PRIu64 "\n",
	    (long long)t.tv_sec, t.tv_nsec / 1000000, doors[x->door], x->q.method, x->q.target,
	    range, x->status, x->sent, who, x->f.rules, (fr_now_us() - from_us) / 1000);
	if (write(x->server->log, line, (size_t)n) != n)
		fr_die("cannot write the log");
}

static void busy(struct fr_server *s, int by)
{
	pthread_mutex_lock(&s->mutex);
	s->n_busy += (uint64_t)by;
	s->n_requests += by > 0;
	if (s->n_busy == 0)
		pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static void count_bytes(struct fr_exchange *x)
{
	pthread_mutex_lock(&x->server->mutex);
	x->server->n_bytes[x->door == FR_BLOBS] += x->sent;
	pthread_mutex_unlock(&x->server->mutex);
}

/* One request; false: the connection ends. */
static bool exchange(struct fr_exchange *x)
{
	struct fr_server *s = x->server;
	char host[256], range[8];

	if (!fr_request_read(&x->q, x->wire))
		return false;
	uint64_t from = fr_now_us();
	busy(s, 1);
	(void)fr_request_header(&x->q, "Host", host, sizeof host);
	(void)snprintf(x->base, sizeof x->base, "%s://%s", s->tls ? "https" : "http", host);
	if (x->door != FR_BLOBS)
		x->door = strcmp(x->q.path, "/token") == 0 ? FR_TOKEN : FR_REGISTRY;
	x->status = 0;
	x->head_sent = x->sent = 0;
	fr_plan_match(s->plan, x->door, x->q.method, x->q.path,
		      fr_request_header(&x->q, "Range", range, sizeof range), &x->f);
	fr_shape_round_trip(&s->shape);
	answer(x);
	count_bytes(x);
	log_line(x, from);
	bool on = !x->over && !x->wire->broken && fr_request_drain(&x->q);
	busy(s, -1);
	return on;
}

/* The wire's place among those that are open; -1: there are too many. */
static int enter(struct fr_server *s, struct fr_wire *w)
{
	int at = -1;

	pthread_mutex_lock(&s->mutex);
	s->n_connections++;
	for (int i = 0; i < FR_MAX_CONNECTIONS && at < 0; i++)
		if (!s->wires[i]) {
			s->wires[i] = w;
			at = i;
		}
	pthread_mutex_unlock(&s->mutex);
	return at;
}

void fr_serve(struct fr_listener *l, int fd)
{
	struct fr_server *s = l->server;
	struct fr_wire *w = fr_wire_open(fd, s->tls, &s->shape);

	if (!w)
		return;
	struct fr_exchange *x = fr_alloc(sizeof *x);
	int at = enter(s, w);
	*x = (struct fr_exchange){ .server = s, .wire = w, .door = l->door, .bye = true };
	while (at >= 0 && exchange(x))
		;
	pthread_mutex_lock(&s->mutex);
	if (at >= 0)
		s->wires[at] = NULL;
	pthread_mutex_unlock(&s->mutex);
	fr_wire_close(w, x->reset, x->bye);
	free(x);
}

void fr_drop_all(struct fr_server *s)
{
	pthread_mutex_lock(&s->mutex);
	for (int i = 0; i < FR_MAX_CONNECTIONS; i++)
		if (s->wires[i])
			fr_wire_drop(s->wires[i]);
	pthread_mutex_unlock(&s->mutex);
}

bool fr_quiet(struct fr_server *s, unsigned wait_ms)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_ms / 1000;
	pthread_mutex_lock(&s->mutex);
	while (s->n_busy && rc == 0)
		rc = pthread_cond_timedwait(&s->changed, &s->mutex, &until);
	bool quiet = s->n_busy == 0;
	pthread_mutex_unlock(&s->mutex);
	return quiet;
}
