#include "base/textserver.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/httpreq.h"
#include "base/log.h"

enum {
	ASK_MS = 5000,	   /* for all of the head, from the connection on */
	ANSWER_MS = 10000, /* to take the answer */
	LINGER_MS = 1000,  /* to hang up after it */
	EVICT_MS = 1000,   /* after which a client makes room for another */
	PAUSE_MS = 100,	   /* after running out of descriptors */
};

struct client {
	int fd;
	enum { ASKS, IS_ANSWERED, LINGERS } state;
	uint64_t begun_ms, deadline_ms;
	char head[CK_TEXT_HEAD_MAX];
	size_t n_head;
	struct ck_buf answer;
	size_t n_sent;
};

struct ck_textserver {
	pthread_t thread;
	const struct ck_listener *listener;
	struct ck_text text;
	int stop; /* an eventfd */
	uint64_t accept_after_ms;
	size_t n_clients;
	struct client *clients[CK_TEXT_CLIENTS]; /* in the order in which they came */
};

/* ---- answers ------------------------------------------------------------------------------- */

static const char *reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	case 505:
		return "HTTP Version Not Supported";
	}
	return "Internal Server Error";
}

static int put_answer(struct ck_buf *out, int status, const char *type, const struct ck_buf *body,
		      bool head_only, struct ck_err *err)
{
	int rc = ck_buf_addf(out, err,
			     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
			     "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
			     status, reason(status), type, body->len,
			     status == 405 ? "Allow: GET, HEAD\r\n" : "");

	return rc < 0 || head_only ? rc : ck_buf_add(out, body->data, body->len, err);
}

static int put_refusal(struct ck_buf *out, int status, bool head_only, struct ck_err *err)
{
	CK_BUF body = { 0 };
	int rc = ck_buf_addf(&body, err, "%d %s\n", status, reason(status));

	return rc < 0 ? rc : put_answer(out, status, "text/plain", &body, head_only, err);
}

static int put_text(struct ck_buf *out, const struct ck_text *t, bool head_only, struct ck_err *err)
{
	CK_BUF body = { .max = CK_TEXT_MAX };
	int rc = t->write(t->ctx, &body, err);

	if (rc < 0) {
		ck_log(CK_LOG_WARNING, "%s is not answered: %s", t->path, err->msg);
		return put_refusal(out, 500, head_only, err);
	}
	return put_answer(out, 200, t->type, &body, head_only, err);
}

/* What PARSED, as ck_httpreq_parse returned it, asks for. */
static int put_any(struct ck_buf *out, const struct ck_text *t, int parsed,
		   const struct ck_httpreq *r, struct ck_err *err)
{
	if (parsed < 0)
		return put_refusal(out, -parsed, false, err);
	bool head = ck_httpreq_is(r->method, r->method_len, "HEAD");
	if (!ck_httpreq_is(r->path, r->path_len, t->path))
		return put_refusal(out, 404, head, err);
	if (!head && !ck_httpreq_is(r->method, r->method_len, "GET"))
		return put_refusal(out, 405, head, err);
	return put_text(out, t, head, err);
}

/* ---- clients ------------------------------------------------------------------------------- */

static void drop(struct ck_textserver *s, size_t idx)
{
	struct client *c = s->clients[idx];

	(void)close(c->fd);
	ck_buf_free(&c->answer);
	free(c);
	s->n_clients--;
	memmove(&s->clients[idx], &s->clients[idx + 1],
		(s->n_clients - idx) * sizeof(struct client *));
}

/* Sends what is left. False: hopeless. */
static bool send_some(struct client *c, uint64_t now)
{
	ssize_t n = send(c->fd, c->answer.data + c->n_sent, c->answer.len - c->n_sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->n_sent += (size_t)n;
	if (c->n_sent < c->answer.len)
		return true;
	/* Closing while something unread waits would take the answer back from who has not read
	 * it (RFC 9112 section 9.6). */
	c->state = LINGERS;
	c->deadline_ms = now + LINGER_MS;
	return shutdown(c->fd, SHUT_WR) == 0;
}

/* Takes more of the head, and begins to answer one that is complete. False: hang up. */
static bool hear(const struct ck_textserver *s, struct client *c, uint64_t now)
{
	struct ck_httpreq r;
	struct ck_err err = { 0 };
	ssize_t n = recv(c->fd, c->head + c->n_head, sizeof c->head - c->n_head, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	c->n_head += (size_t)n;
	int parsed = ck_httpreq_parse(&r, c->head, c->n_head);
	if (parsed == 0 && c->n_head < sizeof c->head)
		return true;
	if (put_any(&c->answer, &s->text, parsed ? parsed : -431, &r, &err) < 0)
		return false;
	c->state = IS_ANSWERED;
	c->deadline_ms = now + ANSWER_MS;
	return send_some(c, now);
}

/* False: it has hung up, or there is too much to be said. */
static bool discard(struct client *c)
{
	ssize_t n = recv(c->fd, c->head, sizeof c->head, MSG_DONTWAIT);

	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool serve(const struct ck_textserver *s, struct client *c, short got, uint64_t now)
{
	if (now >= c->deadline_ms)
		return false;
	if (!got)
		return true;
	switch (c->state) {
	case ASKS:
		return hear(s, c, now);
	case IS_ANSWERED:
		return send_some(c, now);
	case LINGERS:
		break;
	}
	return discard(c);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool full(const struct ck_textserver *s)
{
	return s->n_clients == CK_TEXT_CLIENTS;
}

static bool may_accept(const struct ck_textserver *s, uint64_t now)
{
	return now >= s->accept_after_ms && (!full(s) || now - s->clients[0]->begun_ms >= EVICT_MS);
}

static void accept_one(struct ck_textserver *s, uint64_t now)
{
	int fd = ck_listen_accept(s->listener);
	struct client *c = fd < 0 ? NULL : calloc(1, sizeof *c);

	if (!c) {
		if (fd != -EAGAIN && fd != -EPERM && fd != -EINTR && fd != -ECONNABORTED)
			s->accept_after_ms = now + PAUSE_MS;
		ck_closep(&fd);
		return;
	}
	if (full(s))
		drop(s, 0);
	c->fd = fd;
	c->begun_ms = now;
	c->deadline_ms = now + ASK_MS;
	s->clients[s->n_clients++] = c;
}

static int wait_ms(const struct ck_textserver *s, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < s->n_clients; i++)
		if (s->clients[i]->deadline_ms < next)
			next = s->clients[i]->deadline_ms;
	if (full(s) && s->clients[0]->begun_ms + EVICT_MS > now &&
	    s->clients[0]->begun_ms + EVICT_MS < next)
		next = s->clients[0]->begun_ms + EVICT_MS;
	if (s->accept_after_ms > now && s->accept_after_ms < next)
		next = s->accept_after_ms;
	return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)(next - now);
}

/* What poll looks at: two fixed places, then the clients. */
enum { AT_STOP, AT_LISTENER, AT_CLIENTS };

static void *server_main(void *arg)
{
	struct ck_textserver *s = arg;
	struct pollfd on[AT_CLIENTS + CK_TEXT_CLIENTS];

	for (;;) {
		uint64_t now = ck_now_ms();
		size_t n = s->n_clients;

		on[AT_STOP] = (struct pollfd){ .fd = s->stop, .events = POLLIN };
		on[AT_LISTENER] = (struct pollfd){ .fd = may_accept(s, now) ? s->listener->fd : -1,
						   .events = POLLIN };
		for (size_t i = 0; i < n; i++)
			on[AT_CLIENTS + i] = (struct pollfd){
				.fd = s->clients[i]->fd,
				.events = s->clients[i]->state == IS_ANSWERED ? POLLOUT : POLLIN
			};
		if (poll(on, AT_CLIENTS + n, wait_ms(s, now)) < 0 && errno != EINTR)
			return NULL;
		if (on[AT_STOP].revents)
			return NULL;
		now = ck_now_ms();
		/* From the last, since drop moves those behind it. */
		for (size_t i = n; i-- > 0;)
			if (!serve(s, s->clients[i], on[AT_CLIENTS + i].revents, now))
				drop(s, i);
		if (on[AT_LISTENER].revents)
			accept_one(s, now);
	}
}

static void release(struct ck_textserver *s)
{
	while (s->n_clients)
		drop(s, s->n_clients - 1);
	ck_closep(&s->stop);
	free(s);
}

int ck_textserver_start(struct ck_textserver **out, const struct ck_listener *listener,
			const struct ck_text *text, struct ck_err *err)
{
	struct ck_textserver *s = calloc(1, sizeof *s);

	if (!s)
		return ck_nomem(err, "starting to serve a text");
	s->listener = listener;
	s->text = *text;
	s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = s->stop < 0 ? -errno : -pthread_create(&s->thread, NULL, server_main, s);
	if (rc < 0) {
		release(s);
		return ck_fail(err, rc, "cannot serve %s: %s", text->path, strerror(-rc));
	}
	*out = s;
	return 0;
}

void ck_textserver_stop(struct ck_textserver *s)
{
	if (!s)
		return;
	(void)eventfd_write(s->stop, 1);
	pthread_join(s->thread, NULL);
	release(s);
}
