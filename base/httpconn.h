/*
 * httpconn - a handle of libcurl with its connections, on which one request at a time is sent.
 * Private to base/http.c.
 * Threads: one at a time.
 */
#ifndef CK_HTTPCONN_H
#define CK_HTTPCONN_H

#include <curl/curl.h>

#include "base/http.h"

/* What all connections of a client have in common. */
struct ck_httpconn_config {
	char *ca_file, *cert_file, *key_file, *insecure_name;
	struct ck_buf more_ca;
	bool roots_by_dir; /* the system's roots are in a directory that OpenSSL looks them up in */
	struct curl_slist *connect_to; /* "host::address" */
};

struct ck_httpconn; /* opaque */

struct ck_httpconn *ck_httpconn_new(void); /* NULL: no memory */
void ck_httpconn_free(struct ck_httpconn *c);

/*
 * Sends REQ once, for at most TIMEOUT_MS. RES is made anew; *SENT says whether a connection came
 * about at all. Errors: as ck_http_do, without the URL.
 */
CK_MUST_CHECK int ck_httpconn_try(struct ck_httpconn *c, const struct ck_httpconn_config *config,
				  const struct ck_http_req *req, unsigned timeout_ms,
				  struct ck_http_res *res, bool *sent, struct ck_err *err);

#endif
