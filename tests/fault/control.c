/*
 * control - commands to the running registry, a line each, over a unix socket.
 *
 *   fault WORDS            plan.h; says the rule's number
 *   clear [NUMBER]         one rule, or all
 *   hits NUMBER            how many answers it made wrong
 *   set NAME=VALUE...      delay (ms), rate (bytes/s), slow-start (0, 1), redirect (0, 1),
 *                          url-ttl (ms), url-uses, token-ttl (ms), token-says (s; "none")
 *   expire tokens|urls     what was given out so far is void
 *   listen on|off|deaf [registry|blobs]   off: connections are refused; deaf: made, but not served
 *   drop                   resets every open connection
 *   quiet                  waits until no request is being answered
 *   stats                  counts so far: connections, requests, bytes of each door
 *   quit
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fault/server.h"

struct asked {
	struct fr_server *server;
	uint64_t token_ttl_ms, token_says_s; /* as set last */
	char answer[1024];
	bool quit;
};

static void say(struct asked *a, const char *what)
{
	(void)snprintf(a->answer, sizeof a->answer, "%s\n", what);
}

static void on_fault(struct asked *a, char *rest)
{
	char why[300];
	unsigned number = fr_plan_add(a->server->plan, rest, why, sizeof why);

	if (number)
		(void)snprintf(a->answer, sizeof a->answer, "ok %u\n", number);
	else
		(void)snprintf(a->answer, sizeof a->answer, "error: %s\n", why);
}

static bool set_one(struct asked *a, const char *name, const char *value)
{
	struct fr_server *s = a->server;
	bool none = strcmp(value, "none") == 0;
	uint64_t n = UINT64_MAX;

	if (!none && !fr_number(value, &n))
		return false;
	if (strcmp(name, "delay") == 0)
		s->shape.delay_us = n * 1000;
	else if (strcmp(name, "rate") == 0)
		s->shape.rate = n;
	else if (strcmp(name, "slow-start") == 0)
		s->shape.slow_start = n != 0;
	else if (strcmp(name, "redirect") == 0)
		s->redirect = n != 0;
	else if (strcmp(name, "url-ttl") == 0)
		s->url_ttl_ms = n;
	else if (strcmp(name, "url-uses") == 0)
		s->url_uses = n;
	else if (strcmp(name, "token-ttl") == 0)
		a->token_ttl_ms = n;
	else if (strcmp(name, "token-says") == 0)
		a->token_says_s = n;
	else
		return false;
	fr_auth_ttl(s->auth, a->token_ttl_ms, a->token_says_s);
	return true;
}

static void on_set(struct asked *a, char *rest)
{
	char *save = NULL;

	for (char *w = strtok_r(rest, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *value = strchr(w, '=');
		if (value)
			*value++ = 0;
		if (!value || !set_one(a, w, value)) {
			(void)snprintf(a->answer, sizeof a->answer, "error: what is %s?\n", w);
			return;
		}
	}
}

static void on_expire(struct asked *a, char *rest)
{
	if (strcmp(rest, "tokens") == 0)
		fr_auth_expire(a->server->auth);
	else if (strcmp(rest, "urls") == 0)
		a->server->url_void = a->server->url_number;
	else
		say(a, "error: expire tokens or urls");
}

static void on_listen(struct asked *a, char *rest)
{
	static const char *const states[] = { "on", "off", "deaf" };
	char *door = strchr(rest, ' ');
	int state = -1;

	if (door)
		*door++ = 0;
	for (int i = 0; i < 3; i++)
		if (strcmp(rest, states[i]) == 0)
			state = i;
	if (state < 0) {
		say(a, "error: listen on, off or deaf");
		return;
	}
	for (int i = 0; i < 2; i++)
		if (!door || (strcmp(door, "blobs") == 0) == (i == FR_BLOBS))
			fr_listen_state(&a->server->listeners[i], (enum fr_listening)state);
}

static void on_stats(struct asked *a)
{
	struct fr_server *s = a->server;

	pthread_mutex_lock(&s->mutex);
	(void)snprintf(a->answer, sizeof a->answer,
		       "ok {\"connections\":%" PRIu64 ",\"requests\":%" PRIu64
		       ",\"registry_bytes\":%" PRIu64 ",\"blobs_bytes\":%" PRIu64 "}\n",
		       s->n_connections, s->n_requests, s->n_bytes[0], s->n_bytes[1]);
	pthread_mutex_unlock(&s->mutex);
}

static void obey(struct asked *a, char *line)
{
	char *rest = line + strcspn(line, " ");
	uint64_t n = 0;

	if (*rest)
		*rest++ = 0;
	say(a, "ok");
	if (strcmp(line, "fault") == 0) {
		on_fault(a, rest);
	} else if (strcmp(line, "clear") == 0) {
		(void)fr_number(rest, &n);
		fr_plan_clear(a->server->plan, (unsigned)n);
	} else if (strcmp(line, "hits") == 0 && fr_number(rest, &n)) {
		(void)snprintf(a->answer, sizeof a->answer, "ok %" PRIu64 "\n",
			       fr_plan_hits(a->server->plan, (unsigned)n));
	} else if (strcmp(line, "set") == 0) {
		on_set(a, rest);
	} else if (strcmp(line, "expire") == 0) {
		on_expire(a, rest);
	} else if (strcmp(line, "listen") == 0) {
		on_listen(a, rest);
	} else if (strcmp(line, "drop") == 0) {
		fr_drop_all(a->server);
	} else if (strcmp(line, "quiet") == 0) {
		say(a,
		    fr_quiet(a->server, 10000) ? "ok" : "error: a request is still being answered");
	} else if (strcmp(line, "stats") == 0) {
		on_stats(a);
	} else if (strcmp(line, "quit") == 0) {
		a->quit = true;
	} else {
		say(a, "error: no such command");
	}
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof a.sun_path)
		fr_die("%s: too long for a socket", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	return a;
}

int fr_control_open(const char *path)
{
	struct sockaddr_un at = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 64) != 0)
		fr_die("%s: %m", path);
	return fd;
}

void fr_control(struct fr_server *s, int fd)
{
	struct asked a = { .server = s, .token_ttl_ms = 300000 };

	while (!a.quit) {
		char line[1024];
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		ssize_t n = c < 0 ? -1 : recv(c, line, sizeof line - 1, 0);
		if (n > 0) {
			line[n] = 0;
			line[strcspn(line, "\n")] = 0;
			obey(&a, line);
			(void)send(c, a.answer, strlen(a.answer), MSG_NOSIGNAL);
		}
		if (c >= 0)
			(void)close(c);
	}
}

int fr_control_ask(const char *path, char **words, int n)
{
	struct sockaddr_un at = address(path);
	char line[1024] = "", answer[1024];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < n; i++)
		fr_append(line, sizeof line, "%s%s", i ? " " : "", words[i]);
	fr_append(line, sizeof line, "\n");
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		fr_die("%s: %m", path);
	ssize_t got = recv(fd, answer, sizeof answer - 1, 0);
	(void)close(fd);
	if (got <= 0)
		fr_die("%s: no answer", path);
	answer[got] = 0;
	bool good = strncmp(answer, "ok", 2) == 0;
	(void)fputs(!good ? answer : answer[2] == ' ' ? answer + 3 : "", good ? stdout : stderr);
	return good ? 0 : 1;
}
