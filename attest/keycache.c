#include "attest/keycache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One key: being fetched, fetched, or failed and only kept for those who wait. */
struct entry {
	struct entry *next; /* in the cache's list, while LISTED */
	char *name;
	bool done;
	unsigned users;	     /* who hold a pointer to it, under the lock */
	EVP_PKEY *key;	     /* owned; NULL until done, or failed */
	struct ck_err error; /* why, when done without key */
};

struct ck_keycache {
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct entry *entries;
};

int ck_keycache_open(struct ck_keycache **out, struct ck_err *err)
{
	struct ck_keycache *c = calloc(1, sizeof *c);

	if (!c)
		return ck_nomem(err, "opening the key cache");
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	*out = c;
	return 0;
}

static void entry_free(struct entry *e)
{
	EVP_PKEY_free(e->key);
	free(e->name);
	free(e);
}

void ck_keycache_close(struct ck_keycache *c)
{
	if (!c)
		return;
	while (c->entries) {
		struct entry *e = c->entries;
		c->entries = e->next;
		entry_free(e);
	}
	pthread_cond_destroy(&c->done);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct entry *find(struct ck_keycache *c, const char *name)
{
	struct entry *e = c->entries;

	while (e && strcmp(e->name, name) != 0)
		e = e->next;
	return e;
}

static struct entry *add(struct ck_keycache *c, const char *name)
{
	struct entry *e = calloc(1, sizeof *e);

	if (!e || !(e->name = strdup(name))) {
		free(e);
		return NULL;
	}
	e->next = c->entries;
	c->entries = e;
	return e;
}

static void unlist(struct ck_keycache *c, const struct entry *e)
{
	struct entry **at = &c->entries;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
}

/* The outcome of E for one caller, who then lets go of it. Under the lock. */
static int take(struct entry *e, EVP_PKEY **out, struct ck_err *err)
{
	int rc = e->error.code;

	if (e->key) {
		EVP_PKEY_up_ref(e->key);
		*out = e->key;
		rc = 0;
	} else if (err) {
		*err = e->error;
	}
	if (--e->users == 0 && !e->key)
		entry_free(e); /* unlisted when it failed */
	return rc;
}

int ck_keycache_get(struct ck_keycache *c, const char *name, ck_keycache_fetch fetch, void *ctx,
		    EVP_PKEY **out, struct ck_err *err)
{
	pthread_mutex_lock(&c->lock);
	struct entry *e = find(c, name);
	bool ours = !e;

	if (ours)
		e = add(c, name);
	if (!e) {
		pthread_mutex_unlock(&c->lock);
		return ck_nomem(err, "remembering a key");
	}
	e->users++;
	if (ours) {
		EVP_PKEY *key = NULL;
		struct ck_err why = { 0 };
		pthread_mutex_unlock(&c->lock);
		int rc = fetch(ctx, &key, &why);
		pthread_mutex_lock(&c->lock);
		e->key = rc == 0 ? key : NULL;
		e->error = why;
		e->error.code = rc;
		e->done = true;
		if (rc < 0)
			unlist(c, e);
		pthread_cond_broadcast(&c->done);
	}
	while (!e->done)
		pthread_cond_wait(&c->done, &c->lock);
	int rc = take(e, out, err);
	pthread_mutex_unlock(&c->lock);
	return rc;
}
