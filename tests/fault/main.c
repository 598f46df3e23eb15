/*
 * registry - a container registry for tests, which goes wrong as it is told to.
 *
 *   registry serve [options]       serves until told to quit, or killed
 *   registry ctl SOCKET COMMAND... tells it something; control.c lists the commands
 *
 *   --control SOCKET               takes commands there
 *   --ready FILE                   written when it serves: "registry PORT" and "blobs PORT"
 *   --layout NAME=DIR              repository NAME has the images of DIR; may be given again
 *   --log FILE                     a line for each request: time, door, method, target, range,
 *                                  status, bytes of body, who asked, rules, milliseconds
 *   --address IP --port N          127.0.0.1, a free port
 *   --blobs-host NAME              how redirects call the blob store: as the registry was called
 *   --tls-cert FILE --tls-key FILE --client-ca FILE
 *   --user NAME:PASSWORD           may pull and push; may be given again
 *   --basic | --bearer             what credentials are wanted: none
 *   --anonymous                    pulling needs none
 *   --refresh TOKEN                an identity token for the token server
 *   --service NAME --issuer NAME --token-key FILE --token-cert FILE
 *                                  tokens are JWTs that other registries believe
 *   --no-referrers                 no referrers API: fallback tags
 *
 * It shares no code with what it tests.
 */
#include <fcntl.h>
#include <getopt.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fault/server.h"

enum { MAX_LISTED = 512 };

struct options {
	const char *control, *ready, *log, *address, *port, *blobs_host;
	const char *cert, *key, *client_ca;
	const char *layouts[MAX_LISTED], *users[MAX_LISTED + 1];
	size_t n_layouts, n_users;
	bool basic, bearer, no_referrers;
	struct fr_auth_opts auth;
};

enum { LAYOUT = 1000, USER, BASIC, BEARER, ANONYMOUS, NO_REFERRERS, TEXT };

static void parse(int argc, char **argv, struct options *o)
{
	const struct {
		const char *name;
		const char **at;
	} texts[] = { { "control", &o->control },
		      { "ready", &o->ready },
		      { "log", &o->log },
		      { "address", &o->address },
		      { "port", &o->port },
		      { "blobs-host", &o->blobs_host },
		      { "tls-cert", &o->cert },
		      { "tls-key", &o->key },
		      { "client-ca", &o->client_ca },
		      { "refresh", &o->auth.refresh },
		      { "service", &o->auth.service },
		      { "issuer", &o->auth.issuer },
		      { "token-key", &o->auth.key_file },
		      { "token-cert", &o->auth.cert_file } };
	enum { N = sizeof texts / sizeof *texts };
	struct option known[N + 7] = {
		{ "layout", 1, NULL, LAYOUT },	     { "user", 1, NULL, USER },
		{ "basic", 0, NULL, BASIC },	     { "bearer", 0, NULL, BEARER },
		{ "anonymous", 0, NULL, ANONYMOUS }, { "no-referrers", 0, NULL, NO_REFERRERS }
	};
	int c;

	for (int i = 0; i < N; i++)
		known[6 + i] = (struct option){ texts[i].name, 1, NULL, TEXT + i };
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c >= TEXT)
			*texts[c - TEXT].at = optarg;
		else if (c == LAYOUT && o->n_layouts < MAX_LISTED)
			o->layouts[o->n_layouts++] = optarg;
		else if (c == USER && o->n_users < MAX_LISTED)
			o->users[o->n_users++] = optarg;
		else if (c == BASIC)
			o->auth.mode = FR_BASIC;
		else if (c == BEARER)
			o->auth.mode = FR_BEARER;
		else if (c == ANONYMOUS)
			o->auth.anonymous = true;
		else if (c == NO_REFERRERS)
			o->no_referrers = true;
		else
			exit(2);
	}
}

static void load(struct fr_server *s, const struct options *o)
{
	for (size_t i = 0; i < o->n_layouts; i++) {
		char *name = fr_copy(o->layouts[i]), *dir = strchr(name, '=');
		if (!dir)
			fr_die("--layout NAME=DIR");
		*dir++ = 0;
		fr_store_layout(s->store, name, dir);
		free(name);
	}
}

static void tell_ready(const struct fr_server *s, const char *path)
{
	char tmp[4200];

	(void)snprintf(tmp, sizeof tmp, "%s.new", path);
	FILE *f = fopen(tmp, "we");
	if (!f)
		fr_die("%s: %m", tmp);
	(void)fprintf(f, "registry %d\nblobs %d\n", s->listeners[0].port, s->listeners[1].port);
	if (fclose(f) != 0 || rename(tmp, path) != 0)
		fr_die("%s: %m", path);
}

static int serve(int argc, char **argv)
{
	static struct fr_server s;
	struct options o = {
		.address = "127.0.0.1", .port = "0", .auth.service = "fault", .auth.issuer = "fault"
	};

	parse(argc, argv, &o);
	o.auth.users = o.users;
	s.store = fr_store_new(o.no_referrers);
	s.plan = fr_plan_new();
	s.auth = fr_auth_new(&o.auth);
	s.no_referrers = o.no_referrers;
	s.blobs_host = o.blobs_host;
	s.tls = o.cert ? fr_tls(o.cert, o.key, o.client_ca) : NULL;
	s.log = o.log ? open(o.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
	fr_shape_init(&s.shape);
	RAND_bytes(s.url_key, sizeof s.url_key);
	pthread_mutex_init(&s.uploads.mutex, NULL);
	pthread_mutex_init(&s.mutex, NULL);
	pthread_cond_init(&s.changed, NULL);
	load(&s, &o);
	for (int i = 0; i < 2; i++) {
		s.listeners[i] = (struct fr_listener){ .server = &s, .door = (enum fr_door)i };
		fr_listen(&s.listeners[i], o.address, i ? 0 : atoi(o.port));
	}
	if (!o.control || !o.ready)
		fr_die("--control SOCKET and --ready FILE");
	int fd = fr_control_open(o.control);
	tell_ready(&s, o.ready);
	fr_control(&s, fd);
	return 0;
}

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc >= 2 && strcmp(argv[1], "serve") == 0)
		return serve(argc - 1, argv + 1);
	if (argc >= 4 && strcmp(argv[1], "ctl") == 0)
		return fr_control_ask(argv[2], argv + 3, argc - 3);
	(void)fprintf(stderr, "usage: registry serve [options] | registry ctl SOCKET COMMAND...\n");
	return 2;
}
