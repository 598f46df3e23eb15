/*
 * pipe - blocks of bytes handed from one thread to the next, a few at a time.
 * One thread writes, one reads. The blocks circulate; none is allocated on the way.
 */
#ifndef CK_PIPE_H
#define CK_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ck_block {
	uint8_t *data; /* room for the pipe's block_cap */
	size_t len;    /* bytes used */
	struct ck_block *next;
};

struct ck_pipe; /* opaque */

/* N_BLOCKS of BLOCK_CAP bytes. Errors: -ENOMEM. */
CK_MUST_CHECK int ck_pipe_open(struct ck_pipe **out, size_t n_blocks, size_t block_cap,
			       struct ck_err *err);
void ck_pipe_close(struct ck_pipe *p); /* NULL is allowed; wipes; both threads are done */

static inline void ck_pipe_closep(struct ck_pipe **p)
{
	ck_pipe_close(*p);
}

/* Writer: waits for an empty block; NULL once the reader has hung up. */
struct ck_block *ck_pipe_blank(struct ck_pipe *p);
bool ck_pipe_room(struct ck_pipe *p); /* whether that would not wait */
void ck_pipe_push(struct ck_pipe *p, struct ck_block *b);
void ck_pipe_end(struct ck_pipe *p); /* nothing more will come */

/* Reader: waits for the next block; NULL at the end. Done hands it back. */
struct ck_block *ck_pipe_pop(struct ck_pipe *p);
bool ck_pipe_ready(struct ck_pipe *p); /* whether that would not wait */
void ck_pipe_done(struct ck_pipe *p, struct ck_block *b);
void ck_pipe_hangup(struct ck_pipe *p); /* wants nothing more */

#endif
