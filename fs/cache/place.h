/*
 * place - where a cache has its files: DIR/<kind>/<hex of a digest>, or as many memfds.
 *
 * What is no regular file of ours there, or is reached by a symbolic link, is no file of the
 * cache. Files get their names when they are whole. Functions that give a descriptor or 0 give a
 * negative errno on failure: callers know better what to say.
 * Threads: any; processes: any.
 */
#ifndef CK_PLACE_H
#define CK_PLACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { CK_PLACE_KIND = 17, CK_PLACE_HEX = 2 * CK_SHA256_LEN + 1 };

#define CK_PLACE_BLOBS "blobs" /* the kind of sparse files, which are used while they are open */

struct ck_place_name {
	char kind[CK_PLACE_KIND]; /* lower-case letters */
	char hex[CK_PLACE_HEX];
};

struct ck_place {
	char *path; /* NULL: in memory */
	int dir;    /* -1: in memory */
	pthread_mutex_t lock;
	struct ck_place_memory {
		struct ck_place_name name;
		int fd;
		unsigned users;
	} * files; /* in memory */
	size_t n_files, cap;
};

/* PATH as in ck_blobcache_open; NULL: in memory. */
CK_MUST_CHECK int ck_place_open(struct ck_place *p, const char *path, struct ck_err *err);
void ck_place_close(struct ck_place *p);

/* False where KIND is no word that a kind can have. */
bool ck_place_name(struct ck_place_name *out, const char *kind,
		   const uint8_t digest[CK_SHA256_LEN]);

/* Opens a file; with USE it is not removed as unused until it is closed by ck_place_done.
 * Errors: -ENOENT; -EPERM, -ELOOP, -EISDIR and others (it cannot be one of the cache's). */
int ck_place_file(struct ck_place *p, const struct ck_place_name *name, bool writable, bool use);
void ck_place_done(struct ck_place *p, const struct ck_place_name *name, int fd);

/* A file that has no name of the cache's yet. */
struct ck_place_temp {
	int fd, dir;
	char name[sizeof ".tmp-" + 16];
};
#define CK_PLACE_NO_TEMP                                                                           \
	{                                                                                          \
		-1, -1, ""                                                                         \
	}

/* Makes an empty file, mode 0600, of KIND. *OUT is the caller's to drop. */
int ck_place_temp(struct ck_place *p, const char *kind, struct ck_place_temp *out);

/* Gives it its name; without REPLACE not where the name is taken (-EEXIST). USE as above: then
 * T's descriptor is the caller's to ck_place_done. */
int ck_place_commit(struct ck_place *p, struct ck_place_temp *t, const struct ck_place_name *name,
		    bool replace, bool use);
void ck_place_temp_drop(
    struct ck_place_temp *t); /* closes it, and removes it unless it has a name */

/* Whether the file behind FD has lost its name. */
bool ck_place_lost(const struct ck_place *p, int fd);

void ck_place_remove(struct ck_place *p, const struct ck_place_name *name);

/* Removes the file, open for writing as FD, unless anybody uses it, or another one has its name by
 * now. FD stays the caller's. */
bool ck_place_remove_unused(struct ck_place *p, const struct ck_place_name *name, int fd);

struct ck_place_entry {
	struct ck_place_name name;
	uint64_t len, disk; /* bytes, and those that it takes */
	struct timespec mtime;
};

struct ck_place_list {
	struct ck_place_entry *v;
	size_t n, cap;
	uint64_t disk; /* in all */
};

/* Lists the files, in no order, without their temporary ones, of which it removes those that a
 * process left behind more than an hour ago. *OUT, empty before, is the caller's to free either
 * way. */
int ck_place_list(struct ck_place *p, struct ck_place_list *out);
void ck_place_list_free(struct ck_place_list *l);

/* The lock of those who make room: a descriptor to close, or -EWOULDBLOCK without WAIT. In memory
 * there is none: -1 is success there. */
int ck_place_lock(struct ck_place *p, bool wait, int *fd);

/* Bytes of the filesystem; 0: not known. */
uint64_t ck_place_capacity(const struct ck_place *p);

#endif
