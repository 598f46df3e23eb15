#include "tests/fault/wire.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/util.h"

/* The handshake, and the round trips that it would take on a real network. */
static bool shake_hands(struct fr_wire *w, SSL_CTX *ctx)
{
	fr_shape_round_trip(w->shape);
	if (!ctx)
		return true;
	w->ssl = SSL_new(ctx);
	if (!w->ssl || SSL_set_fd(w->ssl, w->fd) != 1)
		return false;
	fr_shape_round_trip(w->shape);
	if (SSL_accept(w->ssl) != 1) {
		ERR_clear_error();
		return false;
	}
	if (SSL_version(w->ssl) < TLS1_3_VERSION && !SSL_session_reused(w->ssl))
		fr_shape_round_trip(w->shape);
	return true;
}

struct fr_wire *fr_wire_open(int fd, SSL_CTX *ctx, struct fr_shape *shape)
{
	struct fr_wire *w = fr_alloc(sizeof *w);
	int on = 1;

	w->fd = fd;
	w->shape = shape;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (shake_hands(w, ctx))
		return w;
	fr_wire_close(w, false, false);
	return NULL;
}

static bool fill(struct fr_wire *w)
{
	long n;

	if (w->broken || w->drop)
		return false;
	if (w->ssl) {
		n = SSL_read(w->ssl, w->in, sizeof w->in);
		ERR_clear_error();
	} else {
		n = recv(w->fd, w->in, sizeof w->in, 0);
	}
	if (n <= 0) {
		w->broken = true;
		return false;
	}
	w->at = 0;
	w->len = (size_t)n;
	fr_shape_in(w->shape, w->len);
	return true;
}

size_t fr_wire_read(struct fr_wire *w, void *buf, size_t nbytes)
{
	if (nbytes == 0 || (w->len == 0 && !fill(w)))
		return 0;
	size_t n = nbytes < w->len ? nbytes : w->len;
	memcpy(buf, w->in + w->at, n);
	w->at += n;
	w->len -= n;
	return n;
}

bool fr_wire_line(struct fr_wire *w, char *buf, size_t cap)
{
	size_t len = 0;

	while (len + 1 < cap && fr_wire_read(w, buf + len, 1) == 1)
		if (buf[len++] == '\n') {
			buf[len] = 0;
			return true;
		}
	return false;
}

static bool send_piece(struct fr_wire *w, const char *p, size_t nbytes)
{
	while (nbytes) {
		long n = w->ssl ? SSL_write(w->ssl, p, (int)nbytes)
				: send(w->fd, p, nbytes, MSG_NOSIGNAL);
		if (n <= 0) {
			ERR_clear_error();
			w->broken = true;
			return false;
		}
		p += n;
		nbytes -= (size_t)n;
	}
	return true;
}

bool fr_wire_send(struct fr_wire *w, const void *p, size_t nbytes)
{
	const char *at = p;

	while (nbytes) {
		size_t n = fr_shape_out(w->shape, &w->flight, nbytes);
		if (w->broken || w->drop || !send_piece(w, at, n))
			return false;
		at += n;
		nbytes -= n;
	}
	return true;
}

bool fr_wire_gone(struct fr_wire *w, int wait_ms)
{
	struct pollfd p = { .fd = w->fd, .events = POLLRDHUP };

	return w->drop || (poll(&p, 1, wait_ms) > 0 && p.revents);
}

void fr_wire_drop(struct fr_wire *w)
{
	w->drop = true;
	(void)shutdown(w->fd, SHUT_RD);
}

void fr_wire_close(struct fr_wire *w, bool reset, bool bye)
{
	struct linger now = { 1, 0 };

	if (reset || w->drop)
		(void)setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	else if (w->ssl && bye && !w->broken)
		(void)SSL_shutdown(w->ssl);
	SSL_free(w->ssl);
	ERR_clear_error();
	(void)close(w->fd);
	free(w);
}
