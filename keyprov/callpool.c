#include "keyprov/callpool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"

/* An HSM that hangs may take all threads that unwrap: wrapping, which mostly needs a file
 * alone, goes on with the rest. */
enum { THREADS = 16, UNWRAPS_MAX = 12, QUEUE_MAX = 256 };

struct list {
	struct ck_call *head, **tail;
	size_t n;
};

struct ck_callpool {
	const struct ck_provider *provider;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	struct list queue, done;
	size_t n_running, n_unwrapping; /* the latter are among the former */
	bool stopped;
	int event_fd;
	pthread_t threads[THREADS];
	size_t n_threads;
};

static void push(struct list *l, struct ck_call *c)
{
	c->next = NULL;
	*l->tail = c;
	l->tail = &c->next;
	l->n++;
}

static struct ck_call *pop(struct list *l)
{
	struct ck_call *c = l->head;

	if (!c)
		return NULL;
	l->head = c->next;
	if (!l->head)
		l->tail = &l->head;
	l->n--;
	return c;
}

/* Takes C out; false when it is not in L. */
static bool take_out(struct list *l, const struct ck_call *c)
{
	struct ck_call **at = &l->head;

	while (*at && *at != c)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = c->next;
	if (l->tail == &c->next)
		l->tail = at;
	l->n--;
	return true;
}

void ck_call_free(struct ck_call *call)
{
	if (!call)
		return;
	ck_buf_free(&call->in);
	ck_buf_free(&call->out);
	free(call);
}

static enum ck_grpc_status failed_status(enum ck_op op, int code)
{
	if (code == -ENODEV)
		return CK_GRPC_FAILED_PRECONDITION;
	if (code == -ENOMEM)
		return CK_GRPC_RESOURCE_EXHAUSTED;
	return op == CK_OP_WRAP ? CK_GRPC_INTERNAL : CK_GRPC_UNKNOWN;
}

static enum ck_grpc_status malformed_status(int code)
{
	if (code == -ENOTSUP)
		return CK_GRPC_UNIMPLEMENTED;
	return code == -ENOMEM ? CK_GRPC_RESOURCE_EXHAUSTED : CK_GRPC_INVALID_ARGUMENT;
}

static void perform(const struct ck_provider *p, struct ck_call *c)
{
	CK_BUF json = { 0 }, answer = { 0 };
	CK_REQUEST r = { 0 };
	int rc = ck_grpc_decode(&json, CK_GRPC_INPUT, c->in.data, c->in.len, &c->err);

	if (rc == 0)
		rc = ck_request_parse(&r, &c->op, json.data, json.len, &c->err);
	/* What the HSM is asked for does not need them: a hanging one holds no megabytes. */
	ck_buf_free(&c->in);
	ck_buf_free(&json);
	if (rc < 0) {
		c->status = malformed_status(rc);
		return;
	}
	rc = ck_request_perform(p, &r, &answer, &c->err);
	if (rc == 0)
		rc = ck_grpc_encode(&c->out, CK_GRPC_OUTPUT, answer.data, answer.len, &c->err);
	c->status = rc < 0 ? failed_status(c->op, rc) : CK_GRPC_OK;
}

/* Under the lock: hands C to the loop. */
static void finish(struct ck_callpool *pool, struct ck_call *c)
{
	push(&pool->done, c);
	(void)eventfd_write(pool->event_fd, 1);
}

/* Under the lock: the first queued call that may begin, or NULL. */
static struct ck_call *next(struct ck_callpool *pool)
{
	struct ck_call *c = pool->queue.head;

	while (c && c->op == CK_OP_UNWRAP && pool->n_unwrapping == UNWRAPS_MAX)
		c = c->next;
	if (c)
		(void)take_out(&pool->queue, c);
	return c;
}

static void *work(void *arg)
{
	struct ck_callpool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct ck_call *c = next(pool);
		if (!c && pool->stopped)
			break;
		if (!c) {
			pthread_cond_wait(&pool->wake, &pool->lock);
			continue;
		}
		bool unwraps = c->op == CK_OP_UNWRAP;
		pool->n_running++;
		pool->n_unwrapping += unwraps;
		pthread_mutex_unlock(&pool->lock);
		perform(pool->provider, c);
		if (c->status != CK_GRPC_OK)
			ck_log(CK_LOG_WARNING, "cannot %s: %s",
			       c->op == CK_OP_WRAP ? "wrap" : "unwrap", c->err.msg);
		pthread_mutex_lock(&pool->lock);
		pool->n_running--;
		pool->n_unwrapping -= unwraps;
		finish(pool, c);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Signals stay with the program's own threads. */
static int start_threads(struct ck_callpool *pool)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (rc == 0 && pool->n_threads < THREADS) {
		rc = pthread_create(&pool->threads[pool->n_threads], NULL, work, pool);
		pool->n_threads += rc == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

int ck_callpool_open(struct ck_callpool **out, const struct ck_provider *p, struct ck_err *err)
{
	struct ck_callpool *pool = calloc(1, sizeof *pool);

	if (!pool)
		return ck_nomem(err, "starting the key provider");
	pool->provider = p;
	pool->queue.tail = &pool->queue.head;
	pool->done.tail = &pool->done.head;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = pool->event_fd < 0 ? -errno : start_threads(pool);
	if (rc < 0) {
		ck_callpool_close(pool);
		return ck_fail(err, rc, "cannot start the key provider's threads: %s",
			       strerror(-rc));
	}
	*out = pool;
	return 0;
}

void ck_callpool_close(struct ck_callpool *pool)
{
	struct ck_call *c;

	if (!pool)
		return;
	ck_callpool_stop(pool);
	for (size_t i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	while ((c = pop(&pool->done)))
		ck_call_free(c);
	ck_closep(&pool->event_fd);
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->wake);
	free(pool);
}

int ck_callpool_fd(const struct ck_callpool *pool)
{
	return pool->event_fd;
}

int ck_callpool_submit(struct ck_callpool *pool, struct ck_call *call)
{
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	if (pool->stopped || pool->queue.n == QUEUE_MAX)
		rc = -EAGAIN;
	else
		push(&pool->queue, call);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

void ck_callpool_abandon(struct ck_callpool *pool, struct ck_call *call)
{
	pthread_mutex_lock(&pool->lock);
	call->owner = NULL;
	/* A client may send and give up faster than calls are done. */
	if (take_out(&pool->queue, call))
		finish(pool, call);
	pthread_mutex_unlock(&pool->lock);
}

struct ck_call *ck_callpool_done(struct ck_callpool *pool)
{
	eventfd_t n;

	pthread_mutex_lock(&pool->lock);
	struct ck_call *c = pop(&pool->done);
	if (!c)
		(void)eventfd_read(pool->event_fd, &n);
	pthread_mutex_unlock(&pool->lock);
	return c;
}

void ck_callpool_stop(struct ck_callpool *pool)
{
	struct ck_call *c;

	pthread_mutex_lock(&pool->lock);
	pool->stopped = true;
	while ((c = pop(&pool->queue))) {
		c->status = CK_GRPC_UNAVAILABLE;
		(void)ck_fail(&c->err, -ESHUTDOWN, "the key provider is stopping");
		finish(pool, c);
	}
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

bool ck_callpool_busy(struct ck_callpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool busy = pool->queue.n || pool->n_running || pool->done.n;
	pthread_mutex_unlock(&pool->lock);
	return busy;
}
