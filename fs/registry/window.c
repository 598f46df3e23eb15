#include "fs/registry/window.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/cache/blobcache.h"

enum { IDLE = 8 }; /* of a blob, at most */

static int64_t bytes_of(const struct ck_window *w)
{
	return (int64_t)(w->n * CK_CACHE_BLOCK);
}

struct ck_window *ck_window_new(struct ck_windows *list, uint64_t first, uint64_t n)
{
	struct ck_window *w = calloc(1, sizeof *w);

	if (!w || !(w->buf = malloc((size_t)n * CK_CACHE_BLOCK))) {
		free(w);
		return NULL;
	}
	w->first = first;
	w->n = n;
	w->running = true;
	w->refs = 1;
	TAILQ_INSERT_HEAD(list, w, link);
	return w;
}

static void discard(struct ck_windows *list, struct ck_window *w)
{
	TAILQ_REMOVE(list, w, link);
	free(w->buf);
	free(w);
}

/* Frees W, which is idle; whether there is still much memory that is. */
static bool drop(struct ck_windows *list, struct ck_window *w, struct ck_net *net)
{
	bool much = ck_net_idle_memory(net, -bytes_of(w));

	discard(list, w);
	return much;
}

/* Frees idle windows, the oldest first, until there are few enough. */
static void trim(struct ck_windows *list, bool much, struct ck_net *net)
{
	struct ck_window *w, *newer;
	size_t n = 0;

	TAILQ_FOREACH(w, list, link)
	n += w->refs == 0;
	for (w = TAILQ_LAST(list, ck_windows); w; w = newer) {
		newer = TAILQ_PREV(w, ck_windows, link);
		if (w->refs || (n <= IDLE && !much && !w->stale))
			continue;
		much = drop(list, w, net);
		n--;
	}
}

void ck_window_take(struct ck_window *w, struct ck_net *net)
{
	if (w->refs++ == 0)
		(void)ck_net_idle_memory(net, -bytes_of(w));
}

void ck_window_put(struct ck_windows *list, struct ck_window *w, struct ck_net *net)
{
	if (--w->refs == 0)
		trim(list, ck_net_idle_memory(net, bytes_of(w)), net);
}

void ck_windows_disown(struct ck_windows *list, uint64_t first, uint64_t end, struct ck_net *net)
{
	struct ck_window *w;

	TAILQ_FOREACH(w, list, link)
	{
		if (w->first >= end || first >= w->first + w->n)
			continue;
		w->wrong_first = w->stale && w->wrong_first < first ? w->wrong_first : first;
		w->wrong_end = w->stale && w->wrong_end > end ? w->wrong_end : end;
		w->stale = true;
	}
	trim(list, false, net);
}

uint64_t ck_windows_give(struct ck_windows *list, uint64_t want)
{
	struct ck_window *w, *newer;
	uint64_t given = 0;

	for (w = TAILQ_LAST(list, ck_windows); w && given < want; w = newer) {
		newer = TAILQ_PREV(w, ck_windows, link);
		if (w->refs)
			continue;
		given += (uint64_t)bytes_of(w);
		discard(list, w);
	}
	return given;
}

void ck_windows_free(struct ck_windows *list, struct ck_net *net)
{
	while (!TAILQ_EMPTY(list))
		(void)drop(list, TAILQ_FIRST(list), net);
}

struct ck_window *ck_windows_find(struct ck_windows *list, uint64_t idx, uint64_t ticket)
{
	struct ck_window *w;

	TAILQ_FOREACH(w, list, link)
	if (ck_window_has(w, idx) && !w->stale &&
	    (w->running || idx - w->first < w->n_done ||
	     (w->code < 0 && w->code != -EAGAIN && w->ticket > ticket)))
		return w;
	return NULL;
}
