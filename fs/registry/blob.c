#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "fs/registry/range.h"
#include "fs/registry/steps.h"

enum {
	WHOLE_MS = 60000, /* how long an endpoint that refused a range is not asked for any */
	/* A whole blob may take longer than the deadline, but not at less than this. */
	RATE_MIN = 16 << 10, /* bytes a second */
	UNUSABLE_MAX = 2,    /* answers to ranges, before the whole is asked for */
	/* Who cuts more often than that, with less each time, is asked again after a pause only. */
	CUTS_MAX = 8,
	CUT_LEN = 64 << 10,
};

/* A fetch on its way. */
struct flow {
	const struct ck_registry_want *want;
	const struct ck_registry_taker *taker;
	struct ck_registry_fetched *fetched;
	uint64_t pos, end; /* what is still wanted */
	uint64_t end_ms;   /* of ck_now_ms */
	unsigned n_unusable, n_cuts;
	/* Of the request that is on its way: */
	struct ck_range asked, got;
	uint64_t at; /* where the next byte belongs */
	uint64_t begun_ms;
	uint64_t n_body;
	bool unusable; /* what came was not what was asked for */
	bool taker_failed;
	bool lifted; /* the deadline counts no more */
};

static int begin(void *ctx, const struct ck_http_res *res, struct ck_err *err)
{
	struct flow *f = ctx;
	int rc = ck_range_judge(&f->got, &f->asked, res, err);

	if (rc < 0) {
		f->unusable = true;
		return rc;
	}
	f->at = f->got.off;
	f->begun_ms = ck_now_ms();
	if (f->asked.asked && res->status == 200)
		f->fetched->whole = true;
	/* All of it, wanted or not, takes the time that it takes: it will be kept. */
	f->lifted = res->status == 200 && f->fetched->whole;
	return f->lifted ? 1 : 0;
}

/* Slower than anything that can be waited for? */
static int check_rate(const struct flow *f, struct ck_err *err)
{
	uint64_t now = ck_now_ms(), took = now - f->begun_ms;

	if (!f->lifted || now < f->end_ms || f->n_body >= took * RATE_MIN / 1000)
		return 0;
	return ck_fail(err, -ETIMEDOUT, "only %" PRIu64 " bytes came in %" PRIu64 " ms", f->n_body,
		       took);
}

static int data(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	struct flow *f = ctx;
	size_t left = f->got.end - f->at < nbytes ? (size_t)(f->got.end - f->at) : nbytes;

	f->fetched->nbytes += nbytes;
	f->n_body += nbytes;
	int rc = left ? f->taker->data(f->taker->ctx, f->at, p, left, err) : 0;
	if (rc < 0) {
		f->taker_failed = true;
		return rc;
	}
	f->at += left;
	if (f->at > f->pos)
		f->pos = f->at < f->end ? f->at : f->end;
	if (left < nbytes) {
		f->unusable = true;
		return ck_fail(err, -EPROTO, "it answered with more bytes than it said");
	}
	return check_rate(f, err);
}

static int send(struct ck_registry *r, struct ck_endpoint *e, struct flow *f,
		struct ck_http_res *res, struct ck_err *err)
{
	const struct ck_registry_want *want = f->want;
	char path[sizeof "blobs/" + CK_DIGEST_STR], digest[CK_DIGEST_STR], range[80];
	const char *headers[4];
	const struct ck_http_sink sink = { begin, data, f };
	uint64_t now = ck_now_ms();
	struct ck_request req = {
		.repo = r->repo,
		.path = path,
		.headers = headers,
		.need = { .deadline_ms = f->end_ms, .cancel = want->cancel },
		.blob = want->digest,
		.afresh = want->afresh,
		.stall_ms = ck_registry_stall_ms(f->end_ms > now ? f->end_ms - now : 0),
		.sink = &sink,
	};

	ck_digest_str(digest, want->digest);
	snprintf(path, sizeof path, "blobs/%s", digest);
	f->asked = (struct ck_range){ .off = f->pos, .end = f->end, .size = want->size };
	f->asked.asked = (f->pos > 0 || f->end < want->size) &&
			 atomic_load(&e->whole_till_ms) <= now && f->n_unusable < UNUSABLE_MAX;
	if (!f->asked.asked && (f->pos > 0 || f->end < want->size))
		f->fetched->whole = true;
	headers[req.n_headers++] = "Accept: */*";
	snprintf(range, sizeof range, "Range: bytes=%" PRIu64 "-%" PRIu64, f->pos, f->end - 1);
	if (f->asked.asked)
		headers[req.n_headers++] = range;
	if (want->afresh) {
		headers[req.n_headers++] = "Cache-Control: no-cache";
		headers[req.n_headers++] = "Pragma: no-cache";
	}
	f->unusable = f->taker_failed = f->lifted = false;
	f->n_body = 0;
	int rc = ck_request_send(e, &req, res, err);
	f->fetched->wait_us = res->wait_us;
	f->fetched->body_us = res->body_us;
	return rc;
}

/* An answer was cut when it had brought N_GOT of what is wanted. */
static enum ck_turn judge_cut(struct flow *f, uint64_t n_got)
{
	if (n_got == 0)
		return CK_TURN_FAILED;
	if (n_got < CUT_LEN && ++f->n_cuts > CUTS_MAX) {
		f->n_cuts = 0;
		return CK_TURN_FAILED;
	}
	return CK_TURN_AGAIN;
}

/* What an answer that brought nothing, or not all, means for the next turn. */
static enum ck_turn judge(struct ck_endpoint *e, struct flow *f, const struct ck_http_res *res,
			  uint64_t n_got, int *rc, struct ck_err *err)
{
	long s = res->status;

	if (ck_registry_error_stays(*rc, res))
		return CK_TURN_FINAL;
	if (f->unusable) {
		f->n_unusable += f->asked.asked;
		return CK_TURN_FAILED;
	}
	if (*rc < 0)
		return judge_cut(f, n_got);
	if (s == 200 || s == 206) {
		*rc = ck_fail(err, -EPROTO, "the answer was cut");
		return judge_cut(f, n_got);
	}
	*rc = ck_registry_refused(res, err);
	if (f->asked.asked && (s == 416 || s == 400)) {
		atomic_store(&e->whole_till_ms, ck_now_ms() + WHOLE_MS);
		return CK_TURN_AGAIN;
	}
	return ck_registry_status_passes(s) ? CK_TURN_FAILED : CK_TURN_FINAL;
}

/* One turn. Returns 0 when all is there, 1 when it goes on, or an error that ends it. */
static int take_turn(struct ck_registry *r, struct ck_endpoint *e, struct flow *f,
		     struct ck_turns *t, int *why, struct ck_err *err)
{
	CK_HTTP_RES res = { 0 };
	uint64_t pos = f->pos;
	int rc = send(r, e, f, &res, err);

	if (f->pos >= f->end)
		return 0;
	if (f->taker_failed || rc == -ECANCELED)
		return rc;
	enum ck_turn what = judge(e, f, &res, f->pos - pos, &rc, err);
	ck_registry_blame(e, err);
	ck_turns_end(t, what, ck_http_res_retry_ms(&res));
	*why = rc;
	return 1;
}

static int check_want(const struct ck_registry_want *w, struct ck_err *err)
{
	if (w->len == 0 || w->size > INT64_MAX || w->off > w->size || w->len > w->size - w->off)
		return ck_fail(err, -EINVAL,
			       "a range of %" PRIu64 " bytes at %" PRIu64
			       " is not within a blob of %" PRIu64,
			       w->len, w->off, w->size);
	return 0;
}

int ck_registry_fetch(struct ck_registry *r, const struct ck_registry_want *want,
		      const struct ck_registry_taker *taker, struct ck_registry_fetched *fetched,
		      struct ck_err *err)
{
	uint64_t deadline = want->deadline_ms ? want->deadline_ms : r->timeout_ms;
	struct flow f = { .want = want, .taker = taker, .fetched = fetched, .pos = want->off };
	struct ck_turns t = { .tries_left = UINT_MAX, .cancel = want->cancel };
	char digest[CK_DIGEST_STR];
	struct ck_endpoint *e;
	struct ck_err last = { 0 };
	int old = 0;
	unsigned n = 0;

	*fetched = (struct ck_registry_fetched){ 0 };
	int rc = check_want(want, err);
	if (rc < 0)
		return rc;
	f.end = want->off + want->len;
	f.end_ms = t.end_ms = ck_now_ms() + deadline;
	ck_turns_start(&t, r->endpoints, r->n_endpoints, CK_CAN_PULL, want->afresh);
	rc = ck_fail(err, -ETIMEDOUT, "no time left");
	while ((e = ck_turns_next(&t, &rc, err))) {
		fetched->n_tries = n++;
		int end = take_turn(r, e, &f, &t, &rc, err);
		if (end <= 0) {
			rc = end;
			break;
		}
		ck_registry_keep_reason(&rc, err, old, &last);
		old = rc;
		if (err)
			last = *err;
	}
	if (rc < 0) {
		ck_digest_str(digest, want->digest);
		ck_wrap(err, "blob %.19s...", digest);
	}
	return rc;
}
