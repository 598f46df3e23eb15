#include "base/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/secret.h"

/* Of one try; several fit into the usual deadline. */
enum { CONNECT_MS = 5000 };

struct ck_http {
	char *ca_file;
	struct curl_slist *connect_to; /* "host::address" */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
	/* Requests and answers carry tokens; curl keeps copies of them. */
	curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, ck_wipe_free, ck_wipe_realloc, strdup,
			     calloc);
}

int ck_http_open(struct ck_http **out, const struct ck_http_opts *opts, struct ck_err *err)
{
	pthread_once(&curl_once, curl_start);
	CK_AUTO(ck_http_closep) struct ck_http *h = calloc(1, sizeof *h);
	if (!h)
		return ck_nomem(err, "opening an HTTP client");
	if (opts->ca_file && !(h->ca_file = strdup(opts->ca_file)))
		return ck_nomem(err, "opening an HTTP client");
	for (size_t i = 0; i < opts->n_addresses; i++) {
		CK_BUF line = { 0 };
		const struct ck_http_address *a = &opts->addresses[i];
		if (!strrchr(a->address, ':'))
			return ck_fail(err, -EINVAL,
				       "address \"%s\" of host %s is not ADDRESS:PORT", a->address,
				       a->host);
		int rc = ck_buf_addf(&line, err, "%s::%s", a->host, a->address);
		if (rc < 0)
			return rc;
		struct curl_slist *l = curl_slist_append(h->connect_to, ck_buf_str(&line));
		if (!l)
			return ck_nomem(err, "opening an HTTP client");
		h->connect_to = l;
	}
	*out = ck_take(h);
	return 0;
}

void ck_http_close(struct ck_http *h)
{
	if (!h)
		return;
	curl_slist_free_all(h->connect_to);
	free(h->ca_file);
	free(h);
}

void ck_http_res_free(struct ck_http_res *res)
{
	ck_buf_free(&res->body);
}

/* One try's answer, as the callbacks see it. */
struct answer {
	struct ck_http_res *res;
	uint64_t retry_after_ms;
	bool too_big, no_memory, unsent;
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	int rc = ck_buf_add(&a->res->body, p, size * n, NULL);

	a->too_big = rc == -EFBIG;
	a->no_memory = rc == -ENOMEM;
	return rc == 0 ? size * n : 0;
}

/* Copies the value when LINE is the header NAME. */
static bool header_is(const char *line, size_t len, const char *name, char *value, size_t cap)
{
	size_t n = strlen(name);

	if (len < n + 1 || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	const char *v = line + n + 1, *end = line + len;
	while (v < end && isspace((unsigned char)*v))
		v++;
	while (end > v && isspace((unsigned char)end[-1]))
		end--;
	snprintf(value, cap, "%.*s", (int)(end - v), v);
	return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	char v[80];

	if (header_is(p, n, "x-ms-request-id", v, sizeof v))
		memcpy(a->res->request_id, v, sizeof v);
	else if (header_is(p, n, "content-type", v, sizeof v))
		memcpy(a->res->content_type, v, sizeof v);
	else if (header_is(p, n, "retry-after", v, sizeof v)) {
		/* RFC 9110 section 10.2.3: seconds, or a date. */
		char *end;
		unsigned long s = strtoul(v, &end, 10);
		if (end != v && *end == 0) {
			a->retry_after_ms = s < 3600 ? s * 1000 : 3600000;
		} else {
			time_t at = curl_getdate(v, NULL), now = time(NULL);
			a->retry_after_ms = at > now ? (uint64_t)(at - now) * 1000 : 0;
		}
	}
	return size * n;
}

static struct curl_slist *header_list(const struct ck_http_req *req)
{
	/* "Expect: 100-continue" costs a second against servers that ignore it. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	for (size_t i = 0; list && i < req->n_headers; i++) {
		struct curl_slist *l = curl_slist_append(list, req->headers[i]);
		if (!l)
			curl_slist_free_all(list);
		list = l;
	}
	return list;
}

static int curl_errno(CURLcode c, const struct answer *a)
{
	if (a->too_big)
		return -EFBIG;
	if (a->no_memory || c == CURLE_OUT_OF_MEMORY)
		return -ENOMEM;
	if (c == CURLE_OPERATION_TIMEDOUT)
		return -ETIMEDOUT;
	if (c == CURLE_COULDNT_CONNECT || c == CURLE_COULDNT_RESOLVE_HOST ||
	    c == CURLE_COULDNT_RESOLVE_PROXY)
		return -ECONNREFUSED;
	return -EPROTO;
}

static int one_try(struct ck_http *h, const struct ck_http_req *req, unsigned timeout_ms,
		   struct answer *a, struct ck_err *err)
{
	CURL *c = curl_easy_init();
	struct curl_slist *headers = header_list(req);
	char why[CURL_ERROR_SIZE] = "";

	if (!c || !headers) {
		curl_easy_cleanup(c);
		curl_slist_free_all(headers);
		return ck_nomem(err, "sending an HTTP request");
	}
	ck_buf_free(&a->res->body);
	a->res->body.max = req->max_body ? req->max_body : 1 << 20;
	a->res->status = 0;
	a->res->request_id[0] = a->res->content_type[0] = 0;
	curl_easy_setopt(c, CURLOPT_URL, req->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	/* Not to wait, past the deadline, for a name server that a thread is still asking. */
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "cloakfs");
	curl_easy_setopt(c, CURLOPT_CONNECT_TO, h->connect_to);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
	if (h->ca_file) {
		curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
	if (req->no_proxy)
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	if (req->body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, req->body);
	}
	if (req->method)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, req->method);
	CURLcode rc = curl_easy_perform(c);
	curl_off_t ready_us = 0;
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->res->status);
	curl_easy_getinfo(c, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
	a->unsent = ready_us == 0;
	curl_easy_cleanup(c);
	curl_slist_free_all(headers);
	if (rc == CURLE_OK)
		return 0;
	return ck_fail(err, curl_errno(rc, a), "%s", why[0] ? why : curl_easy_strerror(rc));
}

static bool worth_another_try(int rc, bool unsent, long status)
{
	if (rc < 0)
		return rc == -ECONNREFUSED || (rc == -ETIMEDOUT && unsent);
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

static void sleep_ms(uint64_t ms)
{
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

int ck_http_do(struct ck_http *h, const struct ck_http_req *req, struct ck_http_res *res,
	       struct ck_err *err)
{
	uint64_t end = ck_now_ms() + (req->deadline_ms ? req->deadline_ms : 30000);
	unsigned tries = req->tries ? req->tries : 5;

	for (unsigned n = 1;; n++) {
		struct answer a = { .res = res };
		uint64_t now = ck_now_ms();
		unsigned timeout = req->timeout_ms ? req->timeout_ms : 10000;
		if (now >= end)
			return ck_fail(err, -ETIMEDOUT, "%s: no time left", req->url);
		if (end - now < timeout)
			timeout = (unsigned)(end - now);
		int rc = one_try(h, req, timeout, &a, err);
		if (n >= tries || !worth_another_try(rc, a.unsent, res->status))
			return rc < 0 ? ck_wrap(err, "%s", req->url) : 0;
		uint64_t wait = a.retry_after_ms ? a.retry_after_ms : pause_ms(n);
		now = ck_now_ms();
		if (now >= end || wait >= end - now)
			return rc < 0 ? ck_wrap(err, "%s (after %u tries)", req->url, n) : 0;
		sleep_ms(wait);
	}
}
