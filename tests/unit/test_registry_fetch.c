/* Ranges of a blob from a registry that does everything wrong that registries were seen to do. */
#include "tests/unit/lib/regstand.h"

static struct stand st;

static int setup(void **state)
{
	(void)state;
	stand_open(&st);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stand_close(&st);
	return 0;
}

static struct taken taken;

static int fetch_with(struct ck_registry *r, struct ck_registry_want w,
		      struct ck_registry_fetched *f, struct ck_err *err)
{
	struct ck_registry_taker taker = { take, &taken };
	int fail = taken.fail;
	bool cancel = atomic_load(&taken.cancel_at_data);

	memset(&taken, 0, sizeof taken);
	taken.fail = fail;
	atomic_store(&taken.cancel_at_data, cancel);
	memset(err, 0, sizeof *err);
	return ck_registry_fetch(r, &w, &taker, f, err);
}

static int fetch(struct ck_registry *r, uint64_t off, uint64_t len, struct ck_registry_fetched *f,
		 struct ck_err *err)
{
	return fetch_with(r, want_of(off, len), f, err);
}

static const struct ck_registry_opts quick = { .timeout_ms = 3000 };

/* One range, one request, on a connection that stays. */
static void ranges(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	assert_works(fetch(r, 1000, 5000, &f, &err), &err);
	assert_has(&taken, 1000, 5000);
	assert_int_equal(taken.n, 5000);
	assert_int_equal(f.nbytes, 5000);
	assert_int_equal(f.n_tries, 0);
	assert_true(f.wait_us > 0);
	assert_false(f.whole);
	assert_non_null(strstr(said(&st), "Range: bytes=1000-5999\r\n"));
	assert_null(strcasestr(said(&st), "accept-encoding"));
	assert_works(fetch(r, BLOB_LEN - 1, 1, &f, &err), &err);
	assert_has(&taken, BLOB_LEN - 1, 1);
	assert_works(fetch(r, 0, BLOB_LEN, &f, &err), &err);
	assert_has(&taken, 0, BLOB_LEN);
	assert_null(strstr(said(&st), "Range:"));
	assert_false(f.whole);
	assert_int_equal(stub_count(st.s, "GET /v2/r/x/blobs/sha256:"), 3);
	/* One for the try with TLS, one that stays. */
	assert_int_equal(stub_conns(st.s), 2);
}

/* Each act once, then the registry is well. TRIES: further requests; WHOLE: what is said of it. */
static void acts(void **state)
{
	static const struct {
		const char *act;
		unsigned tries;
		bool whole;
		size_t n_taken;
	} rows[] = {
		{ "cut", 1, false, 6000 },	  { "reset", 1, false, 0 },
		{ "early", 1, false, 6000 },	  { "close", 0, false, 6000 },
		{ "close-cut", 1, false, 6000 },  { "star", 0, false, 6000 },
		{ "identity", 0, false, 6000 },	  { "start", 1, false, 6000 },
		{ "before", 1, false, 6000 },	  { "total", 1, false, 6000 },
		{ "beyond", 1, false, 6000 },	  { "longer", 1, false, 6000 },
		{ "gzip", 1, false, 6000 },	  { "unsaid", 1, false, 6000 },
		{ "multipart", 1, false, 6000 },  { "page", 1, false, 6000 },
		{ "page-close", 1, false, 6000 }, { "500", 1, false, 6000 },
		{ "502", 1, false, 6000 },	  { "503", 1, false, 6000 },
		{ "408", 1, false, 6000 },	  { "wait", 1, false, 6000 },
		{ "whole", 0, true, BLOB_LEN },	  { "whole-close", 0, true, BLOB_LEN },
		{ "whole-cut", 1, true, 7000 },	  { "416", 1, true, BLOB_LEN },
		{ "400", 1, true, BLOB_LEN },	  { "stall", 1, false, 6000 },
		{ "silent", 1, false, 6000 },	  { "close-more", 1, false, 6000 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
		struct ck_registry_fetched f;
		struct ck_err err;
		SCRIPT(&st, rows[i].act);
		uint64_t start = ck_now_ms();
		int rc = fetch(r, 20000, 6000, &f, &err);
		if (rc < 0 || f.n_tries != rows[i].tries || f.whole != rows[i].whole ||
		    (rows[i].n_taken && taken.n != rows[i].n_taken))
			fail_msg("%s: %d %s, %u tries, %zu taken, %d", rows[i].act, rc, err.msg,
				 f.n_tries, (size_t)taken.n, f.whole);
		assert_has(&taken, 20000, 6000);
		if (strcmp(rows[i].act, "wait") == 0) /* as Retry-After said */
			assert_in_range(ck_now_ms() - start, 1000, 2500);
	}
}

/* What was cut is gone on with, not begun anew. */
static void goes_on(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct ck_err err;
	uint64_t start = ck_now_ms();

	(void)state;
	SCRIPT(&st, "cut", "cut", "early", "close-cut", "cut");
	assert_works(fetch(r, 1000, 6400, &f, &err), &err);
	assert_has(&taken, 1000, 6400);
	assert_int_equal(taken.n, 6400);
	assert_int_equal(f.n_tries, 5);
	assert_non_null(strstr(said(&st), "Range: bytes=7200-7399\r\n"));
	assert_true(ck_now_ms() - start < 1500);
	/* Of a blob asked for as a whole, too. */
	SCRIPT(&st, "");
	assert_works(fetch(r, 0, BLOB_LEN, &f, &err), &err);
	assert_has(&taken, 0, BLOB_LEN);
}

/* A registry that is no use: an error within the deadline, and all is well when it is. */
static void gives_up(void **state)
{
	static const struct {
		const char *act;
		int rc;
		const char *says;
		bool soon;
	} rows[] = {
		{ "404", -ENOENT, "404 (not found): SOME_CODE, some text", true },
		{ "403", -EACCES, "403 (forbidden): SOME_CODE, some text", true },
		{ "401", -EACCES, "asks for nothing that can be given", true },
		{ "405", -EPROTO, "405", true },
		{ "300", -EPROTO, "300", true },
		{ "503", -EPROTO, "503", false },
		{ "page", -EPROTO, "14 bytes, but the blob has 100000", false },
		{ "silent", -ETIMEDOUT, "", false },
		{ "stall", -ETIMEDOUT, "", false },
		{ "drip", -ETIMEDOUT, "", false },
		{ "gzip", -EPROTO, "Content-Encoding gzip", false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_registry_closep)
		struct ck_registry *r =
		    client_of(&st, (struct ck_registry_opts){ .timeout_ms = 1000 });
		struct ck_registry_fetched f;
		struct ck_err err;
		uint64_t start = ck_now_ms();
		/* As many as are asked for; the blob whole answers as told, too. */
		script_all(&st, rows[i].act, SCRIPT_MAX);
		int rc = fetch(r, 20000, 60000, &f, &err);
		uint64_t took = ck_now_ms() - start;
		if (strcmp(rows[i].act, "gzip") == 0 && rc == 0)
			continue; /* whole, it is not compressed */
		if (rc != rows[i].rc || !strstr(err.msg, rows[i].says))
			fail_msg("%s: %d %s", rows[i].act, rc, err.msg);
		if (took > 1900 || (rows[i].soon && took > 500))
			fail_msg("%s: %zu ms", rows[i].act, (size_t)took);
		script_all(&st, "", 0);
		assert_works(fetch(r, 20000, 60000, &f, &err), &err);
		assert_has(&taken, 20000, 60000);
	}
}

static void refuses_nonsense(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	assert_int_equal(fetch(r, 0, 0, &f, &err), -EINVAL);
	assert_int_equal(fetch(r, BLOB_LEN, 1, &f, &err), -EINVAL);
	assert_int_equal(fetch(r, 1, BLOB_LEN, &f, &err), -EINVAL);
	assert_int_equal(fetch(r, 1, UINT64_MAX, &f, &err), -EINVAL);
	assert_int_equal(stub_conns(st.s), 0);
}

static void takers_errors(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	taken.fail = -ENOSPC;
	assert_fails(fetch(r, 0, 10, &f, &err), -ENOSPC, &err, "not taken");
	assert_int_equal(f.n_tries, 0);
	taken.fail = 0;
}

static void *cancel_later(void *arg)
{
	(void)poll(NULL, 0, 200);
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

static void cancelled(void **state)
{
	static const char *const rows[] = { "silent", "stall", "503", "wait" };

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
		struct ck_registry_want w = want_of(0, 10000);
		struct ck_registry_fetched f;
		struct ck_err err;
		atomic_bool cancel = false;
		uint64_t start = ck_now_ms();
		pthread_t t;
		w.cancel = &cancel;
		script_all(&st, rows[i], SCRIPT_MAX);
		assert_int_equal(pthread_create(&t, NULL, cancel_later, &cancel), 0);
		int rc = fetch_with(r, w, &f, &err);
		pthread_join(t, NULL);
		if (rc != -ECANCELED || ck_now_ms() - start > 700)
			fail_msg("%s: %d %s", rows[i], rc, err.msg);
	}
}

/* What the taker found to be wrong is asked for where no cache stands between. */
static void afresh(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_want w = want_of(10, 10);
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	assert_works(fetch_with(r, w, &f, &err), &err);
	assert_null(strstr(said(&st), "no-cache"));
	w.afresh = true;
	assert_works(fetch_with(r, w, &f, &err), &err);
	assert_non_null(strstr(said(&st), "Cache-Control: no-cache"));
}

/* A registry that has no ranges at all is not asked for one each time. */
static void knows_no_ranges(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	SCRIPT(&st, "416");
	assert_works(fetch(r, 10, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 1);
	assert_works(fetch(r, 50, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 0);
	assert_true(f.whole);
	assert_null(strstr(said(&st), "Range:"));
	/* The range is there before an answer that is for all is cut. */
	SCRIPT(&st, "whole-cut");
	CK_AUTO(ck_registry_closep) struct ck_registry *again = client_of(&st, quick);
	assert_works(fetch(again, 50, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 0);
	assert_has(&taken, 0, 1000);
	/* Ranges that are always wrong. */
	SCRIPT(&st, "total", "start", "total", "total");
	assert_works(fetch(again, 50, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 2);
	assert_true(f.whole);
}

/* A whole blob may take longer than a range may, as long as it comes. */
static void long_wholes(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client_of(&st, (struct ck_registry_opts){ .timeout_ms = 1000 });
	struct ck_registry_fetched f;
	struct ck_err err;
	uint64_t start = ck_now_ms();

	(void)state;
	SCRIPT(&st, "whole-slow");
	assert_works(fetch(r, BLOB_LEN - 10, 10, &f, &err), &err);
	assert_has(&taken, 0, BLOB_LEN);
	assert_int_equal(f.n_tries, 0);
	assert_in_range(ck_now_ms() - start, 1400, 5000);
	/* But not drop by drop. */
	script_all(&st, "whole-drip", SCRIPT_MAX);
	start = ck_now_ms();
	assert_fails(fetch(r, BLOB_LEN - 10, 10, &f, &err), -ETIMEDOUT, &err, "bytes came in");
	assert_in_range(ck_now_ms() - start, 1000, 1400);
}

/* A blob as a whole, of which one answer was cut and the next began anew. */
static void gathers(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_descriptor d = { .media_type = "x/y", .size = BLOB_LEN };
	struct ck_err err;
	CK_BUF b = { 0 };

	(void)state;
	memcpy(d.digest, blob_digest, sizeof d.digest);
	SCRIPT(&st, "whole-cut", "whole");
	assert_works(ck_registry_whole(r, &d, BLOB_LEN, &b, &err), &err);
	assert_int_equal(b.len, BLOB_LEN);
	assert_memory_equal(b.data, blob, BLOB_LEN);
	assert_non_null(strstr(said(&st), "Range: bytes=1000-99999"));
}

/* ---- redirects ---------------------------------------------------------------------- */

static const char *to(struct stand *other, const char *rest)
{
	static char text[8][256];
	static unsigned n;
	char *out = text[n++ % 8];

	snprintf(out, sizeof text[0], "to http://%s%s", stub_host(other->s), rest);
	return out;
}

static void redirected(void **state)
{
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct stand store;
	struct ck_err err;

	(void)state;
	stand_open(&store);
	SCRIPT(&st, to(&store, "/store/blobs/x?sig=1"));
	assert_works(fetch(r, 100, 50, &f, &err), &err);
	assert_has(&taken, 100, 50);
	assert_non_null(strstr(said(&store), "Range: bytes=100-149"));
	assert_int_equal(stub_count(store.s, "GET /store/blobs/x?sig=1"), 1);
	/* The next one goes there at once. */
	assert_works(fetch(r, 200, 50, &f, &err), &err);
	assert_int_equal(stub_count(store.s, "GET /store/blobs/x?sig=1"), 2);
	assert_int_equal(stub_count(st.s, "GET /v2/r/x/blobs"), 1);
	/* Until it has expired. */
	SCRIPT(&store, "403");
	SCRIPT(&st, to(&store, "/store/blobs/x?sig=2"));
	assert_works(fetch(r, 300, 50, &f, &err), &err);
	assert_int_equal(f.n_tries, 0);
	assert_int_equal(stub_count(store.s, "GET /store/blobs/x?sig=2"), 1);
	assert_int_equal(stub_count(st.s, "GET /v2/r/x/blobs"), 2);
	/* A cut is gone on with there. */
	SCRIPT(&store, "cut");
	assert_works(fetch(r, 300, 50, &f, &err), &err);
	assert_has(&taken, 300, 50);
	/* Afresh: by the registry, and anew. */
	struct ck_registry_want w = want_of(10, 10);
	w.afresh = true;
	unsigned before = stub_count(st.s, "GET /v2/r/x/blobs");
	assert_works(fetch_with(r, w, &f, &err), &err);
	assert_int_equal(stub_count(st.s, "GET /v2/r/x/blobs"), before + 1);
	/* The store is gone. */
	SCRIPT(&st, to(&store, "/store/blobs/x?sig=3"));
	assert_works(fetch(r, 300, 50, &f, &err), &err);
	stand_close(&store);
	assert_works(fetch(r, 400, 50, &f, &err), &err);
	assert_has(&taken, 400, 50);
}

/* However a store says that a URL's time is up: one request there and one for another, and that is
 * no failure. */
static void expired(void **state)
{
	static const char *const says[] = { "400", "401", "403", "404", "410", "416", "503" };
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, quick);
	struct ck_registry_fetched f;
	struct stand store;
	struct ck_err err;

	(void)state;
	stand_open(&store);
	SCRIPT(&st, to(&store, "/blobs/x?Expires=1"));
	assert_works(fetch(r, 100, 50, &f, &err), &err);
	for (size_t i = 0; i < N_OF(says); i++) {
		unsigned there = stub_count(store.s, "GET"), here = stub_count(st.s, "GET");
		SCRIPT(&store, says[i]);
		SCRIPT(&st, to(&store, "/blobs/x?Expires=2"));
		assert_works(fetch(r, 200, 50, &f, &err), &err);
		assert_has(&taken, 200, 50);
		unsigned n = stub_count(store.s, "GET") - there + stub_count(st.s, "GET") - here;
		if (f.n_tries != 0 || n != 3 || f.whole)
			fail_msg("%s: %u requests, %u tries more", says[i], n, f.n_tries);
	}
	stand_close(&store);
}

static void bad_redirects(void **state)
{
	static const struct {
		const char *location, *says;
	} rows[] = {
		{ "to ftp://127.0.0.1/x", "not an http" },
		{ "to file:///etc/passwd", "not an http" },
		{ "to http://user@127.0.0.1/x", "not an http" },
		{ "to http://127.0.0.1:1/x", "127.0.0.1:1" },
	};
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client_of(&st, (struct ck_registry_opts){ .timeout_ms = 600 });
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		script_all(&st, rows[i].location, SCRIPT_MAX);
		int rc = fetch(r, 0, 10, &f, &err);
		if (rc >= 0 || !strstr(err.msg, rows[i].says))
			fail_msg("%s: %d %s", rows[i].location, rc, err.msg);
	}
	/* Relative ones are the registry's own; a circle ends. */
	SCRIPT(&st, "to /v2/r/x/blobs/other", "to other2", "to ?x=1");
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_int_equal(stub_count(st.s, "GET /v2/r/x/blobs/other2?x=1"), 1);
	script_all(&st, "to /v2/r/x/blobs/again", SCRIPT_MAX);
	assert_fails(fetch(r, 0, 10, &f, &err), -EPROTO, &err, "more than 5 redirects");
}

/* ---- mirrors ------------------------------------------------------------------------ */

static void write_hosts(struct stand *host, struct stand *mirror, const char *more)
{
	char dir[128], text[512], file[160];

	snprintf(dir, sizeof dir, "hosts/%s", stub_host(host->s));
	(void)mkdir(tmp_path("hosts"), 0700);
	(void)mkdir(tmp_path(dir), 0700);
	snprintf(file, sizeof file, "%s/hosts.toml", dir);
	snprintf(text, sizeof text, "[host.\"http://%s\"]\n%s\n", stub_host(mirror->s), more);
	tmp_file(file, text);
}

static void mirrors(void **state)
{
	struct ck_registry_fetched f;
	struct ck_err err;
	struct stand m;
	char ns[64];

	(void)state;
	stand_open(&m);
	write_hosts(&st, &m, "capabilities = [\"pull\"]\n");
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client_of(
	    &st, (struct ck_registry_opts){ .timeout_ms = 3000, .hosts_dir = tmp_path("hosts") });
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_has(&taken, 0, 10);
	assert_int_equal(stub_conns(st.s), 0);
	snprintf(ns, sizeof ns, "?ns=127.0.0.1%%3A%s HTTP", strchr(stub_host(st.s), ':') + 1);
	ns[strlen(ns) - 5] = 0;
	assert_non_null(strstr(said(&m), ns));
	/* One that does not have it is asked again the next time. */
	SCRIPT(&m, "404");
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 1);
	assert_int_equal(stub_count(st.s, "GET /v2/r/x/blobs"), 1);
	assert_null(strstr(said(&st), "ns="));
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_int_equal(stub_count(m.s, "GET /v2/r/x/blobs"), 3);
	/* One that failed is put behind. */
	SCRIPT(&m, "503");
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 1);
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_int_equal(f.n_tries, 0);
	assert_int_equal(stub_count(m.s, "GET /v2/r/x/blobs"), 4);
	/* But asked where the host itself fails. */
	SCRIPT(&st, "503");
	assert_works(fetch(r, 0, 10, &f, &err), &err);
	assert_int_equal(stub_count(m.s, "GET /v2/r/x/blobs"), 5);
	/* Afresh: not from mirrors. */
	struct ck_registry_want w = want_of(0, 10);
	w.afresh = true;
	assert_works(fetch_with(r, w, &f, &err), &err);
	assert_int_equal(stub_count(m.s, "GET /v2/r/x/blobs"), 5);
	/* A half-way cut is gone on with elsewhere where its source is gone. */
	stand_close(&m);
	assert_works(fetch(r, 0, 10, &f, &err), &err);
}

/* ---- both at once ------------------------------------------------------------------- */

static void *fetch_some(void *arg)
{
	for (unsigned i = 0; i < 10; i++) {
		static _Thread_local struct taken t;
		struct ck_registry_taker taker = { take, &t };
		struct ck_registry_want w = want_of(i * 777, 5000);
		struct ck_registry_fetched f;
		struct ck_err err;
		memset(&t, 0, sizeof t);
		assert_works(ck_registry_fetch(arg, &w, &taker, &f, &err), &err);
		assert_has(&t, i * 777, 5000);
	}
	return NULL;
}

static void many_threads(void **state)
{
	/* Without TLS: libcrypto's own threads' business is not what TSan is asked about here. */
	static const char *const plain[] = { "127.0.0.1", NULL };
	struct ck_registry_opts o = { .timeout_ms = 5000, .plain_http = plain };
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, o);
	struct stand store;
	pthread_t t[8];

	(void)state;
	stand_open(&store);
	const char *elsewhere = to(&store, "/blobs/x");
	SCRIPT(&st, "cut", elsewhere, "503", "cut", elsewhere, "503", "reset", "whole", "416",
	       "early", "cut", "page", "500", elsewhere);
	for (size_t i = 0; i < N_OF(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, fetch_some, r), 0);
	for (size_t i = 0; i < N_OF(t); i++)
		pthread_join(t[i], NULL);
	stand_close(&store);
}

/* All of them are refused at once; one token is got for all. */
static void one_token_for_all(void **state)
{
	static const char *const plain[] = { "127.0.0.1", NULL };
	struct ck_registry_opts o = { .timeout_ms = 5000, .plain_http = plain };
	CK_AUTO(ck_registry_closep) struct ck_registry *r = client_of(&st, o);
	char challenge[128];
	pthread_t t[8];

	(void)state;
	snprintf(challenge, sizeof challenge,
		 "WWW-Authenticate: Bearer realm=\"http://%s/token\"\r\n", stub_host(st.s));
	for (int round = 1; round <= 2; round++) {
		stub_pause(st.s);
		st.needs = round == 1 ? "Bearer a" : "Bearer b";
		st.token = round == 1 ? "{\"token\":\"a\"}" : "{\"token\":\"b\"}";
		st.challenge = challenge;
		stub_resume(st.s);
		for (size_t i = 0; i < N_OF(t); i++)
			assert_int_equal(pthread_create(&t[i], NULL, fetch_some, r), 0);
		for (size_t i = 0; i < N_OF(t); i++)
			pthread_join(t[i], NULL);
		assert_int_equal(stub_count(st.s, "GET /token"), round);
	}
}

/* Who cuts after each byte or two is not asked without a pause. */
static void cut_over_and_over(void **state)
{
	CK_AUTO(ck_registry_closep)
	struct ck_registry *r = client_of(&st, (struct ck_registry_opts){ .timeout_ms = 1000 });
	struct ck_registry_fetched f;
	struct ck_err err;

	(void)state;
	script_all(&st, "two", SCRIPT_MAX);
	int rc = fetch(r, 0, 200, &f, &err);
	assert_true(rc == -ETIMEDOUT || rc == -EPROTO);
	assert_in_range(stub_count(st.s, "GET /v2/r/x/blobs"), 10, 50);
}

int main(void)
{
#define STAND(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		STAND(ranges),
		STAND(acts),
		STAND(goes_on),
		STAND(gives_up),
		STAND(refuses_nonsense),
		STAND(takers_errors),
		STAND(cancelled),
		STAND(afresh),
		STAND(knows_no_ranges),
		STAND(redirected),
		STAND(expired),
		STAND(bad_redirects),
		STAND(mirrors),
		STAND(many_threads),
		STAND(long_wholes),
		STAND(gathers),
		STAND(one_token_for_all),
		STAND(cut_over_and_over),
	};

	return cmocka_run_group_tests(tests, stand_group_setup, stand_group_teardown);
}
