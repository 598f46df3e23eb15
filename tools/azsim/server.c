#include "tools/azsim/server.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/log.h"
#include "tools/azsim/cert.h"
#include "tools/azsim/routes.h"
#include "tools/azsim/transport.h"

struct az_server {
	struct az_sim *sim;
	struct MHD_Daemon *plain, *tls;
	atomic_bool stopping; /* lets hanging requests go */
};

static const char *reason(unsigned status)
{
	switch (status) {
	case 400:
		return "BadRequest";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "NotFound";
	case 429:
		return "Throttled";
	case 503:
		return "ServiceUnavailable";
	default:
		return "InternalError";
	}
}

/* The service that HOST names; false when there is none. */
static bool find_site(const struct az_sim *s, struct az_req *req)
{
	if (strcmp(req->host, AZ_LOGIN_HOST) == 0)
		req->site = AZ_SITE_LOGIN;
	else if (az_sim_maa(s, req->host))
		req->site = AZ_SITE_MAA;
	else if (az_sim_hsm(s, req->host))
		req->site = AZ_SITE_HSM;
	else
		return false;
	return true;
}

static void read_host(struct az_req *req)
{
	const char *h = az_req_header(req, "Host");
	size_t n = 0;

	for (; h && h[n] && h[n] != ':' && n < sizeof req->host - 1; n++)
		req->host[n] = (char)tolower((unsigned char)h[n]);
	req->host[n] = 0;
}

static int answer_status(const struct az_req *req, struct az_res *res, struct ck_err *err)
{
	unsigned status = req->mode->status;
	const char *message = "azsim was told to answer so";

	if (strcmp(req->mode->name, "invalidtoken500") == 0)
		message = "Received invalid token. Please try again.";
	return az_refuse(req, res, status, reason(status), message, err);
}

static int answer(struct az_server *srv, const struct az_route *route, const struct az_req *req,
		  struct az_res *res, struct ck_err *err)
{
	if (req->body.len > AZ_MAX_BODY)
		return az_refuse(req, res, 413, "RequestTooLarge", "the request is too large", err);
	if (!route)
		return az_refuse(req, res, 404, "NotFound", "there is nothing of this name here",
				 err);
	if (req->fault == AZ_STATUS)
		return answer_status(req, res, err);
	return route->handle(srv->sim, req, res, err);
}

static void count(struct az_sim *s, enum az_endpoint e, unsigned status)
{
	if (e == AZ_HSM_RELEASE && status != 200)
		e = AZ_HSM_RELEASE_REFUSED;
	az_settings_count(&s->settings, e);
}

static enum MHD_Result dispatch(struct az_server *srv, struct az_req *req, bool tls)
{
	struct az_res res = { 0 };
	struct ck_err err = { 0 };

	read_host(req);
	const struct az_route *route = NULL;
	req->site = AZ_SITE_METADATA;
	if (!tls || find_site(srv->sim, req))
		route = az_route_find(req);
	enum az_endpoint e = route ? route->endpoint : AZ_UNCOUNTED;
	req->mode = az_settings_take_fault(&srv->sim->settings, e);
	req->fault = req->mode ? req->mode->fault : AZ_NO_FAULT;
	if (req->fault == AZ_HANG || req->fault == AZ_RESET) {
		ck_log(CK_LOG_INFO, "%s %s %s: %s", req->host, req->method, req->path,
		       req->mode->name);
		count(srv->sim, e, 0);
		if (req->fault == AZ_HANG)
			az_transport_hang(req, &srv->stopping);
		else
			az_transport_reset(req);
		return MHD_NO;
	}
	if (answer(srv, route, req, &res, &err) < 0 &&
	    az_refuse(req, &res, 500, "InternalError", err.msg, &err) < 0)
		res.status = 500;
	count(srv->sim, e, res.status);
	ck_log(CK_LOG_INFO, "%s %s %s: %u%s%s%s%s", req->host, req->method, req->path, res.status,
	       req->mode ? ", fault " : "", req->mode ? req->mode->name : "",
	       res.status >= 400 ? ", " : "", res.status >= 400 ? ck_buf_str(&res.body) : "");
	enum MHD_Result ok = az_transport_send(req, &res);
	ck_buf_free(&res.body);
	return ok;
}

static enum MHD_Result receive(struct az_server *srv, struct MHD_Connection *conn, const char *url,
			       const char *method, const char *data, size_t *n_data, void **ctx,
			       bool tls)
{
	struct az_req *req = *ctx;

	if (!req) {
		req = *ctx = calloc(1, sizeof *req);
		if (!req)
			return MHD_NO;
		req->conn = conn;
		/* One byte more than allowed shows that there is more. */
		req->body.max = AZ_MAX_BODY + 1;
		return MHD_YES;
	}
	if (*n_data) {
		size_t room = req->body.max - req->body.len;
		int rc = ck_buf_add(&req->body, data, *n_data < room ? *n_data : room, NULL);
		*n_data = 0;
		return rc == 0 ? MHD_YES : MHD_NO;
	}
	req->path = url;
	req->method = method;
	return dispatch(srv, req, tls);
}

static enum MHD_Result on_plain(void *arg, struct MHD_Connection *c, const char *url,
				const char *method, const char *version, const char *data,
				size_t *n_data, void **ctx)
{
	(void)version;
	return receive(arg, c, url, method, data, n_data, ctx, false);
}

static enum MHD_Result on_tls(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *n_data, void **ctx)
{
	(void)version;
	return receive(arg, c, url, method, data, n_data, ctx, true);
}

static void on_done(void *arg, struct MHD_Connection *c, void **ctx,
		    enum MHD_RequestTerminationCode why)
{
	struct az_req *req = *ctx;

	(void)arg;
	(void)c;
	(void)why;
	if (req)
		ck_buf_free(&req->body);
	free(req);
	*ctx = NULL;
}

/* A listening socket on 127.0.0.1:*PORT, or on any port when that is 0 or taken. */
static int listen_on(unsigned *port, struct ck_err *err)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)*port),
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof a;
	int on = 1;

	CK_AUTO(ck_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	/* The port of an earlier run, whose connections may still be in TIME_WAIT. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		a.sin_port = 0;
		if (errno != EADDRINUSE || bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
			return ck_fail(err, -errno, "cannot bind to 127.0.0.1: %s",
				       strerror(errno));
	}
	if (listen(fd, 128) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return ck_fail(err, -errno, "cannot listen on 127.0.0.1: %s", strerror(errno));
	*port = ntohs(a.sin_port);
	return ck_take_fd(&fd);
}

static int start_plain(struct az_server *srv, struct ck_err *err)
{
	int fd = listen_on(&srv->sim->http_port, err);

	if (fd < 0)
		return fd;
	srv->plain =
	    MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
				 MHD_USE_POLL | MHD_USE_ITC,
			     0, NULL, NULL, on_plain, srv, MHD_OPTION_LISTEN_SOCKET, fd,
			     MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL, MHD_OPTION_END);
	if (srv->plain)
		return 0;
	close(fd);
	return ck_fail(err, -EIO, "cannot start the metadata listener");
}

/* Key and certificate chain of the TLS listener: one leaf for every host. */
static int tls_identity(struct ck_buf *key_pem, struct ck_buf *chain_pem, const struct az_sim *s,
			struct ck_err *err)
{
	const char *names[2 * AZ_MAX_HOSTS + 1] = { AZ_LOGIN_HOST };
	AZ_PKEY *key = NULL;
	AZ_X509 *leaf = NULL;
	size_t n = 1;

	for (size_t i = 0; i < s->n_maa; i++)
		names[n++] = s->maa[i].name;
	for (size_t i = 0; i < s->n_hsm; i++)
		names[n++] = s->hsm[i].name;
	int rc = az_pkey_make(&key, "P-256", err);
	if (rc == 0)
		rc = az_ca_leaf(&leaf, &s->ca, key, names, n, -86400, 365 * 86400L, err);
	if (rc == 0)
		rc = az_pkey_pem(key_pem, key, err);
	if (rc == 0)
		rc = az_cert_pem(chain_pem, leaf, err);
	return rc < 0 ? rc : az_cert_pem(chain_pem, s->ca.issuing, err);
}

static int start_tls(struct az_server *srv, struct ck_err *err)
{
	CK_BUF key = { 0 };
	CK_BUF chain = { 0 };
	int rc = tls_identity(&key, &chain, srv->sim, err);

	if (rc < 0)
		return rc;
	int fd = listen_on(&srv->sim->https_port, err);
	if (fd < 0)
		return fd;
	srv->tls = MHD_start_daemon(
	    MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
		MHD_USE_ITC | MHD_USE_TLS,
	    0, NULL, NULL, on_tls, srv, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_HTTPS_MEM_KEY,
	    ck_buf_str(&key), MHD_OPTION_HTTPS_MEM_CERT, ck_buf_str(&chain),
	    MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL, MHD_OPTION_END);
	if (srv->tls)
		return 0;
	close(fd);
	return ck_fail(err, -EIO, "cannot start the TLS listener");
}

int az_server_start(struct az_server **out, struct az_sim *s, struct ck_err *err)
{
	struct az_server *srv = calloc(1, sizeof *srv);

	if (!srv)
		return ck_nomem(err, "starting the server");
	srv->sim = s;
	int rc = start_plain(srv, err);
	if (rc == 0)
		rc = start_tls(srv, err);
	if (rc < 0)
		az_server_stop(srv);
	else
		*out = srv;
	return rc;
}

void az_server_stop(struct az_server *srv)
{
	if (!srv)
		return;
	srv->stopping = true;
	if (srv->tls)
		MHD_stop_daemon(srv->tls);
	if (srv->plain)
		MHD_stop_daemon(srv->plain);
	free(srv);
}
