#include "fs/fuse/cover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/fsmount.h"
#include "base/log.h"
#include "fs/erofs/attach.h"
#include "fs/fuse/idmap.h"
#include "fs/fuse/ops.h"

enum { SAMPLE = 4096 };

/* The paths of the image and its devices: one allocation, to be freed. */
static char **device_paths(const struct ck_catalog *c, const char *dir, size_t *n)
{
	size_t cap = strlen(dir) + 32;

	*n = c->n_layers + (ck_erofs_patch_len(c->erofs) > 0);
	char **paths = calloc(*n + 1, sizeof *paths + cap);
	char *text = paths ? (char *)(paths + *n + 1) : NULL;
	for (size_t i = 0; paths && i <= *n; i++, text += cap) {
		paths[i] = text;
		if (i == 0)
			snprintf(text, cap, "%s/" CK_DEVICES_META, dir);
		else if (i <= c->n_layers)
			snprintf(text, cap, "%s/" CK_DEVICES_TAR, dir, (uint32_t)i - 1);
		else
			snprintf(text, cap, "%s/" CK_DEVICES_PATCH, dir);
	}
	return paths;
}

static const struct ck_extent *first_extent(const struct ck_catalog *c, const struct ck_node *n)
{
	return &c->stack->index[n->layer]->extents[n->entry->first_extent];
}

/* Compares the first data of the file INO, at PATH, as the MOUNT shows it with what the tar stream
 * in TAR has, past the page cache. Both are asked of the kernel, for so there is a deadline. Of a
 * layer that is damaged there, or hangs, nothing can be said: reading it will be an error. */
static int check_file(const struct ck_catalog *c, int mount, ck_ino ino, const char *path,
		      const char *tar, struct ck_err *err)
{
	const struct ck_node *node = &c->stack->tree->nodes[ino];
	const struct ck_extent *x = first_extent(c, node);
	uint8_t want[SAMPLE], got[SAMPLE];
	size_t n = x->len < SAMPLE ? (size_t)x->len : SAMPLE;
	CK_AUTO(ck_closep) int from = open(tar, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ssize_t is = from < 0 ? -1 : pread(from, want, n, (off_t)x->tar_off);

	if (is < 0 && errno == EIO)
		return 0;
	if (is != (ssize_t)n)
		return ck_fail(err, -EIO, "cannot read %s: %s", tar, strerror(errno));
	CK_AUTO(ck_closep) int fd = openat(mount, path + 1, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) /* no more than is looked at */
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	is = fd < 0 ? -1 : pread(fd, got, n, (off_t)x->file_off);
	if (fd >= 0) /* so that who records hears of the first real use */
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (is < 0)
		return ck_fail(err, -EIO, "EROFS does not read %.200s: %s", path, strerror(errno));
	if (is != (ssize_t)n || memcmp(got, want, n) != 0)
		return ck_fail(err, -EIO, "EROFS reads something else in %.200s of layer %" PRIu32,
			       path, node->layer);
	return 0;
}

/* Of each layer the file whose data come first in it, of those that can be opened by their path; 0:
 * none. What an open layer has fetched already may hold them, and it is little to decompress. */
static void choose_samples(const struct ck_catalog *c, ck_ino *sample)
{
	const struct ck_tree *t = c->stack->tree;
	char path[PATH_MAX];

	for (ck_ino i = 1; i <= t->n_nodes; i++) {
		const struct ck_node *n = &t->nodes[i];
		if (!n->entry || !S_ISREG(n->entry->mode) || !n->entry->n_extents ||
		    !first_extent(c, n)->len)
			continue;
		ck_ino best = sample[n->layer];
		if (best &&
		    first_extent(c, &t->nodes[best])->tar_off <= first_extent(c, n)->tar_off)
			continue;
		ck_tree_path(t, i, path, sizeof path);
		if (strlen(path) < sizeof path - 1) /* else cut, or too long to be opened */
			sample[n->layer] = i;
	}
}

/* One file of each layer that has any. TARS: each layer's. */
static int check_devices(const struct ck_catalog *c, int mount, char *const *tars,
			 struct ck_err *err)
{
	const struct ck_tree *t = c->stack->tree;
	char path[PATH_MAX];
	CK_AUTO(ck_freep) ck_ino *sample = calloc(c->n_layers + 1, sizeof *sample);
	int rc = 0;

	if (!sample)
		return ck_nomem(err, "checking the devices of EROFS");
	choose_samples(c, sample);
	for (uint32_t i = 0; i < c->n_layers; i++)
		if (sample[i])
			ck_layer_advise(c->stack->layers[i],
					first_extent(c, &t->nodes[sample[i]])->tar_off, SAMPLE);
	for (uint32_t i = 0; rc == 0 && i < c->n_layers; i++) {
		if (!sample[i])
			continue;
		ck_tree_path(t, sample[i], path, sizeof path);
		rc = check_file(c, mount, sample[i], path, tars[i], err);
	}
	return rc;
}

/* Of the EROFS that was made last: it counts them, and names them by the count. */
static void raise_read_ahead(void)
{
	long n, last = -1;
	char path[64], kb[16];
	DIR *d = opendir("/sys/class/bdi");

	for (struct dirent *e; d && (e = readdir(d));)
		if (sscanf(e->d_name, "erofs-%ld", &n) == 1 && n > last)
			last = n;
	if (d)
		(void)closedir(d);
	if (last < 0)
		return;
	int len = snprintf(kb, sizeof kb, "%d", CK_MAX_IO / 1024);
	snprintf(path, sizeof path, "/sys/class/bdi/erofs-%ld/read_ahead_kb", last);
	CK_AUTO(ck_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ck_fd_write(fd, kb, (size_t)len, path, NULL) < 0)
		ck_log(CK_LOG_DEBUG, "EROFS's read-ahead stays as it is: %s", strerror(errno));
}

int ck_cover(const struct ck_catalog *c, const char *dir, const int *userns, struct ck_err *err)
{
	size_t n;
	char **paths = device_paths(c, dir, &n);
	CK_AUTO(ck_closep) int mount = -1;

	if (!paths)
		return ck_nomem(err, "mounting EROFS");
	ck_recorder_pause(c->stack->recorder, true);
	int rc = ck_attach_open(&mount, paths[0], (const char *const *)paths + 1, n, err);
	if (rc == 0)
		rc = check_devices(c, mount, paths + 1, err);
	ck_recorder_pause(c->stack->recorder, false);
	free(paths);
	if (rc == 0 && userns)
		rc = ck_idmap_mount(mount, *userns, err);
	if (rc < 0)
		return rc;
	raise_read_ahead();
	return ck_fsmount_at(mount, dir, err);
}
