/*
 * cleanup - scope-bound resources.
 *
 * Declare at the point of acquisition, initialised; hand over with ck_take_*.
 * A type defines its own `ck_<type>_freep` or `_closep` beside its free function.
 */
#ifndef CK_CLEANUP_H
#define CK_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CK_AUTO(fn) __attribute__((cleanup(fn)))

static inline void ck_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void ck_freep(void *p)
{
	free(*(void **)p);
}

static inline void ck_fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline int ck_take_fd(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}

/* Hands over a pointer: yields its value and leaves NULL behind. */
#define ck_take(p)                                                                                 \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

#endif
