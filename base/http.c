#include "base/http.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/httpconn.h"
#include "base/secret.h"

enum { IDLE_MAX = 16, TICK_MS = 50, RETRY_MAX_S = 3600 };

struct ck_http {
	struct ck_httpconn_config config;
	pthread_mutex_t lock;
	struct ck_httpconn *idle[IDLE_MAX]; /* under the lock; the last one back is the next out */
	size_t n_idle;			    /* under the lock */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

/* The system's roots, as curl was built to find them. */
static char system_bundle[PATH_MAX];
static bool system_dir;

/* c_rehash(1): "XXXXXXXX.0". */
static int is_hashed(const struct dirent *d)
{
	return strlen(d->d_name) == 10 && strspn(d->d_name, "0123456789abcdef") == 8 &&
	       strcmp(d->d_name + 8, ".0") == 0;
}

static void find_roots(void)
{
	CURL *c = curl_easy_init();
	char *bundle = NULL, *dir = NULL;
	struct dirent **names;

	if (!c)
		return;
	curl_easy_getinfo(c, CURLINFO_CAINFO, &bundle);
	curl_easy_getinfo(c, CURLINFO_CAPATH, &dir);
	snprintf(system_bundle, sizeof system_bundle, "%s", bundle ? bundle : "");
	int n = dir ? scandir(dir, &names, is_hashed, NULL) : -1;
	system_dir = n > 0;
	for (int i = 0; i < n; i++)
		free(names[i]);
	if (n >= 0)
		free(names);
	curl_easy_cleanup(c);
}

static void curl_start(void)
{
	/* Requests and answers carry tokens; curl keeps copies of them. */
	curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, ck_wipe_free, ck_wipe_realloc, strdup,
			     calloc);
	find_roots();
}

static int add_address(struct ck_http *h, const struct ck_http_address *a, struct ck_err *err)
{
	CK_BUF line = { 0 };

	if (!strrchr(a->address, ':'))
		return ck_fail(err, -EINVAL, "address \"%s\" of host %s is not ADDRESS:PORT",
			       a->address, a->host);
	int rc = ck_buf_addf(&line, err, "%s::%s", a->host, a->address);
	if (rc < 0)
		return rc;
	struct curl_slist *l = curl_slist_append(h->config.connect_to, ck_buf_str(&line));
	if (!l)
		return ck_nomem(err, "opening an HTTP client");
	h->config.connect_to = l;
	return 0;
}

static bool copy(char **out, const char *s)
{
	*out = s ? strdup(s) : NULL;
	return !s || *out;
}

/* The roots of a file and those beside them as one text: curl takes only one of the two. */
static int join_roots(struct ck_buf *out, const struct ck_http_opts *opts, struct ck_err *err)
{
	const char *file = opts->ca_file ? opts->ca_file : system_dir ? "" : system_bundle;
	int rc = ck_buf_adds(out, opts->more_ca, err);

	if (rc == 0 && *file)
		rc = ck_buf_adds(out, "\n", err);
	if (rc == 0 && *file)
		rc = ck_file_read(out, file, err);
	return rc;
}

int ck_http_open(struct ck_http **out, const struct ck_http_opts *opts, struct ck_err *err)
{
	pthread_once(&curl_once, curl_start);
	CK_AUTO(ck_http_closep) struct ck_http *h = calloc(1, sizeof *h);
	if (!h)
		return ck_nomem(err, "opening an HTTP client");
	pthread_mutex_init(&h->lock, NULL);
	h->config.roots_by_dir = system_dir;
	if (!copy(&h->config.ca_file, opts->ca_file) ||
	    !copy(&h->config.cert_file, opts->cert_file) ||
	    !copy(&h->config.key_file, opts->key_file) ||
	    !copy(&h->config.insecure_name, opts->insecure_name))
		return ck_nomem(err, "opening an HTTP client");
	int rc = opts->more_ca ? join_roots(&h->config.more_ca, opts, err) : 0;
	for (size_t i = 0; rc == 0 && i < opts->n_addresses; i++)
		rc = add_address(h, &opts->addresses[i], err);
	if (rc < 0)
		return rc;
	*out = ck_take(h);
	return 0;
}

void ck_http_close(struct ck_http *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_idle; i++)
		ck_httpconn_free(h->idle[i]);
	curl_slist_free_all(h->config.connect_to);
	free(h->config.ca_file);
	free(h->config.cert_file);
	free(h->config.key_file);
	free(h->config.insecure_name);
	ck_buf_free(&h->config.more_ca);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void ck_http_res_free(struct ck_http_res *res)
{
	ck_buf_free(&res->body);
	ck_buf_free(&res->headers);
}

const char *ck_http_res_header_next(const struct ck_http_res *res, const char *name, const char *v)
{
	const char *at = v ? v + strlen(v) + 1 : (const char *)res->headers.data;
	const char *end = (const char *)res->headers.data + res->headers.len;

	while (at < end) {
		const char *value = at + strlen(at) + 1;
		if (strcasecmp(at, name) == 0)
			return value;
		at = value + strlen(value) + 1;
	}
	return NULL;
}

const char *ck_http_res_header(const struct ck_http_res *res, const char *name)
{
	return ck_http_res_header_next(res, name, NULL);
}

uint64_t ck_http_res_retry_ms(const struct ck_http_res *res)
{
	const char *v = ck_http_res_header(res, "retry-after");
	char *end;

	if (!v)
		return 0;
	unsigned long s = strtoul(v, &end, 10);
	if (*v < '0' || *v > '9' || *end) {
		time_t at = curl_getdate(v, NULL), now = time(NULL);
		s = at > now ? (unsigned long)(at - now) : 0;
	}
	return (s < RETRY_MAX_S ? s : RETRY_MAX_S) * 1000;
}

static struct ck_httpconn *take_conn(struct ck_http *h)
{
	struct ck_httpconn *c = NULL;

	pthread_mutex_lock(&h->lock);
	if (h->n_idle)
		c = h->idle[--h->n_idle];
	pthread_mutex_unlock(&h->lock);
	return c ? c : ck_httpconn_new();
}

static void give_back(struct ck_http *h, struct ck_httpconn *c)
{
	pthread_mutex_lock(&h->lock);
	bool room = h->n_idle < IDLE_MAX;
	if (room)
		h->idle[h->n_idle++] = c;
	pthread_mutex_unlock(&h->lock);
	if (!room)
		ck_httpconn_free(c);
}

static int one_try(struct ck_http *h, const struct ck_http_req *req, unsigned timeout_ms,
		   struct ck_http_res *res, bool *sent, struct ck_err *err)
{
	struct ck_httpconn *c = take_conn(h);

	if (!c)
		return ck_nomem(err, "sending an HTTP request");
	int rc = ck_httpconn_try(c, &h->config, req, timeout_ms, res, sent, err);
	give_back(h, c);
	return rc;
}

static bool worth_another_try(int rc, bool sent, long status)
{
	if (rc < 0)
		return rc == -ECONNREFUSED || (rc == -ETIMEDOUT && !sent);
	return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

/* A pause before try N (from 1): 250 ms doubled each time, times 0.5 to 1.5. */
static uint64_t pause_ms(unsigned n)
{
	uint16_t r = 0;

	(void)RAND_bytes((unsigned char *)&r, sizeof r);
	uint64_t base = 250ULL << (n < 6 ? n - 1 : 5);
	return base / 2 + base * r / UINT16_MAX;
}

/* False: it was cancelled meanwhile. */
static bool sleep_ms(uint64_t ms, const atomic_bool *cancel)
{
	uint64_t end = ck_now_ms() + ms;

	for (uint64_t now = end - ms; now < end; now = ck_now_ms()) {
		uint64_t left = end - now;
		if (cancel && atomic_load(cancel))
			return false;
		if (cancel && left > TICK_MS)
			left = TICK_MS;
		struct timespec t = { (time_t)(left / 1000), (long)(left % 1000) * 1000000 };
		(void)nanosleep(&t, NULL);
	}
	return true;
}

/* How much of a URL is for everybody's eyes. */
static int shown(const char *url)
{
	return (int)strcspn(url, "?");
}

int ck_http_do(struct ck_http *h, const struct ck_http_req *req, struct ck_http_res *res,
	       struct ck_err *err)
{
	uint64_t end = ck_now_ms() + (req->deadline_ms ? req->deadline_ms : 30000);
	unsigned tries = req->tries ? req->tries : 5;

	for (unsigned n = 1;; n++) {
		uint64_t now = ck_now_ms();
		unsigned timeout = req->timeout_ms ? req->timeout_ms : 10000;
		bool sent;
		if (now >= end)
			return ck_fail(err, -ETIMEDOUT, "%.*s: no time left", shown(req->url),
				       req->url);
		if (end - now < timeout)
			timeout = (unsigned)(end - now);
		int rc = one_try(h, req, timeout, res, &sent, err);
		bool again = n < tries && worth_another_try(rc, sent, res->status);
		uint64_t wait = rc == 0 ? ck_http_res_retry_ms(res) : 0;
		if (wait == 0)
			wait = pause_ms(n);
		now = ck_now_ms();
		if (!again || now >= end || wait >= end - now) {
			if (rc < 0)
				ck_wrap(err, n > 1 ? "%.*s (after %u tries)" : "%.*s",
					shown(req->url), req->url, n);
			return rc;
		}
		if (!sleep_ms(wait, req->cancel))
			return ck_fail(err, -ECANCELED, "%.*s: the request was given up",
				       shown(req->url), req->url);
	}
}
