/*
 * listen - the ports, and a thread for each connection that comes in.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/server.h"

enum { BACKLOG = 512, TURN_US = 10000 };

struct arrival {
	struct fr_listener *listener;
	int fd;
};

static void *serve_thread(void *p)
{
	struct arrival a = *(struct arrival *)p;

	free(p);
	fr_serve(a.listener, a.fd);
	return NULL;
}

static void *accept_thread(void *p)
{
	struct fr_listener *l = p;
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 512 << 10);
	for (;;) {
		int fd = l->state == FR_LISTENS ? accept4(l->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd < 0) { /* it does not listen now, or was just told not to */
			fr_sleep_until(fr_now_us() + TURN_US);
			continue;
		}
		while (l->state == FR_DEAF) /* it came while we turned so */
			fr_sleep_until(fr_now_us() + TURN_US);
		struct arrival *a = fr_alloc(sizeof *a);
		*a = (struct arrival){ l, fd };
		if (pthread_create(&thread, &attr, serve_thread, a) != 0)
			fr_die("no more threads");
	}
	return NULL;
}

static int bound(const char *address, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &a.sin_addr) != 1)
		fr_die("what address is %s?", address);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* A port that was asked for by number stays ours while we do not listen; one that the kernel chose
 * would not. */
static int choose(const char *address)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	int fd = bound(address, 0);

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		fr_die("no free port: %s", strerror(errno));
	(void)close(fd);
	return ntohs(a.sin_port);
}

void fr_listen(struct fr_listener *l, const char *address, int port)
{
	pthread_t thread;

	for (int tries = 0; tries < 20; tries++) {
		l->port = port ? port : choose(address);
		l->fd = bound(address, l->port);
		if (l->fd >= 0)
			break;
	}
	if (l->fd < 0 || listen(l->fd, BACKLOG) != 0 ||
	    pthread_create(&thread, NULL, accept_thread, l) != 0)
		fr_die("port %d: %s", l->port, strerror(errno));
}

void fr_listen_state(struct fr_listener *l, enum fr_listening state)
{
	enum fr_listening before = l->state;

	l->state = state;
	if (state == FR_REFUSES)
		(void)shutdown(l->fd, SHUT_RDWR); /* bound, but closed; wakes accept */
	else if (before == FR_REFUSES)
		(void)listen(l->fd, BACKLOG);
}

SSL_CTX *fr_tls(const char *cert_file, const char *key_file, const char *client_ca)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
		fr_die("certificate %s, key %s: %s", cert_file, key_file,
		       ERR_reason_error_string(ERR_get_error()));
	if (client_ca) {
		if (SSL_CTX_load_verify_locations(ctx, client_ca, NULL) != 1)
			fr_die("clients' CA %s: cannot be read", client_ca);
		SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(client_ca));
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		(void)SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"fault", 5);
	}
	return ctx;
}
