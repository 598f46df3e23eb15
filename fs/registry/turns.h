/*
 * turns - who is asked next, and when, until somebody answered or the time is up.
 * Private to fs/registry.
 *
 * Mirrors come first, the host itself last; who failed a short while ago comes behind all others.
 * Between two rounds there is a pause, which grows, or is what Retry-After said.
 */
#ifndef CK_TURNS_H
#define CK_TURNS_H

#include "fs/registry/endpoint.h"

enum { CK_ENDPOINTS_MAX = 65, CK_BEHIND_MS = 30000 };

struct ck_turns {
	struct ck_endpoint *order[CK_ENDPOINTS_MAX];
	size_t n, idx;
	uint64_t end_ms; /* of ck_now_ms */
	const atomic_bool *cancel;
	unsigned tries_left;
	unsigned round;
	uint64_t wait_ms; /* the longest Retry-After of this round */
	size_t n_final;	  /* of this round: who gave an answer that will not change */
	bool one_round;	  /* nobody is asked twice */
	bool again;	  /* the one whose turn it was is asked once more, at once */
};

/* What came of a turn. */
enum ck_turn {
	CK_TURN_AGAIN,	/* it went on; ask the same one at once */
	CK_TURN_FAILED, /* it may work later */
	CK_TURN_FINAL,	/* that is its last word */
};

/* Of R's N endpoints those that can do all of CAN take turns; HOST_ALONE: the last one only. */
void ck_turns_start(struct ck_turns *t, struct ck_endpoint *const *endpoints, size_t n,
		    unsigned can, bool host_alone);

/* The next one to ask, perhaps after a pause. NULL: that was all; *RC, which holds why the last
 * turn failed, becomes -ECANCELED where it was cancelled meanwhile. */
struct ck_endpoint *ck_turns_next(struct ck_turns *t, int *rc, struct ck_err *err);

/* Says what came of the turn that ck_turns_next gave. */
void ck_turns_end(struct ck_turns *t, enum ck_turn what, uint64_t retry_ms);

#endif
