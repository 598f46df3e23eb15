#include "tests/fault/plan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/fault/util.h"

struct rule {
	struct rule *next;
	unsigned number;
	bool cleared;
	char method[16], path[256];
	int door; /* -1: any */
	bool ranged;
	uint64_t skip, every, times;
	uint64_t seen, hits;
	struct fr_fault what; /* the words that were given, all else zero */
};

struct fr_plan {
	pthread_mutex_t mutex;
	struct rule *first;
	unsigned last_number;
};

struct fr_plan *fr_plan_new(void)
{
	struct fr_plan *p = fr_alloc(sizeof *p);

	pthread_mutex_init(&p->mutex, NULL);
	return p;
}

static bool one_of(const char *word, const char *const *names, size_t n, int *out)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(word, names[i]) == 0) {
			*out = (int)i;
			return true;
		}
	return false;
}

static bool cut_word(struct fr_fault *f, const char *name, const char *value)
{
	static const char *const cuts[] = { "", "reset", "close", "stall" };
	int cut;

	if (!one_of(name, cuts, 4, &cut) || cut == 0)
		return false;
	f->cut = (enum fr_cut)cut;
	f->cut_head = strncmp(value, "h:", 2) == 0;
	return fr_number(value + (f->cut_head ? 2 : 0), &f->cut_at);
}

static bool flip_word(struct fr_fault *f, const char *name, const char *value)
{
	if (strcmp(name, "flip") != 0)
		return false;
	f->flip = true;
	f->flip_body = strncmp(value, "b:", 2) == 0;
	return fr_number(value + (f->flip_body ? 2 : 0), &f->flip_at);
}

static bool number_word(struct rule *r, const char *name, const char *value)
{
	struct fr_fault *f = &r->what;
	const struct {
		const char *name;
		uint64_t *at;
		bool *too;
	} numbers[] = {
		{ "skip", &r->skip, NULL },
		{ "every", &r->every, NULL },
		{ "times", &r->times, NULL },
		{ "eat", &f->eat_at, &f->eat },
		{ "retry-after", &f->retry_s, &f->retry },
		{ "drip", &f->drip, NULL },
		{ "delay", &f->delay_ms, NULL },
		{ "status", &f->status, NULL },
		{ "less", &f->less, NULL },
		{ "more", &f->more, NULL },
	};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (strcmp(name, numbers[i].name) == 0) {
			if (numbers[i].too)
				*numbers[i].too = true;
			return fr_number(value, numbers[i].at);
		}
	return false;
}

static bool text_word(struct rule *r, const char *name, const char *value)
{
	static const char *const doors[] = { "registry", "blobs", "token" };
	static const char *const ranges[] = { "right", "start", "total", "length",
					      "none",  "junk",	"shift", "fewer" };
	const struct {
		const char *name;
		char *at;
		size_t cap;
	} texts[] = { { "method", r->method, sizeof r->method },
		      { "path", r->path, sizeof r->path },
		      { "redirect", r->what.redirect, sizeof r->what.redirect } };
	int range;

	for (size_t i = 0; i < 3; i++)
		if (strcmp(name, texts[i].name) == 0)
			return (size_t)snprintf(texts[i].at, texts[i].cap, "%s", value) <
			       texts[i].cap;
	if (strcmp(name, "door") == 0)
		return one_of(value, doors, 3, &r->door);
	if (strcmp(name, "range") != 0 || !one_of(value, ranges, 8, &range))
		return false;
	r->what.range = (enum fr_range)range;
	return true;
}

static bool bare_word(struct rule *r, const char *name)
{
	struct fr_fault *f = &r->what;
	const struct {
		const char *name;
		bool *at;
	} flags[] = {
		{ "ranged", &r->ranged },   { "whole", &f->whole },
		{ "bare", &f->bare },	    { "garbage", &f->garbage },
		{ "swap", &f->swap },	    { "page", &f->page },
		{ "gzip", &f->gzip },	    { "http10", &f->http10 },
		{ "chunked", &f->chunked }, { "multipart", &f->multipart },
		{ "interim", &f->interim },
	};

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (strcmp(name, flags[i].name) == 0)
			return *flags[i].at = true;
	return false;
}

static bool parse_word(struct rule *r, char *word)
{
	char *value = strchr(word, '=');

	if (!value)
		return bare_word(r, word);
	*value++ = 0;
	return cut_word(&r->what, word, value) || flip_word(&r->what, word, value) ||
	       number_word(r, word, value) || text_word(r, word, value);
}

unsigned fr_plan_add(struct fr_plan *p, const char *line, char *why, size_t cap)
{
	struct rule *r = fr_alloc(sizeof *r), **end = &p->first;
	char words[1024], *save = NULL;

	r->door = -1;
	(void)snprintf(words, sizeof words, "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (!parse_word(r, w)) {
			(void)snprintf(why, cap, "what is \"%s\"?", w);
			free(r);
			return 0;
		}
	pthread_mutex_lock(&p->mutex);
	while (*end)
		end = &(*end)->next;
	*end = r;
	r->number = ++p->last_number;
	pthread_mutex_unlock(&p->mutex);
	return r->number;
}

void fr_plan_clear(struct fr_plan *p, unsigned rule)
{
	pthread_mutex_lock(&p->mutex);
	for (struct rule *r = p->first; r; r = r->next)
		if (!rule || r->number == rule)
			r->cleared = true;
	pthread_mutex_unlock(&p->mutex);
}

static struct rule *find(struct fr_plan *p, unsigned rule)
{
	struct rule *r = p->first;

	while (r && r->number != rule)
		r = r->next;
	return r;
}

bool fr_plan_has(struct fr_plan *p, unsigned rule)
{
	pthread_mutex_lock(&p->mutex);
	struct rule *r = find(p, rule);
	bool has = r && !r->cleared;
	pthread_mutex_unlock(&p->mutex);
	return has;
}

uint64_t fr_plan_hits(struct fr_plan *p, unsigned rule)
{
	pthread_mutex_lock(&p->mutex);
	struct rule *r = find(p, rule);
	uint64_t hits = r ? r->hits : 0;
	pthread_mutex_unlock(&p->mutex);
	return hits;
}

static bool hits(struct rule *r, enum fr_door door, const char *method, const char *path,
		 bool ranged)
{
	if (r->cleared || (r->door >= 0 && r->door != (int)door) || (r->ranged && !ranged) ||
	    (r->method[0] && strcasecmp(r->method, method) != 0) || !strstr(path, r->path))
		return false;
	uint64_t n = r->seen++;
	if (n < r->skip || (r->times && r->hits >= r->times) ||
	    (r->every && (n - r->skip) % r->every != r->every - 1))
		return false;
	r->hits++;
	return true;
}

/* Later rules go before earlier ones where both say something of the same. */
static void put_together(struct fr_fault *f, const struct rule *r)
{
	const struct fr_fault *w = &r->what;
	const struct {
		uint64_t *to;
		uint64_t from;
	} numbers[] = { { &f->drip, w->drip },
			{ &f->delay_ms, w->delay_ms },
			{ &f->status, w->status },
			{ &f->less, w->less },
			{ &f->more, w->more } };

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (numbers[i].from)
			*numbers[i].to = numbers[i].from;
	if (w->cut) {
		f->cut = w->cut;
		f->cut_head = w->cut_head;
		f->cut_at = w->cut_at;
		f->cut_rule = r->number;
	}
	if (w->drip)
		f->drip_rule = r->number;
	if (w->eat)
		f->eat_at = w->eat_at;
	if (w->retry)
		f->retry_s = w->retry_s;
	if (w->flip) {
		f->flip_at = w->flip_at;
		f->flip_body = w->flip_body;
	}
	f->eat |= w->eat;
	f->retry |= w->retry;
	f->flip |= w->flip;
	if (w->range)
		f->range = w->range;
	f->whole |= w->whole;
	f->bare |= w->bare;
	f->garbage |= w->garbage;
	f->swap |= w->swap;
	f->page |= w->page;
	f->gzip |= w->gzip;
	f->http10 |= w->http10;
	f->chunked |= w->chunked;
	f->multipart |= w->multipart;
	f->interim |= w->interim;
	if (w->redirect[0])
		memcpy(f->redirect, w->redirect, sizeof f->redirect);
	fr_append(f->rules, sizeof f->rules, "%s%u", f->rules[0] ? "," : "", r->number);
}

void fr_plan_match(struct fr_plan *p, enum fr_door door, const char *method, const char *path,
		   bool ranged, struct fr_fault *out)
{
	memset(out, 0, sizeof *out);
	pthread_mutex_lock(&p->mutex);
	for (struct rule *r = p->first; r; r = r->next)
		if (hits(r, door, method, path, ranged))
			put_together(out, r);
	pthread_mutex_unlock(&p->mutex);
	if (!out->rules[0])
		(void)snprintf(out->rules, sizeof out->rules, "-");
}
