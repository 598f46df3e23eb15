#include "keyprov/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/listen.h"

int ck_dial_wait(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = ck_now_ms();
		if (now >= deadline_ms)
			return -ETIMEDOUT;
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t left = deadline_ms - now;
		int n = poll(&p, 1, left > 60000 ? 60000 : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int connect_to(const struct sockaddr *sa, socklen_t len, uint64_t deadline_ms)
{
	CK_AUTO(ck_closep)
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, failed = 0;
	socklen_t n = sizeof failed;

	if (fd < 0)
		return -errno;
	if (sa->sa_family != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, sa, len) == 0)
		return ck_take_fd(&fd);
	/* A unix socket whose backlog is full says EAGAIN, and will not say when. */
	if (errno != EINPROGRESS)
		return -errno;
	int rc = ck_dial_wait(fd, POLLOUT, deadline_ms);
	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n) < 0)
		return -errno;
	return failed ? -failed : ck_take_fd(&fd);
}

static int dial_unix(const char *path, uint64_t deadline_ms, struct ck_err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof sa.sun_path)
		return ck_fail(err, -EINVAL, "socket path \"%s\" is empty or above %zu bytes", path,
			       sizeof sa.sun_path - 1);
	memcpy(sa.sun_path, path, strlen(path));
	int fd;
	while ((fd = connect_to((struct sockaddr *)&sa, sizeof sa, deadline_ms)) == -EAGAIN &&
	       ck_now_ms() < deadline_ms)
		(void)poll(NULL, 0, 10);
	return fd < 0 ? ck_fail(err, fd, "cannot connect to %s: %s", path, strerror(-fd)) : fd;
}

/*
 * A name's look-up, which libc cannot end at a deadline: on a thread that is left to its
 * own when nobody waits any more. The last of the two to be done with it frees it.
 */
struct lookup {
	atomic_int n_users;
	atomic_bool done; /* rc and found are there */
	int event_fd;	  /* readable then */
	int rc;
	struct addrinfo *found;
	char host[256], port[8];
};

static void lookup_leave(struct lookup *l)
{
	if (atomic_fetch_sub(&l->n_users, 1) != 1)
		return;
	if (l->found)
		freeaddrinfo(l->found);
	ck_closep(&l->event_fd);
	free(l);
}

static const struct addrinfo hints_name = { .ai_socktype = SOCK_STREAM,
					    .ai_flags = AI_NUMERICSERV };
static const struct addrinfo hints_number = { .ai_socktype = SOCK_STREAM,
					      .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST };

static void *lookup_main(void *arg)
{
	struct lookup *l = arg;

	l->rc = getaddrinfo(l->host, l->port, &hints_name, &l->found);
	atomic_store(&l->done, true);
	(void)eventfd_write(l->event_fd, 1);
	lookup_leave(l);
	return NULL;
}

static int lookup_start(struct lookup *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	l->event_fd = eventfd(0, EFD_CLOEXEC);
	if (l->event_fd < 0)
		return errno;
	if (pthread_attr_init(&attr))
		return ENOMEM;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_fetch_add(&l->n_users, 1);
	int rc = pthread_create(&thread, &attr, lookup_main, l);
	if (rc)
		atomic_fetch_sub(&l->n_users, 1);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return rc;
}

static int resolve_name(const char *host, const char *port, uint64_t deadline_ms,
			struct addrinfo **out, struct ck_err *err)
{
	struct lookup *l = calloc(1, sizeof *l);

	if (!l)
		return ck_nomem(err, "looking a host up");
	l->n_users = 1;
	l->event_fd = -1;
	snprintf(l->host, sizeof l->host, "%s", host);
	snprintf(l->port, sizeof l->port, "%s", port);
	int rc = lookup_start(l);
	if (rc) {
		rc = ck_fail(err, -rc, "cannot look up %s: %s", host, strerror(rc));
	} else if (ck_dial_wait(l->event_fd, POLLIN, deadline_ms) < 0 || !atomic_load(&l->done)) {
		rc = ck_fail(err, -ETIMEDOUT, "looking up %s took too long", host);
	} else if (l->rc) {
		rc = ck_fail(err, -EINVAL, "cannot look up %s: %s", host, gai_strerror(l->rc));
	} else {
		*out = l->found;
		l->found = NULL;
	}
	lookup_leave(l);
	return rc;
}

static int resolve(const char *host, const char *port, uint64_t deadline_ms, struct addrinfo **out,
		   struct ck_err *err)
{
	/* An address in digits needs no thread. */
	if (getaddrinfo(host, port, &hints_number, out) == 0)
		return 0;
	return resolve_name(host, port, deadline_ms, out, err);
}

static int dial_tcp(const char *target, uint64_t deadline_ms, struct ck_err *err)
{
	const char *colon = strrchr(target, ':');
	char host[256];
	struct addrinfo *found = NULL;
	int fd = -EINVAL;

	if (!colon || !ck_is_port(colon + 1))
		return ck_fail(err, -EINVAL, "\"%.200s\" is neither host:port nor unix:///path",
			       target);
	size_t len = (size_t)(colon - target);
	if (len > 2 && target[0] == '[' && colon[-1] == ']') {
		target++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof host)
		return ck_fail(err, -EINVAL, "\"%.200s\" names no host", target);
	snprintf(host, sizeof host, "%.*s", (int)len, target);
	int rc = resolve(host, colon + 1, deadline_ms, &found, err);
	if (rc < 0)
		return rc;
	for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
		fd = connect_to(a->ai_addr, a->ai_addrlen, deadline_ms);
	freeaddrinfo(found);
	return fd < 0 ? ck_fail(err, fd, "cannot connect to %s: %s", target, strerror(-fd)) : fd;
}

int ck_dial(const char *target, uint64_t deadline_ms, struct ck_err *err)
{
	static const char *const schemes[] = { "http://", "tcp://", "dns:///" };

	if (strncmp(target, "unix://", 7) == 0)
		return dial_unix(target + 7, deadline_ms, err);
	if (strncmp(target, "unix:", 5) == 0)
		return dial_unix(target + 5, deadline_ms, err);
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(target, schemes[i], strlen(schemes[i])) == 0)
			target += strlen(schemes[i]);
	return dial_tcp(target, deadline_ms, err);
}
