/*
 * seldom - what was said lately, so that a log does not fill with it.
 * Threads: any.
 */
#ifndef CK_SELDOM_H
#define CK_SELDOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CK_SELDOM_SLOTS = 64 };

struct ck_seldom { /* all 0: nothing was said */
	atomic_uint_fast64_t what[CK_SELDOM_SLOTS], ms[CK_SELDOM_SLOTS];
};

enum { CK_SELDOM_MS = 10000 }; /* for what may go on for ever */

/* Whether WHAT was said within the last EVERY_MS; if not, it is being said now (NOW_MS, of
 * ck_now_ms). Of more things at a time than there are slots some may be said more often. */
bool ck_seldom_said(struct ck_seldom *s, uint64_t what, uint64_t now_ms, uint64_t every_ms);

#endif
