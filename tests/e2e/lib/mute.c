/*
 * mute - a server that does not do its job.
 *
 *   mute MODE     listens on a free loopback port, prints "127.0.0.1:PORT", until killed
 *     silent      accepts and says nothing       settings  says an empty HTTP/2 SETTINGS, no more
 *     garbage     says random bytes              http1     answers as a web server of old
 *     close       accepts and closes at once     drip      one byte of HTTP/2 a second
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char settings[] = "\0\0\0\4\0\0\0\0\0";

static int listen_somewhere(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, 16) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
		perror("mute");
		exit(1);
	}
	printf("127.0.0.1:%d\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

static void say(int fd, const void *p, size_t nbytes)
{
	if (write(fd, p, nbytes) < 0)
		exit(0);
}

static void garbage(int fd)
{
	unsigned char noise[4096];

	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (unsigned char)(i * 2654435761U >> 7);
	say(fd, noise, sizeof noise);
}

static void drip(int fd)
{
	for (size_t i = 0;; i++) {
		say(fd, &settings[i % (sizeof settings - 1)], 1);
		sleep(1);
	}
}

/* Reads what comes until the peer leaves. */
static void listen_politely(int fd)
{
	char buf[4096];

	while (read(fd, buf, sizeof buf) > 0)
		;
}

static void serve(int fd, const char *mode)
{
	static const char http1[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

	if (!strcmp(mode, "settings"))
		say(fd, settings, sizeof settings - 1);
	else if (!strcmp(mode, "garbage"))
		garbage(fd);
	else if (!strcmp(mode, "http1"))
		say(fd, http1, sizeof http1 - 1);
	else if (!strcmp(mode, "drip"))
		drip(fd);
	if (strcmp(mode, "close") != 0)
		listen_politely(fd);
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	int listener = listen_somewhere();

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0 && fork() == 0) {
			close(listener);
			serve(fd, argv[1]);
		}
		close(fd);
	}
}
