#include "fs/registry/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/url.h"
#include "fs/registry/certs.h"

#define CERTS "/etc/containers/certs.d"

static const char what_for[] = "opening a registry";

void ck_endpoint_free(struct ck_endpoint *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < CK_REDIRECTS_MAX; i++)
		free(e->redirects[i].url);
	for (size_t i = 0; i < e->n_headers; i++)
		free(e->headers[i]);
	free(e->headers);
	ck_auth_free(e->auth);
	ck_http_close(e->http);
	free(e->base);
	free(e->origin);
	free(e->plain_base);
	free(e->plain_origin);
	free(e->certs);
	free(e->ns);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static void endpoint_freep(struct ck_endpoint **e)
{
	ck_endpoint_free(*e);
}

const char *ck_endpoint_base(const struct ck_endpoint *e)
{
	return atomic_load(&e->plain) ? e->plain_base : e->base;
}

const char *ck_endpoint_origin(const struct ck_endpoint *e)
{
	return atomic_load(&e->plain) ? e->plain_origin : e->origin;
}

/* HOST without its port. */
static size_t name_len(const char *host)
{
	const char *bracket = strchr(host, ']');

	return bracket ? (size_t)(bracket + 1 - host) : strcspn(host, ":");
}

static bool is_plain(const char *host, const struct ck_registry_opts *opts)
{
	size_t n = name_len(host);

	for (const char *const *p = opts->plain_http; p && *p; p++)
		if (strcmp(*p, host) == 0 || (strlen(*p) == n && strncmp(*p, host, n) == 0))
			return true;
	return false;
}

/* The addresses of HOST itself, when no file says otherwise. */
static int default_urls(struct ck_endpoint *e, const char *host,
			const struct ck_registry_opts *opts, struct ck_err *err)
{
	const char *api = strcmp(host, "docker.io") == 0 ? "registry-1.docker.io" : host;
	bool plain = is_plain(host, opts);
	CK_AUTO(ck_freep) char *name = strndup(host, name_len(host));
	int n = asprintf(&e->base, "%s://%s/v2", plain ? "http" : "https", api);

	if (n < 0)
		e->base = NULL;
	if (!name || !e->base)
		return ck_nomem(err, what_for);
	if (plain || !ck_url_is_loopback(name))
		return 0;
	if (asprintf(&e->plain_base, "http://%s/v2", api) < 0)
		e->plain_base = NULL;
	return e->plain_base ? 0 : ck_nomem(err, what_for);
}

/* Of an endpoint whose base is set: its origin, and its host as HOST[:PORT], the caller's. */
static int read_origin(struct ck_endpoint *e, char **host, struct ck_err *err)
{
	CK_AUTO(ck_url_free) struct ck_url u = { 0 }, plain = { 0 };
	int rc = ck_url_read(&u, NULL, e->base, err);

	/* A port that is usual with one scheme is not with the other. */
	if (rc == 0 && e->plain_base)
		rc = ck_url_read(&plain, NULL, e->plain_base, err);
	if (rc < 0)
		return rc;
	e->origin = ck_take(u.origin);
	e->plain_origin = ck_take(plain.origin);
	*host = strdup(strstr(e->origin, "://") + 3);
	return *host ? 0 : ck_nomem(err, what_for);
}

static int read_certs(struct ck_certs *c, const char *host, const struct ck_registry_opts *opts,
		      struct ck_err *err)
{
	if (opts->certs_dir)
		return ck_certs_read(c, opts->certs_dir, host, err);
	int rc = ck_certs_read(c, CERTS, host, err);
	return rc < 0 ? rc : ck_certs_read(c, "/etc/docker/certs.d", host, err);
}

static int open_http(struct ck_endpoint *e, const struct ck_hosts_entry *entry, const char *host,
		     const struct ck_registry_opts *opts, struct ck_err *err)
{
	struct ck_http_opts o = opts->http ? *opts->http : (struct ck_http_opts){ 0 };
	CK_AUTO(ck_certs_free) struct ck_certs certs = { 0 };
	const char *dir = opts->certs_dir ? opts->certs_dir : CERTS;
	int rc = read_certs(&certs, host, opts, err);

	if (asprintf(&e->certs, "%s/%s", dir, host) < 0)
		e->certs = NULL;
	if (rc == 0 && !e->certs)
		rc = ck_nomem(err, what_for);
	if (rc == 0 && entry->ca.len)
		rc = ck_buf_add(&certs.roots, entry->ca.data, entry->ca.len, err);
	if (rc == 0 && o.more_ca)
		rc = ck_buf_adds(&certs.roots, o.more_ca, err);
	if (rc < 0)
		return rc;
	if (certs.roots.len)
		o.more_ca = ck_buf_str(&certs.roots);
	if (entry->cert_file) {
		o.cert_file = entry->cert_file;
		o.key_file = entry->key_file;
	} else if (certs.cert_file) {
		o.cert_file = certs.cert_file;
		o.key_file = certs.key_file;
	}
	/* Token services and stores of blobs are asked with the same client. */
	const char *own = strstr(e->origin, "://") + 3;
	CK_AUTO(ck_freep) char *name = entry->skip_verify ? strndup(own, name_len(own)) : NULL;
	if (entry->skip_verify && !name)
		return ck_nomem(err, what_for);
	o.insecure_name = name;
	return ck_http_open(&e->http, &o, err);
}

static int copy_headers(struct ck_endpoint *e, const struct ck_hosts_entry *entry,
			struct ck_err *err)
{
	e->headers = calloc(entry->n_headers + 1, sizeof *e->headers);
	if (!e->headers)
		return ck_nomem(err, what_for);
	for (; e->n_headers < entry->n_headers; e->n_headers++)
		if (!(e->headers[e->n_headers] = strdup(entry->headers[e->n_headers])))
			return ck_nomem(err, what_for);
	return 0;
}

int ck_endpoint_new(struct ck_endpoint **out, const struct ck_hosts_entry *entry, bool is_host,
		    const char *host, const char *repo, const struct ck_registry_opts *opts,
		    struct ck_err *err)
{
	CK_AUTO(endpoint_freep) struct ck_endpoint *e = calloc(1, sizeof *e);
	CK_AUTO(ck_freep) char *own_host = NULL;
	int rc = 0;

	if (!e)
		return ck_nomem(err, what_for);
	pthread_mutex_init(&e->lock, NULL);
	e->can = is_host ? CK_CAN_ALL : entry->can;
	if (!entry->url)
		rc = default_urls(e, host, opts, err);
	else if (!(e->base = strdup(entry->url)))
		rc = ck_nomem(err, what_for);
	if (rc == 0)
		rc = read_origin(e, &own_host, err);
	if (rc < 0)
		return rc;
	/* Docker's registry goes by another name than its credentials. */
	bool docker = strcmp(own_host, "registry-1.docker.io") == 0;
	const char *known_as = docker ? "docker.io" : own_host;
	if (strcmp(known_as, host) != 0 && !(e->ns = strdup(host)))
		return ck_nomem(err, what_for);
	rc = open_http(e, entry, known_as, opts, err);
	if (rc == 0)
		rc = copy_headers(e, entry, err);
	if (rc < 0)
		return rc;
	e->auth = ck_auth_new(&(struct ck_auth_opts){
	    .file = opts->auth_file, .host = known_as, .repo = repo, .http = e->http });
	if (!e->auth)
		return ck_nomem(err, what_for);
	*out = ck_take(e);
	return 0;
}

char *ck_endpoint_redirect(struct ck_endpoint *e, const uint8_t digest[CK_SHA256_LEN])
{
	uint64_t now = ck_now_ms();
	char *url = NULL;

	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < CK_REDIRECTS_MAX; i++) {
		struct ck_redirect *r = &e->redirects[i];
		if (r->url && r->till_ms > now && memcmp(r->digest, digest, sizeof r->digest) == 0)
			url = strdup(r->url);
	}
	pthread_mutex_unlock(&e->lock);
	return url;
}

/* The place of DIGEST, else the one whose time is up first. */
static struct ck_redirect *find_place(struct ck_endpoint *e, const uint8_t digest[CK_SHA256_LEN])
{
	struct ck_redirect *oldest = &e->redirects[0];

	for (size_t i = 0; i < CK_REDIRECTS_MAX; i++) {
		struct ck_redirect *r = &e->redirects[i];
		if (r->url && memcmp(r->digest, digest, sizeof r->digest) == 0)
			return r;
		if (oldest->url && (!r->url || r->till_ms < oldest->till_ms))
			oldest = r;
	}
	return oldest;
}

void ck_endpoint_set_redirect(struct ck_endpoint *e, const uint8_t digest[CK_SHA256_LEN],
			      const char *url)
{
	char *copy = url ? strdup(url) : NULL, *old = NULL;

	pthread_mutex_lock(&e->lock);
	struct ck_redirect *r = find_place(e, digest);
	bool own = r->url && memcmp(r->digest, digest, sizeof r->digest) == 0;
	if (own || copy) {
		old = r->url;
		r->url = copy;
		memcpy(r->digest, digest, sizeof r->digest);
		r->till_ms = ck_now_ms() + CK_REDIRECT_MS;
	}
	pthread_mutex_unlock(&e->lock);
	free(old);
}
