/*
 * redirect - the blob store behind the registry, with URLs that are signed, expire and wear out,
 * as those of S3 do: it wants no other credentials beside the signature, and says so.
 */
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fault/answer.h"

enum { SIGNATURE = 65 };

static void sign(const struct fr_server *s, const char *path, const char *until, uint64_t number,
		 char out[SIGNATURE])
{
	char text[4400];
	unsigned char sum[32];
	unsigned len = sizeof sum;

	(void)snprintf(text, sizeof text, "%s %s %" PRIu64, path, until, number);
	HMAC(EVP_sha256(), s->url_key, sizeof s->url_key, (const unsigned char *)text, strlen(text),
	     sum, &len);
	for (size_t i = 0; i < sizeof sum; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

void fr_redirect(struct fr_exchange *x, const char *repo, const char *digest)
{
	struct fr_server *s = x->server;
	char path[1200], until[24], signature[SIGNATURE], host[256], headers[2048] = "";
	uint64_t number = ++s->url_number;
	struct fr_bytes b;

	if (!fr_store_blob(s->store, repo, digest, &b)) {
		fr_answer_error(x, 404, "BLOB_UNKNOWN", "blob unknown to registry");
		return;
	}
	fr_bytes_close(&b);
	const char *name = strstr(x->base, "://") + 3;
	(void)snprintf(host, sizeof host, "%.*s", (int)strcspn(name, ":"), name);
	(void)snprintf(path, sizeof path, "/store/%s/%s", repo, digest);
	(void)snprintf(until, sizeof until, "%" PRIu64,
		       s->url_ttl_ms ? fr_now_us() / 1000 + s->url_ttl_ms : 0);
	s->url_used[number % FR_USES] = 0;
	sign(s, path, until, number, signature);
	fr_append(headers, sizeof headers,
		  "Location: %s://%s:%d%s?until=%s&number=%" PRIu64 "&signature=%s\r\n",
		  s->tls ? "https" : "http", s->blobs_host ? s->blobs_host : host,
		  s->listeners[FR_BLOBS].port, path, until, number, signature);
	fr_answer_text(x, 307, "text/html; charset=utf-8",
		       "<a href=\"there\">Temporary Redirect</a>.\n", headers);
}

static void refuse(struct fr_exchange *x, int status, const char *code, const char *message)
{
	char text[512];

	(void)snprintf(
	    text, sizeof text,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s"
	    "</Message></Error>",
	    code, message);
	fr_answer_text(x, status, "application/xml", text, NULL);
}

void fr_redirected(struct fr_exchange *x)
{
	struct fr_server *s = x->server;
	char until[24], number[24], given[SIGNATURE + 1], right[SIGNATURE], value[8];
	uint64_t at = 0, n = 0;

	(void)fr_request_param(x->q.query, "until", until, sizeof until);
	(void)fr_request_param(x->q.query, "number", number, sizeof number);
	(void)fr_request_param(x->q.query, "signature", given, sizeof given);
	(void)fr_number(number, &n);
	(void)fr_number(until, &at);
	sign(s, x->q.path, until, n, right);
	char *digest = strrchr(x->q.path, '/');
	if (fr_request_header(&x->q, "Authorization", value, sizeof value))
		refuse(x, 400, "InvalidArgument", "Only one auth mechanism allowed");
	else if (strcmp(given, right) != 0 || strncmp(x->q.path, "/store/", 7) != 0)
		refuse(x, 403, "SignatureDoesNotMatch", "The signature does not match");
	else if (n <= s->url_void || (at && fr_now_us() / 1000 >= at) ||
		 (s->url_uses && s->url_used[n % FR_USES]++ >= s->url_uses))
		refuse(x, 403, "AccessDenied", "Request has expired");
	else {
		*digest = 0;
		fr_send_blob(x, x->q.path + 7, digest + 1);
	}
}
