/*
 * upload - uploads that are going on.
 * Threads: any; one upload is one client's at a time.
 */
#ifndef FR_UPLOAD_H
#define FR_UPLOAD_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct fr_upload {
	char id[40];
	uint8_t *mem;
	size_t len, cap;
	uint64_t n_patches;
	struct fr_upload *next;
};

struct fr_uploads {
	pthread_mutex_t mutex;
	struct fr_upload *first;
};

struct fr_upload *fr_upload_new(struct fr_uploads *s);
struct fr_upload *fr_upload_find(struct fr_uploads *s, const char *id); /* NULL: there is none */
void fr_upload_append(struct fr_upload *u, const void *p, size_t nbytes);
void fr_upload_end(struct fr_uploads *s, struct fr_upload *u); /* its MEM is the caller's */

#endif
