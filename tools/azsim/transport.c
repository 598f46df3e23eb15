#include "tools/azsim/transport.h"

#include <openssl/rand.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/azsim/hsm.h"

/* More than any client should read: whether it stops is what AZ_OVERSIZE asks. */
enum { OVERSIZE_LEN = 64 << 20 };

/* What the content reader sends: TEXT, then spaces (harmless to JSON) up to LEN. */
struct stream {
	struct ck_buf text;
	uint64_t cut; /* the connection ends here, short of the length announced */
};

static ssize_t read_stream(void *arg, uint64_t off, char *buf, size_t max)
{
	const struct stream *s = arg;

	if (off >= s->cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (max > s->cut - off)
		max = (size_t)(s->cut - off);
	if (off >= s->text.len) {
		memset(buf, ' ', max);
		return (ssize_t)max;
	}
	if (max > s->text.len - off)
		max = s->text.len - (size_t)off;
	memcpy(buf, s->text.data + off, max);
	return (ssize_t)max;
}

static void free_stream(void *arg)
{
	struct stream *s = arg;

	ck_buf_free(&s->text);
	free(s);
}

static struct MHD_Response *spoiled(struct az_res *res, enum az_fault fault)
{
	struct stream *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->text = res->body;
	res->body = (struct ck_buf){ 0 };
	uint64_t len = fault == AZ_OVERSIZE ? OVERSIZE_LEN : s->text.len;
	s->cut = fault == AZ_TRUNCATE ? s->text.len / 2 : len;
	return MHD_create_response_from_callback(len, 4096, read_stream, s, free_stream);
}

static struct MHD_Response *body_of(const struct az_req *req, struct az_res *res)
{
	static char html[] = "<html><body>Our services are not available.</body></html>";

	if (req->fault == AZ_NOTJSON) {
		res->content_type = "text/html";
		return MHD_create_response_from_buffer(sizeof html - 1, html,
						       MHD_RESPMEM_PERSISTENT);
	}
	if (req->fault == AZ_TRUNCATE || req->fault == AZ_OVERSIZE)
		return spoiled(res, req->fault);
	return MHD_create_response_from_buffer(res->body.len, res->body.data,
					       MHD_RESPMEM_MUST_COPY);
}

static void add_request_id(struct MHD_Response *r)
{
	uint8_t b[16];
	char id[37];

	if (RAND_bytes(b, sizeof b) != 1)
		return;
	snprintf(id, sizeof id,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
	MHD_add_response_header(r, "x-ms-request-id", id);
}

/* Where a token for this key store is to be had (RFC 6750 section 3). */
static void add_challenge(struct MHD_Response *r, const char *host)
{
	char text[256];

	snprintf(text, sizeof text, "Bearer authorization=\"https://%s/%s\", resource=\"%s\"",
		 AZ_LOGIN_HOST, AZ_TENANT, az_hsm_resource(host));
	MHD_add_response_header(r, "WWW-Authenticate", text);
}

enum MHD_Result az_transport_send(const struct az_req *req, struct az_res *res)
{
	struct MHD_Response *r = body_of(req, res);

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type",
				res->content_type ? res->content_type
						  : "application/json; charset=utf-8");
	add_request_id(r);
	if (req->site == AZ_SITE_MAA)
		MHD_add_response_header(r, "x-ms-maa-service-version", "azsim");
	if (req->site == AZ_SITE_HSM && res->status == 401)
		add_challenge(r, req->host);
	if (res->status == 429)
		MHD_add_response_header(r, "Retry-After", "1");
	enum MHD_Result ok = MHD_queue_response(req->conn, res->status, r);
	MHD_destroy_response(r);
	return ok;
}

static int socket_of(const struct az_req *req)
{
	const union MHD_ConnectionInfo *i =
	    MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	return i ? (int)i->connect_fd : -1;
}

void az_transport_hang(const struct az_req *req, const atomic_bool *stopping)
{
	struct pollfd p = { .fd = socket_of(req), .events = POLLRDHUP };

	while (!*stopping && poll(&p, 1, 100) == 0)
		;
}

void az_transport_reset(const struct az_req *req)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	/* Dissolving the association of a connected socket makes Linux send RST. */
	(void)connect(socket_of(req), &none, sizeof none);
}
