/* place_list - what place.c and place_list.c share. */
#ifndef CK_PLACE_LIST_H
#define CK_PLACE_LIST_H

#include <dirent.h>
#include <stddef.h>

#define CK_PLACE_TEMP ".tmp-" /* begins the names of files that are not whole yet */

/* NULL with errno. */
DIR *ck_opendirat(int dir, const char *name);

static inline void ck_closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

#endif
