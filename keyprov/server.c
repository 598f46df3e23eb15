#include "keyprov/server.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "base/file.h"
#include "base/listen.h"
#include "base/log.h"
#include "keyprov/conn.h"

enum {
	CONNS_MAX = 64,
	EVICT_MS = 1000,       /* idle this long, a connection makes room for a new one */
	ACCEPT_PAUSE_MS = 100, /* after running out of descriptors, or of room */
	FAREWELL_MS = 2000,    /* for the last answers to be read when stopping */
};

struct server {
	struct ck_listener listener;
	struct ck_conn_env env;
	struct ck_conn *conns[CONNS_MAX];
	size_t n_conns;
	uint64_t accept_after_ms;
	int stop_fd;
	bool stopping;
	uint64_t quiet_since_ms; /* when stopping: no calls any more; 0: still some */
};

/* What poll looks at: three fixed places, then the connections. */
enum { AT_STOP, AT_LISTENER, AT_POOL, AT_CONNS };

static void drop(struct server *s, size_t idx)
{
	ck_conn_close(s->conns[idx]);
	s->conns[idx] = s->conns[--s->n_conns];
}

/* The connection that has been idle longest, long enough to make room for a new one;
 * n_conns when there is none. */
static size_t evictable(const struct server *s, uint64_t now)
{
	size_t oldest = s->n_conns;
	uint64_t since = now - EVICT_MS;

	for (size_t i = 0; i < s->n_conns; i++)
		if (ck_conn_idle_since(s->conns[i]) <= since) {
			oldest = i;
			since = ck_conn_idle_since(s->conns[i]);
		}
	return oldest;
}

/* Takes one connection. False: no more now. */
static bool accept_one(struct server *s, uint64_t now)
{
	bool full = s->n_conns == CONNS_MAX;
	size_t victim = full ? evictable(s, now) : 0;
	struct ck_conn *c;

	if (full && victim == s->n_conns) {
		s->accept_after_ms = now + ACCEPT_PAUSE_MS;
		return false;
	}
	int fd = ck_listen_accept(&s->listener);
	if (fd == -EPERM) {
		ck_log(CK_LOG_WARNING, "turned away a client of another user");
		return true;
	}
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
		s->accept_after_ms = now + ACCEPT_PAUSE_MS;
	if (fd < 0)
		return fd == -ECONNABORTED || fd == -EINTR;
	if (full)
		drop(s, victim);
	if (ck_conn_open(&c, fd, &s->env, now, NULL) < 0)
		ck_closep(&fd);
	else
		s->conns[s->n_conns++] = c;
	return true;
}

/* As many as fit at most, then the others' turn. */
static void accept_some(struct server *s, uint64_t now)
{
	for (int i = 0; i < CONNS_MAX && accept_one(s, now); i++)
		;
}

static int wait_ms(const struct server *s, uint64_t now, bool accepting)
{
	uint64_t next = now + 60000;

	for (size_t i = 0; i < s->n_conns; i++)
		if (ck_conn_next_ms(s->conns[i]) < next)
			next = ck_conn_next_ms(s->conns[i]);
	if (!s->stopping && !accepting && s->accept_after_ms < next)
		next = s->accept_after_ms;
	if (s->quiet_since_ms && s->quiet_since_ms + FAREWELL_MS < next)
		next = s->quiet_since_ms + FAREWELL_MS;
	return next <= now ? 0 : (int)(next - now);
}

static void collect(struct server *s, uint64_t now)
{
	struct ck_call *call;

	while ((call = ck_callpool_done(s->env.pool)))
		ck_conn_answer(call, now);
}

/* One round of waiting and serving. Errors: errnos of poll. */
static int serve_once(struct server *s, struct ck_err *err)
{
	struct pollfd fds[AT_CONNS + CONNS_MAX];
	size_t n = s->n_conns;
	uint64_t now = ck_now_ms();
	bool accepting = !s->stopping && now >= s->accept_after_ms;

	fds[AT_STOP] = (struct pollfd){ s->stopping ? -1 : s->stop_fd, POLLIN, 0 };
	fds[AT_LISTENER] = (struct pollfd){ accepting ? s->listener.fd : -1, POLLIN, 0 };
	fds[AT_POOL] = (struct pollfd){ ck_callpool_fd(s->env.pool), POLLIN, 0 };
	for (size_t i = 0; i < n; i++)
		fds[AT_CONNS + i] =
		    (struct pollfd){ ck_conn_fd(s->conns[i]), ck_conn_events(s->conns[i]), 0 };
	if (poll(fds, (nfds_t)(AT_CONNS + n), wait_ms(s, now, accepting)) < 0) {
		if (errno == EINTR)
			return 0;
		return ck_fail(err, -errno, "cannot wait for clients: %s", strerror(errno));
	}
	now = ck_now_ms();
	if (fds[AT_POOL].revents)
		collect(s, now);
	/* From the last, since drop moves the last one into the gap. */
	for (size_t i = n; i-- > 0;)
		if ((fds[AT_CONNS + i].revents &&
		     !ck_conn_io(s->conns[i], fds[AT_CONNS + i].revents, now)) ||
		    !ck_conn_tick(s->conns[i], now))
			drop(s, i);
	if (fds[AT_LISTENER].revents)
		accept_some(s, now);
	return fds[AT_STOP].revents ? 1 : 0;
}

static void begin_stop(struct server *s)
{
	s->stopping = true;
	ck_listen_close(&s->listener);
	ck_callpool_stop(s->env.pool);
	for (size_t i = 0; i < s->n_conns; i++)
		ck_conn_stop(s->conns[i]);
}

/* Calls that run are waited for, which their own deadlines bound; then their answers
 * have FAREWELL_MS to be read. */
static bool stopped(struct server *s)
{
	if (ck_callpool_busy(s->env.pool))
		return false;
	uint64_t now = ck_now_ms();
	if (!s->quiet_since_ms)
		s->quiet_since_ms = now;
	for (size_t i = s->n_conns; i-- > 0;)
		if (ck_conn_quiet(s->conns[i]))
			drop(s, i);
	return s->n_conns == 0 || now - s->quiet_since_ms >= FAREWELL_MS;
}

static int serve(struct server *s, struct ck_err *err)
{
	int rc = 0;

	while (!s->stopping || !stopped(s)) {
		rc = serve_once(s, err);
		if (rc < 0)
			break;
		if (rc > 0)
			begin_stop(s);
	}
	while (s->n_conns)
		drop(s, s->n_conns - 1);
	return rc < 0 ? rc : 0;
}

int ck_provider_serve(const struct ck_provider *p, const char *listen, int stop_fd,
		      void (*on_ready)(void *ctx, const char *address), void *ctx,
		      struct ck_err *err)
{
	struct server s = { .stop_fd = stop_fd };
	int rc = ck_listen_open(&s.listener, listen, err);

	if (rc < 0)
		return rc;
	rc = ck_callpool_open(&s.env.pool, p, err);
	if (rc == 0) {
		if (on_ready)
			on_ready(ctx, s.listener.address);
		rc = serve(&s, err);
	}
	ck_callpool_close(s.env.pool);
	ck_listen_close(&s.listener);
	return rc;
}
