/*
 * status: what a daemon tells, who is told, and that nobody who asks can hold it up; what a
 * client believes. The answerer is a thread: this runs under TSan.
 */
#include <poll.h>
#include <sys/socket.h>

#include "base/json.h"
#include "fs/fuse/answerer.h"
#include "fs/fuse/beacon.h"
#include "fs/fuse/status.h"
#include "fs/registry/remote.h"
#include "tests/unit/test_fuse_stand.h"

/* ---- the answerer ------------------------------------------------------------------------- */

enum { MAJOR = 4094, SOON_MS = 10000, LARGE = 4 << 20 };

static struct ck_answerer *answerer;
static int lit;
static size_t answer_len;				 /* bytes */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* to answers */
static atomic_uint n_asked;

static int give(void *ctx, struct ck_buf *out, struct ck_err *err)
{
	(void)ctx;
	atomic_fetch_add(&n_asked, 1);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	int rc = ck_buf_reserve(out, answer_len, err);
	if (rc == 0) {
		memset(out->data, 'a', answer_len);
		out->len = answer_len;
	}
	return rc;
}

static int begin(void **state)
{
	struct ck_err err = { 0 };

	(void)state;
	answer_len = 10;
	atomic_store(&n_asked, 0);
	lit = ck_beacon_light(MAJOR, (unsigned)getpid());
	assert_true(lit >= 0);
	assert_works(ck_answerer_start(&answerer, lit, give, NULL, &err), &err);
	return 0;
}

static int end(void **state)
{
	(void)state;
	ck_answerer_stop(ck_take(answerer));
	close(lit);
	return 0;
}

static int join(void)
{
	pid_t pid;
	int fd = ck_beacon_find(MAJOR, (unsigned)getpid(), geteuid(), &pid);

	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool hears(int fd, int timeout_ms)
{
	struct pollfd on = { .fd = fd, .events = POLLIN };

	return poll(&on, 1, timeout_ms) > 0;
}

/* The bytes that come until the end; the descriptor is closed. */
static size_t drain(int fd)
{
	static char buf[65536];
	size_t got = 0;
	ssize_t n;

	do {
		assert_true(hears(fd, SOON_MS));
		n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	close(fd);
	return got;
}

static size_t ask(void)
{
	int fd = join();

	say(fd, CK_ANSWER_QUESTION);
	return drain(fd);
}

static void test_answers(void **state)
{
	(void)state;
	assert_int_equal(ask(), 10);
	int fd = join();
	say(fd, "sta");
	assert_false(hears(fd, 50));
	say(fd, "tus\n");
	assert_int_equal(drain(fd), 10);
	answer_len = LARGE;
	assert_int_equal(ask(), LARGE);
}

static void test_questions_that_are_none(void **state)
{
	static const char *const others[] = { "x",	  "status ", "statu\n",
					      "STATUS\n", "\n",	     "GET / HTTP/1.1\r\n\r\n" };
	(void)state;
	for (size_t i = 0; i < N_OF(others); i++) {
		int fd = join();
		say(fd, others[i]);
		assert_int_equal(drain(fd), 0);
	}
	int fd = join();
	say(fd, "stat"); /* and no more: not for ever */
	uint64_t from = ck_now_ms();
	assert_int_equal(drain(fd), 0);
	assert_in_range(ck_now_ms() - from, 1000, SOON_MS);
	assert_int_equal(atomic_load(&n_asked), 0);
	close(join()); /* one that leaves again */
	assert_int_equal(ask(), 10);
}

/* As umount does. */
static void test_silent(void **state)
{
	(void)state;
	int silent = join();
	for (int i = 0; i < 200; i++)
		assert_int_equal(ask(), 10);
	assert_int_equal(ck_beacon_await_end(silent, getpid(), 100), -ETIMEDOUT);
	uint64_t from = ck_now_ms();
	ck_answerer_stop(ck_take(answerer));
	assert_int_equal(ck_beacon_await_end(silent, getpid(), 5000), 0);
	assert_in_range(ck_now_ms() - from, 0, 1000);
	close(silent);
}

/* With all places taken the others wait in the kernel's queue, and get theirs in the end. */
static void test_crowd(void **state)
{
	int crowd[CK_ANSWER_CLIENTS];

	(void)state;
	for (size_t i = 0; i < CK_ANSWER_CLIENTS; i++) {
		crowd[i] = join();
		if (i % 16 == 15) /* those before have been taken from the queue */
			assert_int_equal(i < CK_ANSWER_CLIENTS - 1 ? ask() : 10, 10);
	}
	int late = join();
	say(late, CK_ANSWER_QUESTION);
	assert_false(hears(late, 100));
	close(crowd[7]);
	assert_int_equal(drain(late), 10);
	int last = join();
	ck_answerer_stop(ck_take(answerer));
	for (size_t i = 0; i < CK_ANSWER_CLIENTS; i++)
		if (i != 7)
			assert_int_equal(drain(crowd[i]), 0);
	close(lit);
	assert_int_equal(drain(last), 0);
	lit = ck_beacon_light(MAJOR, (unsigned)getpid());
}

static size_t n_hearing(const int *fds, size_t n)
{
	size_t n_do = 0;

	for (size_t i = 0; i < n; i++)
		n_do += hears(fds[i], 0);
	return n_do;
}

/* Who asks and never takes the answer costs only so much memory and time. */
static void test_never_reads(void **state)
{
	int fds[8];

	(void)state;
	answer_len = LARGE;
	for (size_t i = 0; i < N_OF(fds); i++)
		fds[i] = join();
	assert_int_equal(ask(), LARGE); /* so they all have been taken from the queue */
	pthread_mutex_lock(&gate);
	for (size_t i = 0; i < N_OF(fds); i++)
		say(fds[i], CK_ANSWER_QUESTION);
	pthread_mutex_unlock(&gate);
	while (n_hearing(fds, N_OF(fds)) < 4)
		usleep(1000);
	usleep(100000);					/* time in which a fifth could come */
	assert_int_equal(n_hearing(fds, N_OF(fds)), 4); /* answers are held, no more */
	for (size_t i = 0; i < N_OF(fds); i++)
		assert_true(hears(fds[i], SOON_MS));
	uint64_t from = ck_now_ms();
	ck_answerer_stop(ck_take(answerer));
	assert_in_range(ck_now_ms() - from, 0, 1000);
	for (size_t i = 0; i < N_OF(fds); i++)
		assert_true(drain(fds[i]) < LARGE);
}

static void test_other_user(void **state)
{
	int status;

	(void)state;
	assert_int_equal(geteuid(), 0); /* else there is no other to become */
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		pid_t peer;
		int unit = (int)getppid();
		if (setuid(65534) < 0)
			_exit(2);
		int fd = ck_beacon_find(MAJOR, (unsigned)unit, 0, &peer);
		if (fd < 0)
			_exit(3);
		(void)send(fd, CK_ANSWER_QUESTION, sizeof CK_ANSWER_QUESTION - 1, MSG_NOSIGNAL);
		if (!hears(fd, SOON_MS))
			_exit(4);
		_exit(recv(fd, &c, 1, 0) > 0 ? 5 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(atomic_load(&n_asked), 0);
	assert_int_equal(ask(), 10);
}

/* ---- reports ------------------------------------------------------------------------------- */

static struct stand st;

/* Of an image in a registry, where the test says that it is one. */
static struct ck_net *net;
static struct ck_remote *remotes[STAND_LAYERS];
static const struct ck_prefetch_progress *prefetch;

static char bound[32]; /* where it is mounted, too */

static int set_up(void **state)
{
	(void)state;
	st = (struct stand){ 0 };
	prefetch = NULL;
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		struct archive *a = stand_tar(&st.tar[i]);
		if (i == 0)
			stand_add(a, stand_entry("file", S_IFREG | 0644), "hello", 5);
		archive_write_free(a);
		st.layer[i].media_type = "application/x";
		st.layer[i].size = 100 + i;
		snprintf(st.layer[i].digest_str, CK_DIGEST_STR, "sha256:%zu", i);
	}
	stand_open(&st);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (bound[0]) {
		umount2(bound, MNT_DETACH);
		rmdir(bound);
		bound[0] = 0;
	}
	ck_net_close(ck_take(net));
	stand_close(&st);
	return 0;
}

/* A report of ST's stack, as a document. */
static json_t *report_of(struct ck_counters *c)
{
	const struct ck_report_source source = {
		&st.stack,	     c,	       "rootfs", 1700000000,
		ck_now_ms() - 90000, prefetch, net,	 net ? remotes : NULL
	};
	CK_BUF text = { 0 };
	struct ck_err err = { 0 };
	json_t *doc = NULL;

	assert_works(ck_report_write(&text, &source, &err), &err);
	assert_works(ck_json_parse(&doc, text.data, text.len, "report", &err), &err);
	return doc;
}

static void test_report(void **state)
{
	CK_AUTO(ck_report_free) struct ck_report r = { 0 };
	struct ck_counters c;
	struct ck_err err = { 0 };

	(void)state;
	ck_counters_init(&c);
	ck_counters_read(&c, 4096);
	ck_counters_read(&c, 10);
	ck_counters_failed(&c);
	ck_counters_error(&c, "layer 0: \"\xff\x01\" failed"); /* names are any bytes */
	st.stack.keys_ms = ck_now_ms() - 5000;
	st.stack.n_released = 7;
	CK_JSON *doc = report_of(&c);
	assert_works(ck_report_read(&r, doc, &err), &err);
	assert_string_equal(r.view, "rootfs");
	assert_int_equal(r.pid, getpid());
	assert_int_equal(r.mounted_at, 1700000000);
	assert_in_range(r.uptime_s, 90, 120);
	assert_in_range(r.key_age_s, 5, 60);
	assert_int_equal(r.reads, 2);
	assert_int_equal(r.bytes_served, 4106);
	assert_int_equal(r.reads_failed, 1);
	assert_string_equal(r.last_error, "layer 0: \"?\x01\" failed");
	assert_in_range(r.last_error_at, 1700000000, UINT64_MAX - 1);
	assert_int_equal(r.unit_cache.limit, 1 << 20);
	assert_int_equal(r.n_layers, STAND_LAYERS);
	const struct ck_report_layer *l = &r.layers[1];
	assert_string_equal(l->digest, "sha256:1");
	assert_string_equal(l->media_type, "application/x");
	assert_string_equal(l->compression, "none");
	assert_string_equal(l->verified, "full");
	assert_null(l->index);
	assert_false(l->sealed || l->encrypted);
	assert_int_equal(l->blob_size, 101);
	assert_int_equal(l->tar_size, st.tar[1].len);
	assert_int_equal(l->bytes_fetched, st.tar[1].len);
	assert_int_equal(r.bytes_fetched, st.tar[0].len + st.tar[1].len);
	assert_int_equal(r.verification_failures, 0);
	assert_int_equal(r.key_releases, 7);
	assert_false(r.has_network);
	assert_true(json_is_null(json_object_get(doc, "network")));
	assert_true(l->bytes_moved == CK_REPORT_NONE && l->bytes_kept == CK_REPORT_NONE);
}

static void test_report_of_a_network(void **state)
{
	static const struct ck_prefetch_progress progress = { 5, 6 };
	CK_AUTO(ck_report_free) struct ck_report r = { 0 };
	CK_AUTO(ck_blobcache_closep) struct ck_blobcache *cache = NULL;
	CK_AUTO(ck_reader_closep) struct ck_reader *blob = NULL;
	const uint8_t digest[CK_SHA256_LEN] = { 1 };
	static uint8_t block[CK_CACHE_BLOCK];
	struct ck_counters c;
	struct ck_err err = { 0 };

	(void)state;
	ck_counters_init(&c);
	assert_works(ck_net_open(&net, 0, &err), &err);
	assert_works(ck_blobcache_open(&cache, NULL, 0, &err), &err);
	assert_works(ck_remote_open(&blob, &remotes[1], net, NULL, cache, digest,
				    (uint64_t)3 * CK_CACHE_BLOCK, &err),
		     &err);
	struct ck_cached_blob *kept = NULL;
	assert_works(ck_cached_blob_open(&kept, cache, digest, (uint64_t)3 * CK_CACHE_BLOCK, &err),
		     &err);
	ck_cached_blob_put(kept, 1, block);
	ck_cached_blob_close(kept);
	CK_JSON *fresh = report_of(&c);
	assert_works(ck_report_read(&r, fresh, &err), &err);
	assert_true(r.has_network && r.network.prefetch_total == 0);
	assert_true(r.network.round_trip_us == CK_REPORT_NONE);
	assert_true(r.network.bytes_per_s == CK_REPORT_NONE);
	ck_report_free(&r);
	ck_net_note(net, 100000, 2000, 50000, 0, false);
	ck_net_note(net, 11, 0, 0, 3, true);
	ck_net_note_kept(net, 77);
	ck_net_note_refetch(net);
	ck_net_note_refetch(net);
	prefetch = &progress;
	CK_JSON *doc = report_of(&c);
	assert_works(ck_report_read(&r, doc, &err), &err);
	const struct ck_report_network *n = &r.network;
	assert_int_equal(n->requests, 2);
	assert_int_equal(n->retries, 3);
	assert_int_equal(n->bytes_fetched, 100011);
	assert_int_equal(n->bytes_from_cache, 77);
	assert_int_equal(n->bytes_kept, CK_CACHE_BLOCK);
	assert_int_equal(n->refetches, 2);
	assert_int_equal(n->failed, 1);
	assert_int_equal(n->round_trip_us, 2000);
	assert_int_equal(n->bytes_per_s, 2000000);
	assert_int_equal(n->prefetch_done, 5);
	assert_int_equal(n->prefetch_total, 6);
	assert_int_equal(r.layers[1].bytes_moved, 0);
	assert_int_equal(r.layers[1].bytes_kept, CK_CACHE_BLOCK);
	assert_true(r.layers[0].bytes_moved == CK_REPORT_NONE);
	CK_JSON *again = json_object();
	assert_works(ck_report_json(again, &r, &err), &err);
	assert_true(json_equal(doc, again));
	remotes[1] = NULL;
}

/* A daemon that has been serving since before there were these. */
static void test_report_of_an_older_daemon(void **state)
{
	static const char *const later[] = { "network", "verification_failures", "key_releases" };
	CK_AUTO(ck_report_free) struct ck_report r = { 0 };
	struct ck_counters c;
	struct ck_err err = { 0 };

	(void)state;
	ck_counters_init(&c);
	CK_JSON *doc = report_of(&c);
	for (size_t i = 0; i < N_OF(later); i++)
		assert_int_equal(json_object_del(doc, later[i]), 0);
	for (size_t i = 0; i < STAND_LAYERS; i++) {
		json_t *l = json_array_get(json_object_get(doc, "layers"), i);
		assert_int_equal(json_object_del(l, "bytes_moved"), 0);
		assert_int_equal(json_object_del(l, "bytes_kept"), 0);
	}
	assert_works(ck_report_read(&r, doc, &err), &err);
	assert_false(r.has_network);
	assert_true(r.verification_failures == CK_REPORT_NONE && r.key_releases == CK_REPORT_NONE);
	assert_true(r.layers[0].bytes_moved == CK_REPORT_NONE);
}

static void test_report_of_nothing_yet(void **state)
{
	CK_AUTO(ck_report_free) struct ck_report r = { 0 };
	struct ck_counters c;
	struct ck_err err = { 0 };

	(void)state;
	ck_counters_init(&c);
	CK_JSON *doc = report_of(&c);
	json_object_set_new(doc, "of_later_versions", json_true());
	assert_works(ck_report_read(&r, doc, &err), &err);
	assert_null(r.last_error);
	assert_true(r.last_error_at == CK_REPORT_NONE && r.key_age_s == CK_REPORT_NONE);
	CK_JSON *again = json_object(); /* what is read is what is written */
	assert_works(ck_report_json(again, &r, &err), &err);
	json_object_del(doc, "of_later_versions");
	assert_true(json_equal(doc, again));
}

static bool need_not_be(const char *key)
{
	static const char *const names[] = {
		"key_age_s",
		"index",
		"last_error",
		"last_error_at",
		"verification_failures",
		"key_releases",
		"bytes_moved",
		"round_trip_us",
		"bytes_per_s",
		"network",
		"prefetch_ranges",
		"prefetch_bytes",
	};

	for (size_t i = 0; i < N_OF(names); i++)
		if (strcmp(key, names[i]) == 0)
			return true;
	return false;
}

/* OBJ (a part of DOC) with each of its fields left out, and of other kinds, is refused. */
static void spoil(json_t *doc, json_t *obj)
{
	CK_JSON *intact = json_copy(obj);
	const char *key;
	json_t *value;

	json_object_foreach (intact, key, value) {
		json_t *const wrong[] = { NULL, json_object(), json_integer(-1), json_real(0.5),
					  json_stringn("a\0b", 3) };
		for (size_t i = 0; i < N_OF(wrong); i++) {
			struct ck_report r = { 0 };
			struct ck_err err = { 0 };
			json_object_del(obj, key);
			if (wrong[i])
				json_object_set_new(obj, key, wrong[i]);
			else if (need_not_be(key) ||
				 (json_object_get(obj, "digest") && strcmp(key, "bytes_kept") == 0))
				continue;
			assert_fails(ck_report_read(&r, doc, &err), -EBADMSG, &err,
				     json_is_object(value) && i == 1 ? "is missing" : key);
			assert_null(r.layers);
		}
		json_object_set(obj, key, value);
	}
}

static void test_malformed(void **state)
{
	struct ck_counters c;
	struct ck_err err = { 0 };

	(void)state;
	ck_counters_init(&c);
	ck_counters_error(&c, "x");
	st.stack.keys_ms = ck_now_ms();
	assert_works(ck_net_open(&net, 0, &err), &err);
	ck_net_note(net, 100000, 2000, 50000, 0, false);
	CK_JSON *doc = report_of(&c);
	json_t *network = json_object_get(doc, "network");
	json_t *layer = json_array_get(json_object_get(doc, "layers"), 1);
	json_object_set_new(layer, "index", json_string("kept"));
	spoil(doc, doc);
	spoil(doc, json_object_get(doc, "unit_cache"));
	spoil(doc, layer);
	spoil(doc, network);
	json_array_append_new(json_object_get(doc, "layers"), json_integer(3));
	struct ck_report r = { 0 };
	assert_fails(ck_report_read(&r, doc, &err), -EBADMSG, &err, "layer 2");
}

/* ---- a client and what it is told ---------------------------------------------------------------
 */

struct told {
	int fd;
	const char *text;
	size_t times; /* so often */
	bool keeps;   /* the connection open */
};

static void *tell(void *arg)
{
	struct told *t = arg;

	for (size_t i = 0; i < t->times; i++)
		if (send(t->fd, t->text, strlen(t->text), MSG_NOSIGNAL) < 0)
			break;
	if (!t->keeps)
		shutdown(t->fd, SHUT_WR);
	return NULL;
}

static int ask_of(struct told *t, struct ck_err *err)
{
	struct ck_report r = { 0 };
	json_t *doc = NULL;
	int ends[2];
	pthread_t teller;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	t->fd = ends[0];
	assert_int_equal(pthread_create(&teller, NULL, tell, t), 0);
	int rc = ck_status_ask(ends[1], t->keeps ? 100 : SOON_MS, &doc, &r, err);
	close(ends[1]);
	pthread_join(teller, NULL);
	close(ends[0]);
	assert_null(doc);
	assert_null(r.layers);
	return rc;
}

static void test_bad_answers(void **state)
{
	static const struct {
		struct told told;
		int code;
		const char *text;
	} all[] = {
		{ { .text = "", .times = 0 }, -EPERM, "without an answer" },
		{ { .text = "", .keeps = true }, -ETIMEDOUT, "does not answer" },
		{ { .text = "{}", .times = 1, .keeps = true }, -ETIMEDOUT, "does not answer" },
		{ { .text = "{", .times = 1 }, -EBADMSG, "not valid JSON" },
		{ { .text = "[]", .times = 1 }, -EBADMSG, "is missing" },
		{ { .text = "{}", .times = 1 }, -EBADMSG, "\"view\" is missing" },
		{ { .text = "{\"view\":1}", .times = 1 }, -EBADMSG, "\"view\" is not a string" },
		{ { .text = "{\"a\":1,\"a\":2}", .times = 1 }, -EBADMSG, "not valid JSON" },
		{ { .text = "          ", .times = CK_ANSWER_MAX / 9 }, -EFBIG, "" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		struct ck_err err = { 0 };
		struct told t = all[i].told;
		assert_fails(ask_of(&t, &err), all[i].code, &err, all[i].text);
	}
}

/* ---- real mounts -------------------------------------------------------------------------------
 */

static const struct ck_status *status_of(struct ck_statuses *all, const char *dir)
{
	struct ck_err err = { 0 };

	ck_statuses_free(all);
	assert_works(ck_statuses_get(all, dir, &err), &err);
	const struct ck_status *found = NULL;
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->v[i].mount_point, st.dir) == 0) {
			assert_null(found); /* once */
			found = &all->v[i];
		}
	}
	return found;
}

static void test_mount(void **state)
{
	CK_AUTO(ck_statuses_free) struct ck_statuses all = { 0 };
	struct ck_err err = { 0 };
	char c;

	(void)state;
	assert_null(status_of(&all, NULL));
	ck_statuses_free(&all);
	assert_fails(ck_statuses_get(&all, st.dir, &err), -EINVAL, &err, "no cloakfs is mounted");
	stand_mount(&st, CK_VIEW_LAYERS, "oci:a b\\c");
	int fd = open(stand_path(&st, "0/file"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, &c, 1), 1);
	close(fd);
	const struct ck_status *s = status_of(&all, NULL);
	assert_non_null(s);
	assert_int_equal(s->state, CK_STATUS_SERVING);
	assert_string_equal(s->image, "oci:a b\\c");
	assert_int_equal(s->user, geteuid());
	assert_false(s->erofs);
	assert_string_equal(s->report.view, "layers");
	assert_int_equal(s->report.pid, st.daemon);
	assert_int_equal(s->report.reads, 1);
	assert_int_equal(s->report.bytes_served, 5);

	/* Elsewhere, too: asked for by name, and among all counted once. */
	snprintf(bound, sizeof bound, "/tmp/ck-bound-XXXXXX");
	assert_non_null(mkdtemp(bound));
	assert_int_equal(mount(st.dir, bound, NULL, MS_BIND, NULL), 0);
	status_of(&all, bound);
	assert_int_equal(all.n, 1);
	assert_string_equal(all.v[0].mount_point, bound);
	assert_non_null(status_of(&all, NULL));
	for (size_t i = 0; i < all.n; i++)
		assert_string_not_equal(all.v[i].mount_point, bound);

	/* Hidden, it still serves; but it is not what is mounted there. */
	assert_int_equal(mount("over", st.dir, "tmpfs", 0, NULL), 0);
	assert_non_null(status_of(&all, NULL));
	ck_statuses_free(&all);
	assert_fails(ck_statuses_get(&all, st.dir, &err), -EINVAL, &err, "no cloakfs is mounted");
	umount2(st.dir, MNT_DETACH);
	umount2(bound, MNT_DETACH);
	stand_unmount(&st);
}

static void test_mount_without_answer(void **state)
{
	CK_AUTO(ck_statuses_free) struct ck_statuses all = { 0 };

	(void)state;
	stand_mount(&st, CK_VIEW_ROOTFS, "oci:x");
	assert_int_equal(access(stand_path(&st, "file"), F_OK), 0); /* it has begun */
	assert_int_equal(status_of(&all, st.dir)->state, CK_STATUS_SERVING);
	int status;
	kill(st.daemon, SIGSTOP);
	assert_int_equal(waitpid(st.daemon, &status, WUNTRACED), st.daemon);
	assert_true(WIFSTOPPED(status));
	const struct ck_status *s = status_of(&all, st.dir);
	kill(st.daemon, SIGCONT);
	assert_int_equal(s->state, CK_STATUS_SILENT);
	assert_non_null(strstr(s->problem.msg, "does not answer"));
	kill(st.daemon, SIGKILL);
	stand_wait(&st);
	s = status_of(&all, NULL);
	assert_int_equal(s->state, CK_STATUS_GONE);
	assert_non_null(strstr(s->problem.msg, "clean up with: cloakfs umount /tmp/"));
	assert_string_equal(s->image, "oci:x");
}

#define ANSWERING(f)  cmocka_unit_test_setup_teardown(f, begin, end)
#define WITH_STAND(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ANSWERING(test_answers),
		ANSWERING(test_questions_that_are_none),
		ANSWERING(test_silent),
		ANSWERING(test_crowd),
		ANSWERING(test_never_reads),
		ANSWERING(test_other_user),
		WITH_STAND(test_report),
		WITH_STAND(test_report_of_nothing_yet),
		WITH_STAND(test_report_of_a_network),
		WITH_STAND(test_report_of_an_older_daemon),
		WITH_STAND(test_malformed),
		cmocka_unit_test(test_bad_answers),
		WITH_STAND(test_mount),
		WITH_STAND(test_mount_without_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
