#include "tar/pipe.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/secret.h"

struct ck_pipe {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct ck_block *blank;		    /* stack */
	struct ck_block *full, **full_tail; /* queue */
	bool ended, hung_up;
	size_t block_cap, n_blocks;
	struct ck_block blocks[];
};

int ck_pipe_open(struct ck_pipe **out, size_t n_blocks, size_t block_cap, struct ck_err *err)
{
	CK_AUTO(ck_pipe_closep)
	struct ck_pipe *p = calloc(1, sizeof *p + n_blocks * sizeof p->blocks[0]);

	if (!p)
		return ck_nomem(err, "making a pipe");
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->full_tail = &p->full;
	p->block_cap = block_cap;
	p->n_blocks = n_blocks;
	for (size_t i = 0; i < n_blocks; i++) {
		struct ck_block *b = &p->blocks[i];
		b->data = malloc(block_cap);
		if (!b->data)
			return ck_nomem(err, "making a pipe");
		b->next = p->blank;
		p->blank = b;
	}
	*out = ck_take(p);
	return 0;
}

void ck_pipe_close(struct ck_pipe *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_blocks; i++) {
		if (p->blocks[i].data)
			ck_wipe(p->blocks[i].data, p->block_cap);
		free(p->blocks[i].data);
	}
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct ck_block *ck_pipe_blank(struct ck_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	while (!p->blank && !p->hung_up)
		pthread_cond_wait(&p->changed, &p->lock);
	struct ck_block *b = p->hung_up ? NULL : p->blank;
	if (b)
		p->blank = b->next;
	pthread_mutex_unlock(&p->lock);
	return b;
}

void ck_pipe_push(struct ck_pipe *p, struct ck_block *b)
{
	pthread_mutex_lock(&p->lock);
	b->next = NULL;
	*p->full_tail = b;
	p->full_tail = &b->next;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void ck_pipe_end(struct ck_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	p->ended = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

bool ck_pipe_room(struct ck_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	bool room = p->blank || p->hung_up;
	pthread_mutex_unlock(&p->lock);
	return room;
}

bool ck_pipe_ready(struct ck_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	bool ready = p->full || p->ended;
	pthread_mutex_unlock(&p->lock);
	return ready;
}

struct ck_block *ck_pipe_pop(struct ck_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	while (!p->full && !p->ended)
		pthread_cond_wait(&p->changed, &p->lock);
	struct ck_block *b = p->full;
	if (b) {
		p->full = b->next;
		if (!p->full)
			p->full_tail = &p->full;
	}
	pthread_mutex_unlock(&p->lock);
	return b;
}

void ck_pipe_done(struct ck_pipe *p, struct ck_block *b)
{
	pthread_mutex_lock(&p->lock);
	b->next = p->blank;
	p->blank = b;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void ck_pipe_hangup(struct ck_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	p->hung_up = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}
