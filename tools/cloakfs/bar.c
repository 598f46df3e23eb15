#include "tools/cloakfs/bar.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

enum { QUIET_MS = 300, REDRAW_MS = 100, LONG_MS = 5000, WIDTH = 30 };

#define MIB 1048576.0

void ck_bar_start(struct ck_bar *bar, const char *label)
{
	*bar = (struct ck_bar){ .label = label, .active = true, .terminal = isatty(STDERR_FILENO) };
	bar->start_ms = ck_now_ms();
}

void ck_bar_update(void *ctx, uint64_t nbytes, uint64_t total)
{
	static const char full[WIDTH + 1] = "##############################";
	static const char empty[WIDTH + 1] = "..............................";
	struct ck_bar *bar = ctx;

	bar->nbytes = nbytes;
	if (!bar->active || !bar->terminal)
		return;
	uint64_t now = ck_now_ms();
	if (now - bar->start_ms < QUIET_MS || now - bar->last_ms < REDRAW_MS)
		return;
	double part = total ? (double)nbytes / (double)total : 1;
	double mib = (double)nbytes / MIB, seconds = (double)(now - bar->start_ms) / 1000;
	int n = (int)(part * WIDTH);
	n = n > WIDTH ? WIDTH : n;
	fprintf(stderr, "\r%s [%.*s%.*s] %3d%%  %.1f of %.1f MiB  %.1f MiB/s\033[K", bar->label, n,
		full, WIDTH - n, empty, (int)(part * 100), mib, (double)total / MIB, mib / seconds);
	fflush(stderr);
	bar->shown = true;
	bar->last_ms = now;
}

void ck_bar_hide(struct ck_bar *bar)
{
	if (!bar->shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	bar->shown = false;
	bar->last_ms = 0;
}

void ck_bar_tell(const struct ck_bar *bar)
{
	uint64_t ms = ck_now_ms() - bar->start_ms;

	if (!bar->active || bar->terminal || ms < LONG_MS || !bar->nbytes)
		return;
	fprintf(stderr, "cloakfs: note: %s: %.1f MiB in %.0f s, %.1f MiB/s\n", bar->label,
		(double)bar->nbytes / MIB, (double)ms / 1000,
		(double)bar->nbytes / MIB * 1000 / (double)ms);
}

void ck_bar_end(struct ck_bar *bar)
{
	ck_bar_hide(bar);
	bar->active = false;
}
