#include "fs/fuse/answerer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/log.h"

enum {
	ASK_MS = 2000,	   /* from a question's first byte to its last */
	ANSWER_MS = 5000,  /* to take the answer */
	PAUSE_MS = 100,	   /* after running out of descriptors */
	ANSWERS_MAX = 4,   /* held in memory at once */
	QUESTION_CAP = 32, /* bytes; a longer one is none of ours */
};

struct client {
	int fd;
	char question[QUESTION_CAP];
	size_t n_asked;
	uint64_t deadline_ms; /* 0 while it is silent */
	struct ck_buf answer;
	size_t n_sent;
};

struct ck_answerer {
	pthread_t thread;
	int listener; /* borrowed */
	int stop;     /* an eventfd */
	ck_answer_fn *answer;
	void *ctx;
	uint64_t accept_after_ms;
	size_t n_clients;
	struct client clients[CK_ANSWER_CLIENTS];
};

static void drop(struct ck_answerer *a, size_t idx)
{
	struct client *c = &a->clients[idx];

	(void)close(c->fd);
	ck_buf_free(&c->answer);
	*c = a->clients[--a->n_clients];
}

static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

/* What the queue holds, as far as there is room. */
static void accept_some(struct ck_answerer *a, uint64_t now)
{
	for (size_t i = 0; i < CK_ANSWER_CLIENTS && a->n_clients < CK_ANSWER_CLIENTS; i++) {
		int fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				a->accept_after_ms = now + PAUSE_MS;
			return;
		}
		if (may_ask(fd))
			a->clients[a->n_clients++] =
			    (struct client){ .fd = fd, .answer = { .max = CK_ANSWER_MAX } };
		else
			(void)close(fd);
	}
}

/* Sends what is left. False: done with, or hopeless. */
static bool send_some(struct client *c)
{
	ssize_t n = send(c->fd, c->answer.data + c->n_sent, c->answer.len - c->n_sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->n_sent += (size_t)n;
	return c->n_sent < c->answer.len;
}

static size_t n_answers(const struct ck_answerer *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n_clients; i++)
		n += a->clients[i].answer.len > 0;
	return n;
}

/* Takes more of the question, and begins to answer one that is complete. False: hang up. */
static bool hear(struct ck_answerer *a, struct client *c, uint64_t now)
{
	static const char want[] = CK_ANSWER_QUESTION;
	struct ck_err err = { 0 };
	ssize_t n =
	    recv(c->fd, c->question + c->n_asked, sizeof c->question - c->n_asked, MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	c->n_asked += (size_t)n;
	size_t len = c->n_asked < sizeof want - 1 ? c->n_asked : sizeof want - 1;
	if (memcmp(c->question, want, len) != 0)
		return false;
	if (!c->deadline_ms)
		c->deadline_ms = now + ASK_MS;
	if (len < sizeof want - 1)
		return true;
	c->deadline_ms = now + ANSWER_MS;
	if (a->answer(a->ctx, &c->answer, &err) < 0) {
		ck_log(CK_LOG_WARNING, "a question is not answered: %s", err.msg);
		return false;
	}
	return c->answer.len > 0 && send_some(c);
}

static bool serve(struct ck_answerer *a, struct client *c, short got, uint64_t now)
{
	if (c->deadline_ms && now >= c->deadline_ms)
		return false;
	if (!got)
		return true;
	if (c->answer.len)
		return send_some(c);
	if (got & POLLIN)
		return n_answers(a) == ANSWERS_MAX || hear(a, c, now);
	return false; /* it hung up */
}

static int wait_ms(const struct ck_answerer *a, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < a->n_clients; i++)
		if (a->clients[i].deadline_ms && a->clients[i].deadline_ms < next)
			next = a->clients[i].deadline_ms;
	if (a->accept_after_ms > now && a->accept_after_ms < next)
		next = a->accept_after_ms;
	return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)(next - now);
}

/* What poll looks at: two fixed places, then the clients. */
enum { AT_STOP, AT_LISTENER, AT_CLIENTS };

static void *answer_main(void *arg)
{
	struct ck_answerer *a = arg;
	struct pollfd on[AT_CLIENTS + CK_ANSWER_CLIENTS];

	for (;;) {
		uint64_t now = ck_now_ms();
		size_t n = a->n_clients;
		short hears = n_answers(a) < ANSWERS_MAX ? POLLIN : 0;
		bool room = n < CK_ANSWER_CLIENTS && now >= a->accept_after_ms;

		on[AT_STOP] = (struct pollfd){ .fd = a->stop, .events = POLLIN };
		on[AT_LISTENER] =
		    (struct pollfd){ .fd = room ? a->listener : -1, .events = POLLIN };
		for (size_t i = 0; i < n; i++)
			on[AT_CLIENTS + i] =
			    (struct pollfd){ .fd = a->clients[i].fd,
					     .events = a->clients[i].answer.len ? POLLOUT : hears };
		if (poll(on, AT_CLIENTS + n, wait_ms(a, now)) < 0 && errno != EINTR)
			return NULL;
		if (on[AT_STOP].revents)
			return NULL;
		now = ck_now_ms();
		/* From the last, since drop moves the last one into the gap. */
		for (size_t i = n; i-- > 0;)
			if (!serve(a, &a->clients[i], on[AT_CLIENTS + i].revents, now))
				drop(a, i);
		if (on[AT_LISTENER].revents)
			accept_some(a, now);
	}
}

static void release(struct ck_answerer *a)
{
	while (a->n_clients)
		drop(a, a->n_clients - 1);
	ck_closep(&a->stop);
	free(a);
}

int ck_answerer_start(struct ck_answerer **out, int listener, ck_answer_fn *answer, void *ctx,
		      struct ck_err *err)
{
	struct ck_answerer *a = calloc(1, sizeof *a);

	if (!a)
		return ck_nomem(err, "starting to answer");
	a->listener = listener;
	a->answer = answer;
	a->ctx = ctx;
	a->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = a->stop < 0 ? -errno : -pthread_create(&a->thread, NULL, answer_main, a);
	if (rc < 0) {
		release(a);
		return ck_fail(err, rc, "cannot answer questions: %s", strerror(-rc));
	}
	*out = a;
	return 0;
}

void ck_answerer_stop(struct ck_answerer *a)
{
	if (!a)
		return;
	(void)eventfd_write(a->stop, 1);
	pthread_join(a->thread, NULL);
	release(a);
}
