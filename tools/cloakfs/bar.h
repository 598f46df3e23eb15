/*
 * bar - a progress bar on stderr, for people: on a terminal, when the work takes longer than a
 * blink; elsewhere ck_bar_tell says how it went.
 */
#ifndef CK_BAR_H
#define CK_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct ck_bar {
	const char *label; /* borrowed */
	bool active, shown, terminal;
	uint64_t nbytes;	    /* as last told */
	uint64_t start_ms, last_ms; /* as ck_now_ms */
};

void ck_bar_start(struct ck_bar *bar, const char *label);

/* A ck_progress_fn; CTX is the bar. */
void ck_bar_update(void *ctx, uint64_t nbytes, uint64_t total);

/* Removes the bar, so that a line may be printed; the next update draws it again. */
void ck_bar_hide(struct ck_bar *bar);

/* One line about work that is done, where there was no bar and it took long. */
void ck_bar_tell(const struct ck_bar *bar);

/* Removes it for good. */
void ck_bar_end(struct ck_bar *bar); /* {0} is allowed */

#endif
