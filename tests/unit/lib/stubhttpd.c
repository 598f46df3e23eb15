#include "tests/unit/lib/stubhttpd.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			perror(#x);                                                                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

enum { CONNS_MAX = 512, LOG_MAX = 4096, HEAD_CAP = 1 << 16 };
enum fate { KEEP, END, CUT, HOLD };

struct stub_conn {
	struct stub *s;
	int fd; /* -1 once closed; under the server's lock */
	SSL *ssl;
	unsigned idx;
	pthread_t thread;
	enum fate fate;
	bool dead;
};

struct stub {
	struct stub_opts opts;
	int fd, stop[2];
	char host[64];
	SSL_CTX *tls;
	pthread_t thread;
	pthread_mutex_t lock, turn;
	struct stub_conn conns[CONNS_MAX];
	unsigned n_conns; /* under the lock */
	char *log[LOG_MAX];
	unsigned n_log; /* under the lock */
};

static ssize_t get(struct stub_conn *c, void *p, size_t n)
{
	return c->ssl ? SSL_read(c->ssl, p, (int)n) : recv(c->fd, p, n, 0);
}

void stub_send(struct stub_conn *c, const void *p, size_t nbytes)
{
	const char *at = p;

	while (nbytes && !c->dead) {
		ssize_t n = c->ssl ? SSL_write(c->ssl, at, (int)nbytes)
				   : send(c->fd, at, nbytes, MSG_NOSIGNAL);
		if (n <= 0) {
			c->dead = true;
			return;
		}
		at += n;
		nbytes -= (size_t)n;
	}
}

void stub_sendf(struct stub_conn *c, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	MUST(n >= 0);
	stub_send(c, text, (size_t)n);
	free(text);
}

void stub_reply(struct stub_conn *c, const char *status, const char *headers, const void *body,
		size_t nbytes)
{
	stub_sendf(c, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status, headers, nbytes);
	stub_send(c, body, nbytes);
}

void stub_replys(struct stub_conn *c, const char *status, const char *headers, const char *body)
{
	stub_reply(c, status, headers, body, strlen(body));
}

void stub_end(struct stub_conn *c)
{
	c->fate = END;
}

void stub_cut(struct stub_conn *c)
{
	c->fate = CUT;
}

void stub_hold(struct stub_conn *c)
{
	c->fate = HOLD;
}

const char *stub_header(const struct stub_req *req, const char *name)
{
	static _Thread_local char value[4096];
	size_t len = strlen(name);

	for (const char *l = req->head; l && *l; l = strstr(l, "\r\n"), l = l ? l + 2 : NULL)
		if (strncasecmp(l, name, len) == 0 && l[len] == ':') {
			const char *v = l + len + 1 + strspn(l + len + 1, " ");
			snprintf(value, sizeof value, "%.*s", (int)strcspn(v, "\r\n"), v);
			return value;
		}
	return NULL;
}

static void log_request(struct stub *s, const char *method, const char *target)
{
	char *line = NULL;

	MUST(asprintf(&line, "%s %s", method, target) > 0);
	pthread_mutex_lock(&s->lock);
	MUST(s->n_log < LOG_MAX);
	s->log[s->n_log++] = line;
	pthread_mutex_unlock(&s->lock);
}

/* Reads a request and answers it; false when there is none, or the connection is done with. */
static bool serve_one(struct stub_conn *c, char *text)
{
	size_t len = 0, body = 0;
	char *end = NULL;

	do {
		ssize_t n = get(c, text + len, HEAD_CAP - 1 - len);
		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = 0;
		if (text[0] < 'A' || text[0] > 'Z') { /* a TLS handshake, most often */
			stub_sendf(c, "HTTP/1.0 400 Bad Request\r\n\r\n");
			return false;
		}
		end = strstr(text, "\r\n\r\n");
		char *cl = end ? strcasestr(text, "\r\ncontent-length:") : NULL;
		body = cl && cl < end ? strtoul(cl + 17, NULL, 10) : 0;
		MUST(len < HEAD_CAP - 1);
	} while (!end || len < (size_t)(end + 4 - text) + body);

	struct stub_req req = { .method = text, .body = end + 4, .body_len = body, .conn = c->idx };
	end[2] = 0;
	char *target = strchr(text, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
	char *line_end = strstr(text, "\r\n");
	MUST(target && version && line_end);
	*target = *version = *line_end = 0;
	req.target = target + 1;
	req.head = line_end + 2;
	log_request(c->s, req.method, req.target);
	pthread_mutex_lock(&c->s->turn);
	c->s->opts.answer(c->s->opts.ctx, &req, c);
	pthread_mutex_unlock(&c->s->turn);
	if (c->fate == HOLD)
		while (get(c, text, HEAD_CAP) > 0)
			;
	return c->fate == KEEP && !c->dead;
}

static bool shake(struct stub_conn *c)
{
	if (!c->s->tls)
		return true;
	c->ssl = SSL_new(c->s->tls);
	MUST(c->ssl && SSL_set_fd(c->ssl, c->fd) == 1);
	return SSL_accept(c->ssl) == 1;
}

static void *serve_conn(void *arg)
{
	struct stub_conn *c = arg;
	char *text = malloc(HEAD_CAP);

	MUST(text);
	if (shake(c))
		while (serve_one(c, text))
			;
	if (c->fate == CUT) {
		struct linger now = { 1, 0 };
		MUST(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
	} else if (c->ssl) {
		(void)SSL_shutdown(c->ssl);
	}
	SSL_free(c->ssl);
	pthread_mutex_lock(&c->s->lock);
	(void)close(c->fd);
	c->fd = -1;
	pthread_mutex_unlock(&c->s->lock);
	free(text);
	return NULL;
}

static void *serve(void *arg)
{
	struct stub *s = arg;

	for (;;) {
		struct pollfd p[2] = { { s->fd, POLLIN, 0 }, { s->stop[0], POLLIN, 0 } };
		MUST(poll(p, 2, -1) > 0);
		if (p[1].revents)
			return NULL;
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		pthread_mutex_lock(&s->lock);
		MUST(s->n_conns < CONNS_MAX);
		struct stub_conn *c = &s->conns[s->n_conns];
		*c = (struct stub_conn){ .s = s, .fd = fd, .idx = s->n_conns++ };
		MUST(pthread_create(&c->thread, NULL, serve_conn, c) == 0);
		pthread_mutex_unlock(&s->lock);
	}
}

static void set_up_tls(struct stub *s)
{
	const struct stub_opts *o = &s->opts;

	if (!o->cert)
		return;
	MUST((s->tls = SSL_CTX_new(TLS_server_method())));
	MUST(SSL_CTX_use_certificate_chain_file(s->tls, o->cert) == 1);
	MUST(SSL_CTX_use_PrivateKey_file(s->tls, o->key, SSL_FILETYPE_PEM) == 1);
	if (o->client_ca) {
		MUST(SSL_CTX_load_verify_locations(s->tls, o->client_ca, NULL) == 1);
		SSL_CTX_set_verify(s->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
}

struct stub *stub_open(const struct stub_opts *opts)
{
	struct stub *s = calloc(1, sizeof *s);
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	int on = 1; /* a port of ours of just now may be used again */

	MUST(s);
	(void)signal(SIGPIPE, SIG_IGN); /* SSL_write raises it */
	s->opts = *opts;
	set_up_tls(s);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)opts->port);
	MUST((s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	MUST(setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
	MUST(bind(s->fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(s->fd, 64) == 0);
	MUST(getsockname(s->fd, (struct sockaddr *)&a, &len) == 0 && pipe(s->stop) == 0);
	snprintf(s->host, sizeof s->host, "127.0.0.1:%d", ntohs(a.sin_port));
	MUST(pthread_mutex_init(&s->lock, NULL) == 0 && pthread_mutex_init(&s->turn, NULL) == 0);
	MUST(pthread_create(&s->thread, NULL, serve, s) == 0);
	return s;
}

void stub_close(struct stub *s)
{
	MUST(write(s->stop[1], "", 1) == 1 && pthread_join(s->thread, NULL) == 0);
	for (unsigned i = 0; i < s->n_conns; i++) {
		pthread_mutex_lock(&s->lock);
		if (s->conns[i].fd >= 0)
			(void)shutdown(s->conns[i].fd, SHUT_RDWR);
		pthread_mutex_unlock(&s->lock);
		MUST(pthread_join(s->conns[i].thread, NULL) == 0);
	}
	for (unsigned i = 0; i < s->n_log; i++)
		free(s->log[i]);
	SSL_CTX_free(s->tls);
	(void)close(s->fd);
	(void)close(s->stop[0]);
	(void)close(s->stop[1]);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->turn);
	free(s);
}

const char *stub_host(const struct stub *s)
{
	return s->host;
}

unsigned stub_conns(struct stub *s)
{
	pthread_mutex_lock(&s->lock);
	unsigned n = s->n_conns;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned stub_count(struct stub *s, const char *what)
{
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n_log; i++)
		n += strncmp(s->log[i], what, strlen(what)) == 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void stub_pause(struct stub *s)
{
	pthread_mutex_lock(&s->turn);
}

void stub_resume(struct stub *s)
{
	pthread_mutex_unlock(&s->turn);
}
