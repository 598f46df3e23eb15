#include "base/httpconn.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/url.h"

enum {
	CONNECT_MS = 5000, /* of one try; several fit into the usual deadline */
	HEADERS_MAX = 128 << 10,
	KEEP = 4,		/* connections of one handle, to as many hosts */
	LOOK_MS = 50,		/* how often a request looks whether it was cancelled */
	BUFFER_LEN = 256 << 10, /* of bytes on their way to a sink */
};

struct ck_httpconn {
	CURLM *multi; /* holds the connections */
	CURL *easy;
};

/* One try's answer, as the callbacks see it. */
struct answer {
	const struct ck_http_req *req;
	struct ck_http_res *res;
	struct ck_err *err;
	int rc; /* of a callback that ended it */
	uint64_t n_bytes;
	uint64_t n_body;
	bool in_body, to_sink;
	bool unlimited; /* the sink lifted the time limit */
	size_t n_given; /* of the request's body */
};

struct ck_httpconn *ck_httpconn_new(void)
{
	struct ck_httpconn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	if (!c->multi || !c->easy) {
		ck_httpconn_free(c);
		return NULL;
	}
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)KEEP);
	return c;
}

void ck_httpconn_free(struct ck_httpconn *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->easy);
	curl_multi_cleanup(c->multi);
	free(c);
}

/* The body so far, beyond what is allowed? */
static int keep(struct answer *a, const void *p, size_t nbytes)
{
	const struct ck_http_req *req = a->req;

	if (!a->to_sink)
		return ck_buf_add(&a->res->body, p, nbytes, a->err);
	if (req->max_body && a->n_body > req->max_body)
		return ck_fail(a->err, -EFBIG, "the answer has more than %zu bytes", req->max_body);
	return req->sink->data(req->sink->ctx, p, nbytes, a->err);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;

	a->in_body = true;
	a->n_bytes += size * n;
	a->n_body += size * n;
	a->rc = keep(a, p, size * n);
	return a->rc == 0 ? size * n : CURL_WRITEFUNC_ERROR;
}

/* A new head: that of an interim answer (RFC 9110 section 15.2) is not what we wait for. */
static void start_head(struct ck_http_res *res, const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);

	ck_buf_free(&res->headers);
	res->request_id[0] = res->content_type[0] = 0;
	res->status = space ? strtol(space, NULL, 10) : 0;
}

/* The head is whole. */
static int end_head(struct answer *a)
{
	const struct ck_http_sink *sink = a->req->sink;
	long status = a->res->status;

	a->to_sink = sink && (status == 200 || status == 206);
	int rc = a->to_sink && sink->begin ? sink->begin(sink->ctx, a->res, a->err) : 0;
	a->unlimited = rc > 0;
	return rc < 0 ? rc : 0;
}

static void copy_header(char *out, size_t cap, const struct ck_http_res *res, const char *name)
{
	const char *v = ck_http_res_header(res, name);

	snprintf(out, cap, "%s", v ? v : "");
}

/* Keeps a line "Name: value" as two strings, one behind the other. */
static int add_header(struct ck_http_res *res, const char *line, size_t len, struct ck_err *err)
{
	const char *colon = memchr(line, ':', len), *end = line + len;

	if (!colon || memchr(line, 0, len))
		return 0;
	const char *v = colon + 1;
	while (v < end && isspace((unsigned char)*v))
		v++;
	while (end > v && isspace((unsigned char)end[-1]))
		end--;
	res->headers.max = HEADERS_MAX;
	int rc = ck_buf_add(&res->headers, line, (size_t)(colon - line), err);
	if (rc == 0)
		rc = ck_buf_add(&res->headers, "", 1, err);
	if (rc == 0)
		rc = ck_buf_add(&res->headers, v, (size_t)(end - v), err);
	if (rc == 0)
		rc = ck_buf_add(&res->headers, "", 1, err);
	return rc == -EFBIG ? ck_fail(err, -EPROTO, "the answer's headers have no end") : rc;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t len = size * n;

	a->n_bytes += len;
	if (a->in_body) /* of a chunked body, its trailer */
		return len;
	if (len >= 5 && memcmp(p, "HTTP/", 5) == 0)
		start_head(a->res, p, len);
	else if (len > 2)
		a->rc = add_header(a->res, p, len, a->err);
	else if (a->res->status >= 200) {
		copy_header(a->res->request_id, sizeof a->res->request_id, a->res,
			    "x-ms-request-id");
		copy_header(a->res->content_type, sizeof a->res->content_type, a->res,
			    "content-type");
		a->rc = end_head(a);
		a->in_body = true;
	}
	return a->rc == 0 ? len : 0;
}

static struct curl_slist *header_list(const struct ck_http_req *req)
{
	/* "Expect: 100-continue" costs a second against servers that ignore it. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	/* Nothing has no type. One that the request gives comes later and wins. */
	if (list && !req->body) {
		struct curl_slist *l = curl_slist_append(list, "Content-Type:");
		if (!l)
			curl_slist_free_all(list);
		list = l;
	}
	for (size_t i = 0; list && i < req->n_headers; i++) {
		struct curl_slist *l = curl_slist_append(list, req->headers[i]);
		if (!l)
			curl_slist_free_all(list);
		list = l;
	}
	return list;
}

static int curl_errno(CURLcode c)
{
	switch (c) {
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -ECONNREFUSED;
	default:
		return -EPROTO;
	}
}

static void set_tls(CURL *c, const struct ck_httpconn_config *config, const char *name)
{
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (config->ca_file) {
		curl_easy_setopt(c, CURLOPT_CAINFO, config->ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	} else if (config->roots_by_dir) {
		/* All of the bundle would be parsed, for each connection: 16 ms. */
		curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
	}
	if (config->more_ca.len) {
		/* It takes the place of CAINFO, and config->more_ca holds both. */
		struct curl_blob blob = { config->more_ca.data, config->more_ca.len,
					  CURL_BLOB_NOCOPY };
		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
	}
	curl_easy_setopt(c, CURLOPT_SSLCERT, config->cert_file);
	curl_easy_setopt(c, CURLOPT_SSLKEY, config->key_file);
	/* Not of whom that host sends us to, with credentials perhaps. */
	if (config->insecure_name && strcmp(config->insecure_name, name) == 0) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static bool is_one_of(const char *s, const char *a, const char *b, const char *c)
{
	return strcmp(s, a) == 0 || strcmp(s, b) == 0 || strcmp(s, c) == 0;
}

/* The body piece by piece: nobody says how to go back in it, and so curl does not. */
static size_t give_body(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t left = a->req->body_len - a->n_given, nbytes = size * n < left ? size * n : left;

	memcpy(p, (const char *)a->req->body + a->n_given, nbytes);
	a->n_given += nbytes;
	return nbytes;
}

static void set_message(CURL *c, const struct ck_http_req *req, struct answer *a)
{
	const char *method = req->method;

	if (req->once && req->body_len) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body);
		curl_easy_setopt(c, CURLOPT_READDATA, a);
	} else if (req->body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, req->body);
	} else if (method && is_one_of(method, "POST", "PUT", "PATCH")) {
		/* An empty body has a length, too (RFC 9110 section 8.6). */
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, "");
	}
	if (method && strcmp(method, "HEAD") == 0)
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else if (method)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
}

static void set_up(CURL *c, const struct ck_httpconn_config *config, const struct ck_http_req *req,
		   unsigned timeout_ms, struct answer *a)
{
	CK_AUTO(ck_url_free) struct ck_url u = { 0 };
	const char *name = ck_url_read(&u, NULL, req->url, NULL) == 0 ? u.name : "";

	curl_easy_reset(c); /* its connections stay */
	curl_easy_setopt(c, CURLOPT_URL, req->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	/* Not to wait, past the deadline, for a name server that a thread is still asking. */
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
	if (!req->sink) /* else see look() */
		curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "cloakfs");
	curl_easy_setopt(c, CURLOPT_CONNECT_TO, config->connect_to);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (req->sink)
		curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)BUFFER_LEN);
	/* A proxy's own loopback is another machine's: what is sent to ours, perhaps without TLS,
	 * because nobody listens in here, must not leave it. */
	if (req->no_proxy || ck_url_is_loopback(name))
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	set_tls(c, config, name);
	set_message(c, req, a);
}

struct progress {
	uint64_t n_bytes; /* both ways */
	uint64_t at_ms;	  /* when that changed */
	uint64_t end_ms;  /* of a request with a sink */
};

/* Whether the request has to end now, for a reason of the asker's. */
static int look(CURL *c, struct answer *a, struct progress *seen)
{
	const struct ck_http_req *req = a->req;
	curl_off_t sent = 0;
	uint64_t now = ck_now_ms();

	if (req->cancel && atomic_load(req->cancel))
		return ck_fail(a->err, -ECANCELED, "the request was given up");
	curl_easy_getinfo(c, CURLINFO_SIZE_UPLOAD_T, &sent);
	if (a->n_bytes + (uint64_t)sent != seen->n_bytes) {
		seen->n_bytes = a->n_bytes + (uint64_t)sent;
		seen->at_ms = now;
	}
	if (req->sink && !a->unlimited && now >= seen->end_ms)
		return ck_fail(a->err, -ETIMEDOUT, "the answer was not whole in time");
	if (req->stall_ms && now - seen->at_ms >= req->stall_ms)
		return ck_fail(a->err, -ETIMEDOUT, "no byte came for %u ms", req->stall_ms);
	return 0;
}

/* Runs the transfer; 0 or a negative errno of ours, and then curl's own verdict in *CODE. */
static int run(struct ck_httpconn *c, struct answer *a, unsigned timeout_ms, CURLcode *code)
{
	bool look_often = a->req->cancel || a->req->stall_ms || a->req->sink;
	uint64_t now = ck_now_ms();
	struct progress seen = { 0, now, now + timeout_ms };
	int running = 1, left;

	*code = CURLE_OK;
	for (;;) {
		if (curl_multi_perform(c->multi, &running) != CURLM_OK)
			return ck_nomem(a->err, "sending an HTTP request");
		if (running == 0)
			break;
		int rc = look(c->easy, a, &seen);
		if (rc < 0)
			return rc;
		if (curl_multi_poll(c->multi, NULL, 0, look_often ? LOOK_MS : 1000, NULL) !=
		    CURLM_OK)
			return ck_nomem(a->err, "sending an HTTP request");
	}
	CURLMsg *m = curl_multi_info_read(c->multi, &left);
	if (m && m->msg == CURLMSG_DONE)
		*code = m->data.result;
	return a->rc;
}

/* Names and times that do not fit are none of these. */
static bool is_rootless(CURL *c)
{
	long why = X509_V_OK;

	curl_easy_getinfo(c, CURLINFO_SSL_VERIFYRESULT, &why);
	return why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	       why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       why == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
	       why == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
	       why == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
}

static void read_times(CURL *c, struct ck_http_res *res, bool *sent)
{
	curl_off_t ready_us = 0, first_us = 0, total_us = 0;

	curl_easy_getinfo(c, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
	curl_easy_getinfo(c, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
	curl_easy_getinfo(c, CURLINFO_TOTAL_TIME_T, &total_us);
	*sent = ready_us != 0;
	res->wait_us = first_us > ready_us ? (uint64_t)(first_us - ready_us) : 0;
	res->body_us = first_us && total_us > first_us ? (uint64_t)(total_us - first_us) : 0;
}

int ck_httpconn_try(struct ck_httpconn *c, const struct ck_httpconn_config *config,
		    const struct ck_http_req *req, unsigned timeout_ms, struct ck_http_res *res,
		    bool *sent, struct ck_err *err)
{
	struct curl_slist *headers = header_list(req);
	struct answer a = { .req = req, .res = res, .err = err };
	char why[CURL_ERROR_SIZE] = "";
	CURLcode code = CURLE_OK;

	ck_http_res_free(res);
	*res = (struct ck_http_res){ .body.max = req->max_body ? req->max_body : 1 << 20 };
	*sent = false;
	if (!headers)
		return ck_nomem(err, "sending an HTTP request");
	set_up(c->easy, config, req, timeout_ms, &a);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, why);
	int rc = curl_multi_add_handle(c->multi, c->easy) == CURLM_OK
		     ? run(c, &a, timeout_ms, &code)
		     : ck_nomem(err, "sending an HTTP request");
	read_times(c->easy, res, sent);
	/* Of a transfer that is not over, it closes the connection, too. */
	curl_multi_remove_handle(c->multi, c->easy);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (rc < 0)
		return rc;
	if (code == CURLE_OK)
		return 0;
	res->no_tls = code == CURLE_SSL_CONNECT_ERROR;
	res->no_trust = code == CURLE_PEER_FAILED_VERIFICATION;
	res->no_root = res->no_trust && is_rootless(c->easy);
	/* Of a proxy that it does not understand, curl says all, with the password. */
	if (strncmp(why, "Unsupported proxy", 17) == 0)
		return ck_fail(err, -EINVAL,
			       "the proxy that the environment names for it is not understood");
	return ck_fail(err, curl_errno(code), "%s", why[0] ? why : curl_easy_strerror(code));
}
