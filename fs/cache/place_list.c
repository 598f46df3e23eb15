#include "fs/cache/place_list.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fs/cache/place.h"

enum { TEMP_MAX_AGE_S = 3600 };

DIR *ck_opendirat(int dir, const char *name)
{
	CK_AUTO(ck_closep)
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d)
		fd = -1;
	return d;
}

static int add(struct ck_place_list *l, const struct ck_place_name *name, const struct stat *st)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct ck_place_entry *v = reallocarray(l->v, cap, sizeof *v);
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	uint64_t disk = (uint64_t)st->st_blocks * 512;
	l->v[l->n++] = (struct ck_place_entry){ *name, (uint64_t)st->st_size, disk, st->st_mtim };
	l->disk += disk;
	return 0;
}

static int take_entry(struct ck_place_list *l, int dir, struct ck_place_name *name,
		      const char *file)
{
	uint8_t digest[CK_SHA256_LEN];
	struct stat st;
	bool temp = strncmp(file, CK_PLACE_TEMP, strlen(CK_PLACE_TEMP)) == 0;

	if (!temp && (!ck_unhex(digest, sizeof digest, file) || strpbrk(file, "ABCDEF")))
		return 0;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid())
		return 0;
	if (!temp) {
		memcpy(name->hex, file, sizeof name->hex);
		return add(l, name, &st);
	}
	/* They are written in no time: nobody writes this one any more. */
	if (time(NULL) - st.st_mtim.tv_sec > TEMP_MAX_AGE_S)
		(void)unlinkat(dir, file, 0);
	else
		l->disk += (uint64_t)st.st_blocks * 512;
	return 0;
}

static int list_kind(struct ck_place_list *l, int top, const char *kind)
{
	static const uint8_t none[CK_SHA256_LEN];
	struct ck_place_name name;
	struct stat st;
	int rc = 0;

	if (!ck_place_name(&name, kind, none))
		return 0;
	CK_AUTO(ck_closedirp) DIR *d = ck_opendirat(top, kind);
	if (!d || fstat(dirfd(d), &st) < 0 || st.st_uid != geteuid())
		return 0; /* no directory of ours */
	for (struct dirent *e; rc == 0 && (e = readdir(d));)
		rc = take_entry(l, dirfd(d), &name, e->d_name);
	return rc;
}

static int list_memory(struct ck_place *p, struct ck_place_list *l)
{
	struct stat st;
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; rc == 0 && i < p->n_files; i++)
		if (fstat(p->files[i].fd, &st) == 0)
			rc = add(l, &p->files[i].name, &st);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int ck_place_list(struct ck_place *p, struct ck_place_list *out)
{
	int rc = 0;

	if (!p->path)
		return list_memory(p, out);
	CK_AUTO(ck_closedirp) DIR *d = ck_opendirat(p->dir, ".");
	if (!d)
		return errno == ENOENT ? 0 : -errno; /* removed meanwhile: nothing is there */
	for (struct dirent *e; rc == 0 && (e = readdir(d));)
		rc = list_kind(out, p->dir, e->d_name);
	return rc;
}

void ck_place_list_free(struct ck_place_list *l)
{
	free(l->v);
	*l = (struct ck_place_list){ 0 };
}
