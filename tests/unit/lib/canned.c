#include "tests/unit/lib/canned.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
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

enum { REQUESTS_MAX = 64, REQUEST_CAP = 1 << 16 };

struct canned {
	int fd, stop[2];
	char url[64];
	const char *const *answers;
	size_t n_answers;
	pthread_t thread;
	pthread_mutex_t lock;
	size_t n_requests; /* under the lock */
	char *requests[REQUESTS_MAX];
	int held[REQUESTS_MAX], n_held;
};

/* Reads one request: headers, and the body that Content-Length promises. */
static char *read_request(int fd)
{
	char *text = calloc(1, REQUEST_CAP);
	size_t len = 0;

	MUST(text);
	for (;;) {
		ssize_t n = read(fd, text + len, REQUEST_CAP - 1 - len);
		if (n <= 0)
			return text;
		len += (size_t)n;
		char *end = strstr(text, "\r\n\r\n"), *cl = strcasestr(text, "content-length:");
		if (!end)
			continue;
		size_t body = cl && cl < end ? strtoul(cl + 15, NULL, 10) : 0;
		if (len >= (size_t)(end + 4 - text) + body)
			return text;
	}
}

static void answer(struct canned *c, int fd)
{
	char *text = read_request(fd);

	pthread_mutex_lock(&c->lock);
	size_t idx = c->n_requests++;
	MUST(idx < REQUESTS_MAX);
	c->requests[idx] = text;
	pthread_mutex_unlock(&c->lock);
	if (idx < c->n_answers && !c->answers[idx]) {
		c->held[c->n_held++] = fd;
		return;
	}
	const char *a = idx < c->n_answers ? c->answers[idx] : "";
	for (size_t left = strlen(a); left;) {
		ssize_t n = send(fd, a, left, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		a += n;
		left -= (size_t)n;
	}
	(void)shutdown(fd, SHUT_WR);
	(void)close(fd);
}

static void *serve(void *arg)
{
	struct canned *c = arg;

	for (;;) {
		struct pollfd p[2] = { { c->fd, POLLIN, 0 }, { c->stop[0], POLLIN, 0 } };
		MUST(poll(p, 2, -1) > 0);
		if (p[1].revents)
			return NULL;
		int fd = accept(c->fd, NULL, NULL);
		if (fd >= 0)
			answer(c, fd);
	}
}

struct canned *canned_open(const char *const *answers, size_t n_answers)
{
	struct canned *c = calloc(1, sizeof *c);
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;

	MUST(c);
	c->answers = answers;
	c->n_answers = n_answers;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	MUST(bind(c->fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(c->fd, 16) == 0);
	MUST(getsockname(c->fd, (struct sockaddr *)&a, &len) == 0 && pipe(c->stop) == 0);
	snprintf(c->url, sizeof c->url, "http://127.0.0.1:%d", ntohs(a.sin_port));
	MUST(pthread_mutex_init(&c->lock, NULL) == 0);
	MUST(pthread_create(&c->thread, NULL, serve, c) == 0);
	return c;
}

void canned_close(struct canned *c)
{
	MUST(write(c->stop[1], "", 1) == 1 && pthread_join(c->thread, NULL) == 0);
	for (int i = 0; i < c->n_held; i++)
		(void)close(c->held[i]);
	for (size_t i = 0; i < c->n_requests; i++)
		free(c->requests[i]);
	(void)close(c->fd);
	(void)close(c->stop[0]);
	(void)close(c->stop[1]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

const char *canned_url(const struct canned *c)
{
	return c->url;
}

size_t canned_count(struct canned *c)
{
	pthread_mutex_lock(&c->lock);
	size_t n = c->n_requests;
	pthread_mutex_unlock(&c->lock);
	return n;
}

const char *canned_request(struct canned *c, size_t idx)
{
	pthread_mutex_lock(&c->lock);
	const char *r = idx < c->n_requests ? c->requests[idx] : "";
	pthread_mutex_unlock(&c->lock);
	return r;
}
