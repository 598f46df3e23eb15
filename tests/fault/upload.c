#include "tests/fault/upload.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fault/util.h"

struct fr_upload *fr_upload_new(struct fr_uploads *s)
{
	struct fr_upload *u = fr_alloc(sizeof *u);
	unsigned char id[16];

	RAND_bytes(id, sizeof id);
	for (size_t i = 0; i < sizeof id; i++)
		fr_append(u->id, sizeof u->id, "%02x", id[i]);
	pthread_mutex_lock(&s->mutex);
	u->next = s->first;
	s->first = u;
	pthread_mutex_unlock(&s->mutex);
	return u;
}

struct fr_upload *fr_upload_find(struct fr_uploads *s, const char *id)
{
	pthread_mutex_lock(&s->mutex);
	struct fr_upload *u = s->first;
	while (u && strcmp(u->id, id) != 0)
		u = u->next;
	pthread_mutex_unlock(&s->mutex);
	return u;
}

void fr_upload_append(struct fr_upload *u, const void *p, size_t nbytes)
{
	if (nbytes > u->cap - u->len) {
		u->cap = (u->len + nbytes) * 2;
		u->mem = fr_grow(u->mem, u->cap);
	}
	memcpy(u->mem + u->len, p, nbytes);
	u->len += nbytes;
}

void fr_upload_end(struct fr_uploads *s, struct fr_upload *u)
{
	struct fr_upload **at = &s->first;

	pthread_mutex_lock(&s->mutex);
	while (*at && *at != u)
		at = &(*at)->next;
	if (*at)
		*at = u->next;
	pthread_mutex_unlock(&s->mutex);
	free(u);
}
