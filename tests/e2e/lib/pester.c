/*
 * pester - clients that misbehave at an abstract unix socket.
 *
 *   pester PREFIX N MODE    connects N times to the abstract socket of PREFIX* (as /proc/net/unix
 *                           lists it), says on stdout how many of them it could, until killed
 *     silent     say nothing                     ask    ask "status" and never read
 *     garbage    say random bytes, and again when hung up on
 *   pester PREFIX 1 read    asks, prints the answer, and ends: 1 where there was none
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char question[] = "status\n";

static struct sockaddr_un find(const char *prefix, socklen_t *len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char line[512], want[128];
	FILE *table = fopen("/proc/net/unix", "r");

	snprintf(want, sizeof want, " @%s", prefix);
	while (table && fgets(line, sizeof line, table)) {
		char *at = strstr(line, want);
		if (!at)
			continue;
		line[strcspn(line, "\n")] = 0;
		size_t n = strlen(at + 2);
		memcpy(a.sun_path + 1, at + 2, n);
		*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
		fclose(table);
		return a;
	}
	fprintf(stderr, "pester: no socket %s*\n", prefix);
	exit(2);
}

static int join(const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)a, len) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int read_answer(int fd)
{
	char buf[4096];
	ssize_t n, got = 0;
	struct pollfd on = { .fd = fd, .events = POLLIN };

	if (fd < 0 || send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0)
		return 1;
	while (poll(&on, 1, 20000) > 0 && (n = read(fd, buf, sizeof buf)) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
		got += n;
	}
	return got == 0;
}

static void say_garbage(int *fd, const struct sockaddr_un *a, socklen_t len)
{
	char junk[64];

	for (size_t i = 0; i < sizeof junk; i++)
		junk[i] = (char)rand();
	if (*fd >= 0 && (send(*fd, junk, sizeof junk, MSG_NOSIGNAL) >= 0 || errno == EAGAIN))
		return;
	if (*fd >= 0)
		close(*fd);
	*fd = join(a, len);
}

int main(int argc, char **argv)
{
	socklen_t len;

	if (argc != 4)
		return 2;
	size_t n = strtoul(argv[2], NULL, 10), joined = 0;
	struct sockaddr_un a = find(argv[1], &len);
	int *fds = calloc(n, sizeof *fds);
	if (!fds)
		return 2;
	if (strcmp(argv[3], "read") == 0)
		return read_answer(join(&a, len));
	for (size_t i = 0; i < n; i++) {
		fds[i] = join(&a, len);
		joined += fds[i] >= 0;
		if (fds[i] >= 0 && strcmp(argv[3], "ask") == 0)
			(void)send(fds[i], question, sizeof question - 1, MSG_NOSIGNAL);
		if (strcmp(argv[3], "ask") == 0 && i % 32 == 31)
			usleep(10000); /* or the queue would be full */
	}
	printf("%zu\n", joined);
	fflush(stdout);
	while (strcmp(argv[3], "garbage") == 0) {
		for (size_t i = 0; i < n; i++)
			say_garbage(&fds[i], &a, len);
		usleep(1000);
	}
	for (;;)
		pause();
}
