#include "fs/fuse/beacon.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* EXIT_MS: from letting go of the mount to the process's end. */
enum { BACKLOG = 64, EXIT_MS = 2000, LOOKS = 3 };

static socklen_t set_name(struct sockaddr_un *a, const char *name)
{
	size_t len = strnlen(name, sizeof a->sun_path - 1);

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(a->sun_path + 1, name, len); /* the NUL before it makes it abstract */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

int ck_beacon_light(unsigned dev_major, unsigned dev_minor)
{
	struct sockaddr_un a;
	char name[80];
	struct timespec now;
	CK_AUTO(ck_closep)
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(name, sizeof name, "cloakfs/%u:%u/%d/%lld%09ld", dev_major, dev_minor,
		 (int)getpid(), (long long)now.tv_sec, now.tv_nsec);
	socklen_t len = set_name(&a, name);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return ck_take_fd(&fd);
}

/* Connects to the abstract NAME; only to a socket of root's or OWNER's. */
static int join(const char *name, uid_t owner, pid_t *pid)
{
	struct sockaddr_un a;
	struct ucred peer;
	socklen_t len = set_name(&a, name), peer_len = sizeof peer;
	CK_AUTO(ck_closep)
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) < 0)
		return -errno;
	if (peer.uid != 0 && peer.uid != owner)
		return -EPERM;
	*pid = peer.pid;
	return ck_take_fd(&fd);
}

/* A beacon of the device in the table: what is behind its '@', and when it was lit. */
struct lit {
	const char *name;
	unsigned long long ns;
};

static int later_first(const void *a, const void *b)
{
	const struct lit *x = a, *y = b;

	return (x->ns < y->ns) - (x->ns > y->ns);
}

/* *OUT is the caller's to free. Returns how many, 0 without memory. */
static size_t list(struct lit **out, char *table, const char *prefix)
{
	char *save;
	size_t n = 0, cap = 0;

	for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *at = strstr(line, prefix);
		if (!at)
			continue;
		if (n == cap) {
			cap = 2 * cap + 16;
			struct lit *more = reallocarray(*out, cap, sizeof **out);
			if (!more)
				return 0;
			*out = more;
		}
		/* Behind the blank and the '@'. */
		(*out)[n++] = (struct lit){ at + 2, strtoull(strrchr(at, '/') + 1, NULL, 10) };
	}
	if (n)
		qsort(*out, n, sizeof **out, later_first);
	return n;
}

static int look(unsigned dev_major, unsigned dev_minor, uid_t owner, pid_t *pid)
{
	CK_BUF table = { .max = (size_t)64 << 20 };
	CK_AUTO(ck_freep) struct lit *lit = NULL;
	char prefix[64];
	int rc = -ENOENT;

	snprintf(prefix, sizeof prefix, " @cloakfs/%u:%u/", dev_major, dev_minor);
	if (ck_file_read(&table, "/proc/net/unix", NULL) < 0 || !table.len)
		return -ENOENT;
	size_t n = list(&lit, (char *)table.data, prefix);
	for (size_t i = 0; i < n; i++) {
		int fd = join(lit[i].name, owner, pid);
		if (fd >= 0)
			return fd;
		if (fd == -EAGAIN)
			rc = fd;
	}
	return rc;
}

/* The table is read in pieces: sockets that others close meanwhile can hide one from a look. */
int ck_beacon_find(unsigned dev_major, unsigned dev_minor, uid_t owner, pid_t *pid)
{
	int rc = -ENOENT;

	for (int i = 0; rc == -ENOENT && i < LOOKS; i++)
		rc = look(dev_major, dev_minor, owner, pid);
	return rc;
}

int ck_beacon_await_end(int fd, pid_t pid, unsigned timeout_ms)
{
	struct pollfd beacon = { .fd = fd, .events = POLLIN };
	uint64_t end = ck_now_ms() + timeout_ms;
	int n;

	do {
		uint64_t now = ck_now_ms();
		n = poll(&beacon, 1, now < end ? (int)(end - now) : 0);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ETIMEDOUT;
	CK_AUTO(ck_closep)
	int process = pid > 0 && pid != getpid() ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd gone = { .fd = process, .events = POLLIN };
	if (process >= 0)
		(void)poll(&gone, 1, EXIT_MS);
	return 0;
}
