/*
 * server - what the parts of the test registry have in common: its doors, its state, and one
 * request with its answer.
 */
#ifndef FR_SERVER_H
#define FR_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/fault/auth.h"
#include "tests/fault/plan.h"
#include "tests/fault/request.h"
#include "tests/fault/shape.h"
#include "tests/fault/store.h"
#include "tests/fault/upload.h"
#include "tests/fault/wire.h"

enum fr_listening { FR_LISTENS, FR_REFUSES, FR_DEAF };

/* A port. */
struct fr_listener {
	struct fr_server *server;
	enum fr_door door;
	int fd, port;
	_Atomic enum fr_listening state;
};

enum { FR_USES = 4096, FR_MAX_CONNECTIONS = 1024 };

struct fr_server {
	struct fr_store *store;
	struct fr_uploads uploads;
	struct fr_plan *plan;
	struct fr_auth *auth;
	struct fr_shape shape;
	SSL_CTX *tls; /* NULL: plain */
	bool no_referrers;
	int log;		/* file descriptor, -1: none */
	const char *blobs_host; /* NULL: as the registry was called */

	struct fr_listener listeners[2]; /* FR_REGISTRY, FR_BLOBS */

	/* Redirects to the blob store. */
	atomic_bool redirect;
	atomic_uint_fast64_t url_ttl_ms, url_uses; /* 0: no limit */
	atomic_uint_fast64_t url_number, url_void; /* up to which they are expired */
	atomic_uint_fast64_t url_used[FR_USES];
	unsigned char url_key[32];

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	struct fr_wire *wires[FR_MAX_CONNECTIONS];
	uint64_t n_connections, n_requests, n_busy, n_bytes[2]; /* of bodies, by door */
};

/* One request and its answer. */
struct fr_exchange {
	struct fr_server *server;
	struct fr_wire *wire;
	struct fr_request q;
	enum fr_door door;
	struct fr_fault f;
	char base[300];		  /* "https://HOST:PORT" as the request names it */
	int status;		  /* what was answered, 0: nothing yet */
	uint64_t head_sent, sent; /* bytes of head and body */
	bool reset, bye;	  /* how the connection is to end */
	bool over;		  /* it is to end */
};

/* Serves a connection that came in at L, and frees nothing of L's. */
void fr_serve(struct fr_listener *l, int fd);

/* Opens a port: ADDRESS, and PORT or a free one. Ends the program where it cannot. */
void fr_listen(struct fr_listener *l, const char *address, int port);
void fr_listen_state(struct fr_listener *l, enum fr_listening state);

/* Resets every open connection. */
void fr_drop_all(struct fr_server *s);
/* Waits until no request is being answered, at most WAIT_MS; false: one still is. */
bool fr_quiet(struct fr_server *s, unsigned wait_ms);

SSL_CTX *fr_tls(const char *cert_file, const char *key_file, const char *client_ca);

/* push.c: requests that change something. */
void fr_push_upload(struct fr_exchange *x, const char *repo, const char *id);
void fr_push_manifest(struct fr_exchange *x, const char *repo, const char *reference);

/* redirect.c: signed URLs of the blob store. */
void fr_redirect(struct fr_exchange *x, const char *repo, const char *digest);
void fr_redirected(struct fr_exchange *x);

/* blob.c: a blob, or a range of it, at either door. */
void fr_send_blob(struct fr_exchange *x, const char *repo, const char *digest);

/* control.c: a socket for commands; takes them until told to quit; gives one. */
int fr_control_open(const char *path);
void fr_control(struct fr_server *s, int fd);
int fr_control_ask(const char *path, char **words, int n);

#endif
