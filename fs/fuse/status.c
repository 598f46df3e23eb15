#include "fs/fuse/status.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "fs/fuse/answerer.h"
#include "fs/fuse/beacon.h"

enum { PATIENCE_MS = 5000, PAUSE_MS = 20, PIECE = 64 << 10 };

/* Waits for EVENTS until END_MS. Errors: -ETIMEDOUT. */
static int await(int fd, short events, uint64_t end_ms, struct ck_err *err)
{
	struct pollfd on = { .fd = fd, .events = events };
	uint64_t now = ck_now_ms();
	int n = poll(&on, 1, now < end_ms ? (int)(end_ms - now) : 0);

	if (n == 0)
		return ck_fail(err, -ETIMEDOUT, "it does not answer");
	return n < 0 && errno != EINTR ? ck_fail(err, -errno, "%s", strerror(errno)) : 0;
}

/* All that comes at FD. */
static int receive(struct ck_buf *in, int fd, uint64_t end_ms, struct ck_err *err)
{
	for (;;) {
		int rc = await(fd, POLLIN, end_ms, err);
		if (rc == 0)
			rc = ck_buf_reserve(in, PIECE, err);
		if (rc < 0)
			return rc;
		ssize_t n = recv(fd, in->data + in->len, PIECE, MSG_DONTWAIT);
		if (n == 0)
			return 0;
		if (n > 0)
			in->len += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return ck_fail(err, -errno, "%s", strerror(errno));
	}
}

int ck_status_ask(int fd, unsigned timeout_ms, json_t **doc, struct ck_report *out,
		  struct ck_err *err)
{
	static const char question[] = CK_ANSWER_QUESTION;
	CK_BUF in = { .max = CK_ANSWER_MAX + PIECE };
	CK_JSON *j = NULL;

	/* So few bytes always fit. */
	if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return ck_fail(err, -errno, "%s", strerror(errno));
	int rc = receive(&in, fd, ck_now_ms() + timeout_ms, err);
	if (rc == 0 && in.len == 0)
		rc = ck_fail(err, -EPERM, "it hung up without an answer");
	if (rc == 0)
		rc = ck_json_parse(&j, in.data, in.len, "its answer", err);
	if (rc == 0 && (rc = ck_report_read(out, j, err)) < 0)
		ck_wrap(err, "its answer");
	if (rc == 0)
		*doc = ck_take(j);
	return rc;
}

/* Finds the daemon of AT and asks it, again where others fill its queue, or where it hung up: a
 * device's number may be that of a mount that is just going, too. Errors: -ENOENT (there is
 * none), those of ck_status_ask. */
static int find_and_ask(struct ck_status *s, const struct ck_mounted *at, pid_t *pid)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	uint64_t end_ms = ck_now_ms() + PATIENCE_MS;
	int rc;

	for (;;) {
		s->problem = (struct ck_err){ 0 };
		CK_AUTO(ck_closep)
		int fd = ck_beacon_find(at->dev_major, at->dev_minor, at->user, pid);
		if (fd == -ENOENT)
			return fd;
		rc = fd < 0 ? ck_fail(&s->problem, fd, "too many others ask it")
			    : ck_status_ask(fd, PATIENCE_MS, &s->doc, &s->report, &s->problem);
		if ((rc != -EAGAIN && rc != -EPERM && rc != -ECONNRESET && rc != -EPIPE) ||
		    ck_now_ms() >= end_ms)
			return rc;
		nanosleep(&pause, NULL);
	}
}

static void find_out(struct ck_status *s, const struct ck_mounted *at)
{
	pid_t pid = 0;
	int rc = find_and_ask(s, at, &pid);

	s->state = CK_STATUS_SERVING;
	if (rc == 0)
		return;
	if (rc == -ENOENT && ck_mounted_stale(s->mount_point, at)) {
		s->state = CK_STATUS_GONE;
		ck_fail(&s->problem, -ENOTCONN,
			"its daemon is gone; clean up with: cloakfs umount %s", s->mount_point);
	} else if (rc == -ENOENT) {
		s->state = CK_STATUS_UNSEEN;
		ck_fail(&s->problem, rc,
			"its daemon is not seen, perhaps in another network namespace");
	} else {
		s->state = CK_STATUS_SILENT;
		if (pid > 0)
			ck_wrap(&s->problem, "its daemon (process %d)", (int)pid);
		else
			ck_wrap(&s->problem, "its daemon");
	}
}

static void add(struct ck_statuses *s, const struct ck_place *p)
{
	struct ck_status *new = &s->v[s->n++];

	*new = (struct ck_status){ .mount_point = p->path,
				   .image = p->source,
				   .erofs = p->erofs,
				   .writable = p->overlay,
				   .user = p->at.user };
	find_out(new, &p->at);
}

static bool ours_to_ask(const struct ck_mounted *at)
{
	return geteuid() == 0 || at->user == geteuid();
}

static bool same_device(const struct ck_mounted *a, const struct ck_mounted *b)
{
	return a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

static void add_all(struct ck_statuses *s)
{
	const struct ck_place *p = s->places.v;

	for (size_t i = 0; i < s->places.n; i++) {
		size_t first = 0;
		while (!same_device(&p[first].at, &p[i].at))
			first++;
		if (first == i && ours_to_ask(&p[i].at))
			add(s, &p[i]);
	}
}

static int add_one(struct ck_statuses *s, const char *dir, struct ck_err *err)
{
	char path[PATH_MAX];
	struct ck_mounted at;

	if (!realpath(dir, path)) /* it asks nothing of a dead mount */
		return ck_fail(err, -errno, "cannot find %s: %s", dir, strerror(errno));
	int rc = ck_mounted_at(path, &at, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc < 0 || !at.ours)
		return ck_fail(err, -EINVAL, "no cloakfs is mounted at %s", path);
	if (!ours_to_ask(&at))
		return ck_fail(err, -EPERM,
			       "only root and who mounted it may ask about the mount at %s", path);
	for (size_t i = s->places.n; i-- > 0;) {
		if (strcmp(s->places.v[i].path, path) == 0) {
			add(s, &s->places.v[i]);
			return 0;
		}
	}
	return ck_fail(err, -EINVAL, "no cloakfs is mounted at %s any more", path);
}

int ck_statuses_get(struct ck_statuses *out, const char *dir, struct ck_err *err)
{
	int rc = ck_places_list(&out->places, err);

	if (rc < 0)
		return rc;
	out->v = calloc(out->places.n + 1, sizeof *out->v);
	if (!out->v)
		return ck_nomem(err, "listing mounts");
	if (dir)
		return add_one(out, dir, err);
	add_all(out);
	return 0;
}

void ck_statuses_free(struct ck_statuses *s)
{
	for (size_t i = 0; i < s->n; i++) {
		ck_report_free(&s->v[i].report);
		json_decref(s->v[i].doc);
	}
	free(s->v);
	ck_places_free(&s->places);
	*s = (struct ck_statuses){ 0 };
}
