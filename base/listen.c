#include "base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

enum { BACKLOG = 64 };

static const char unix_scheme[] = "unix:";

static const char *unix_path(const struct ck_listener *l)
{
	bool is_unix = strncmp(l->address, unix_scheme, sizeof unix_scheme - 1) == 0;

	return is_unix ? l->address + sizeof unix_scheme - 1 : NULL;
}

static int socket_open(int family, struct ck_err *err)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? ck_fail(err, -errno, "cannot make a socket: %s", strerror(errno)) : fd;
}

/* Whether SA is a socket file that nobody listens on. */
static bool is_stale(const struct sockaddr_un *sa)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	CK_AUTO(ck_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 &&
	       errno == ECONNREFUSED;
}

static const char *name_in_dir(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int open_dir(const char *path, struct ck_err *err)
{
	char dir[PATH_MAX];
	int len = (int)(name_in_dir(path) - path);

	snprintf(dir, sizeof dir, "%.*s", len ? len : 1, len ? path : ".");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? ck_fail(err, -errno, "cannot open %s: %s", dir, strerror(errno)) : fd;
}

/* Two servers that start at once must not each take the other's socket for stale: looking,
 * removing and binding are one step under a lock on the directory, until it is closed. */
static int lock_dir(const char *path, struct ck_err *err)
{
	CK_AUTO(ck_closep) int fd = open_dir(path, err);

	if (fd < 0)
		return fd;
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (tries == 100)
			return ck_fail(err, -EBUSY,
				       "the directory of %s is locked by another program", path);
		(void)poll(NULL, 0, 20);
	}
	return ck_take_fd(&fd);
}

static int bind_unix(int fd, const struct sockaddr_un *sa, struct ck_err *err)
{
	const struct sockaddr *any = (const struct sockaddr *)sa;
	CK_AUTO(ck_closep) int lock = lock_dir(sa->sun_path, err);

	if (lock < 0)
		return lock;
	/* The mode of the socket is the file's: no moment with another, no umask to set. */
	if (fchmod(fd, 0600) < 0)
		return ck_fail(err, -errno, "cannot set the mode of the socket: %s",
			       strerror(errno));
	bool bound = bind(fd, any, sizeof *sa) == 0;
	if (!bound && errno == EADDRINUSE) {
		if (!is_stale(sa))
			return ck_fail(err, -EADDRINUSE,
				       "%s is in use by another server, or no socket",
				       sa->sun_path);
		(void)unlink(sa->sun_path);
		bound = bind(fd, any, sizeof *sa) == 0;
	}
	if (!bound || listen(fd, BACKLOG) < 0)
		return ck_fail(err, -errno, "cannot listen on %s: %s", sa->sun_path,
			       strerror(errno));
	return 0;
}

static int open_unix(struct ck_listener *out, const char *path, struct ck_err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;

	if (!*path || strlen(path) >= sizeof sa.sun_path)
		return ck_fail(err, -EINVAL, "socket path \"%s\" is empty or above %zu bytes", path,
			       sizeof sa.sun_path - 1);
	memcpy(sa.sun_path, path, strlen(path));
	CK_AUTO(ck_closep) int fd = socket_open(AF_UNIX, err);
	if (fd < 0)
		return fd;
	CK_AUTO(ck_closep) int dir = open_dir(path, err);
	if (dir < 0)
		return dir;
	int rc = bind_unix(fd, &sa, err);
	if (rc < 0)
		return rc;
	if (fstatat(dir, name_in_dir(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return ck_fail(err, -errno, "cannot find %s again: %s", path, strerror(errno));
	out->dir = ck_take_fd(&dir);
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	snprintf(out->address, sizeof out->address, "%s%s", unix_scheme, path);
	out->fd = ck_take_fd(&fd);
	return 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >>
			   24 ==
		       127;
	return sa->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

/* Writes the address that FD is bound to. */
static int name_of(int fd, char *out, size_t cap, struct ck_err *err)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[64], port[8];

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV))
		return ck_fail(err, -EIO, "cannot tell the address listened on");
	snprintf(out, cap, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	return 0;
}

static int open_address(struct ck_listener *out, const struct addrinfo *a, const char *name,
			struct ck_err *err)
{
	int one = 1;

	if (!is_loopback(a->ai_addr))
		return ck_fail(err, -EINVAL,
			       "%s is not a loopback address: what is said there would cross the "
			       "network in the clear; use 127.0.0.1 or unix:PATH",
			       name);
	CK_AUTO(ck_closep) int fd = socket_open(a->ai_family, err);
	if (fd < 0)
		return fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return ck_fail(err, -errno, "cannot listen on %s: %s", name, strerror(errno));
	int rc = name_of(fd, out->address, sizeof out->address, err);
	if (rc == 0)
		out->fd = ck_take_fd(&fd);
	return rc;
}

bool ck_is_port(const char *s)
{
	size_t len = strlen(s);

	return len >= 1 && len <= 5 && strspn(s, "0123456789") == len && atoi(s) <= 65535;
}

static int open_tcp(struct ck_listener *out, const char *name, struct ck_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found;
	const char *colon = strrchr(name, ':');
	char host[256];

	if (!colon || !ck_is_port(colon + 1))
		return ck_fail(err, -EINVAL, "\"%.100s\" is neither unix:PATH nor HOST:PORT", name);
	size_t len = (size_t)(colon - name);
	bool bracketed = len > 2 && name[0] == '[' && name[len - 1] == ']';
	if (len - 2 * bracketed == 0 || len >= sizeof host)
		return ck_fail(err, -EINVAL, "\"%.100s\" names no host; use 127.0.0.1", name);
	snprintf(host, sizeof host, "%.*s", (int)(len - 2 * bracketed), name + bracketed);
	int rc = getaddrinfo(host, colon + 1, &hints, &found);
	if (rc)
		return ck_fail(err, -EINVAL, "cannot look up %s: %s", name, gai_strerror(rc));
	rc = open_address(out, found, name, err);
	freeaddrinfo(found);
	return rc;
}

int ck_listen_open(struct ck_listener *out, const char *listen, struct ck_err *err)
{
	*out = (struct ck_listener){ .fd = -1, .dir = -1 };
	if (strncmp(listen, unix_scheme, sizeof unix_scheme - 1) == 0)
		return open_unix(out, listen + sizeof unix_scheme - 1, err);
	return open_tcp(out, listen, err);
}

void ck_listen_close(struct ck_listener *l)
{
	const char *path = unix_path(l);
	struct stat st;

	if (l->fd < 0)
		return;
	if (path && fstatat(l->dir, name_in_dir(path), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlinkat(l->dir, name_in_dir(path), 0);
	ck_closep(&l->dir);
	ck_closep(&l->fd);
	l->fd = l->dir = -1;
}

int ck_listen_accept(const struct ck_listener *l)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	int one = 1;
	CK_AUTO(ck_closep) int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (!unix_path(l))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
		 (peer.uid != 0 && peer.uid != geteuid()))
		return -EPERM;
	return ck_take_fd(&fd);
}
