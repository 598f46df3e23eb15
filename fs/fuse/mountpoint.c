#include "fs/fuse/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

/* Undoes the table's \ooo in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to = *s++;
		}
	}
	*to = 0;
}

/* Whether a mount at PATH is one that we lay over ours. */
static bool covers(const char *type, const char *source, const char *path)
{
	size_t n = strlen(path);

	if (strncmp(source, path, n) != 0)
		return false;
	if (strcmp(type, "erofs") == 0)
		return strcmp(source + n, "/" CK_COVER_IMAGE) == 0;
	return strcmp(type, "overlay") == 0 && strcmp(source + n, "/" CK_COVER_WRITABLE) == 0;
}

/* A line of the table, its strings in the line itself. */
struct line {
	const char *path, *source;
	struct ck_mounted m;
};

/* "36 35 98:0 /root /mnt rw,... opt:1 - fuse.x source rw,user_id=0,..." */
static bool parse_line(char *text, struct line *out)
{
	char *save, *field = strtok_r(text, " ", &save);
	struct ck_mounted m = { 0 };

	for (int i = 0; field && i < 5; i++, field = strtok_r(NULL, " ", &save)) {
		if (i == 2 && sscanf(field, "%u:%u", &m.dev_major, &m.dev_minor) != 2)
			return false;
		if (i == 4) {
			unescape(field);
			out->path = field;
		}
	}
	while (field && strcmp(field, "-") != 0)
		field = strtok_r(NULL, " ", &save);
	char *type = field ? strtok_r(NULL, " ", &save) : NULL;
	char *source = type ? strtok_r(NULL, " ", &save) : NULL;
	char *opts = source ? strtok_r(NULL, " ", &save) : NULL;
	if (!type)
		return false;
	if (source)
		unescape(source);
	out->source = source ? source : "";
	snprintf(m.type, sizeof m.type, "%s", type);
	m.ours = strcmp(type, CK_FUSE_TYPE) == 0;
	m.n_covers = covers(type, out->source, out->path);
	const char *user = opts ? strstr(opts, "user_id=") : NULL;
	if (user)
		m.user = (uid_t)strtoul(user + sizeof "user_id=" - 1, NULL, 10);
	out->m = m;
	return true;
}

/* Calls FN for each line, in the table's order: the last one of a path lies on top. */
static int each_line(int (*fn)(void *ctx, const struct line *l, struct ck_err *err), void *ctx,
		     struct ck_err *err)
{
	CK_BUF table = { .max = (size_t)64 << 20 };
	struct line l;
	char *save;
	int rc = ck_file_read(&table, "/proc/self/mountinfo", err);

	if (rc < 0)
		return rc;
	for (char *text = table.len ? strtok_r((char *)table.data, "\n", &save) : NULL;
	     rc == 0 && text; text = strtok_r(NULL, "\n", &save))
		if (parse_line(text, &l))
			rc = fn(ctx, &l, err);
	return rc;
}

/* What lies at PATH so far. */
struct top {
	const char *path;
	bool found;
	struct ck_mounted m;
};

static int put_on_top(void *ctx, const struct line *l, struct ck_err *err)
{
	struct top *t = ctx;

	(void)err;
	if (strcmp(l->path, t->path) != 0)
		return 0;
	if (l->m.n_covers && t->found && t->m.ours) {
		t->m.n_covers++;
	} else {
		t->m = l->m;
		t->m.n_covers = 0;
	}
	t->found = true;
	return 0;
}

int ck_mounted_at(const char *path, struct ck_mounted *out, struct ck_err *err)
{
	struct top t = { .path = path };
	int rc = each_line(put_on_top, &t, err);

	if (rc == 0 && t.found)
		*out = t.m;
	return rc < 0 ? rc : t.found ? 0 : -ENOENT;
}

static int add_place(void *ctx, const struct line *l, struct ck_err *err)
{
	struct ck_places *p = ctx;

	for (size_t i = l->m.n_covers ? p->n : 0; i-- > 0;) {
		if (strcmp(p->v[i].path, l->path) == 0) {
			p->v[i].at.n_covers++;
			p->v[i].erofs |= strcmp(l->m.type, "erofs") == 0;
			p->v[i].overlay |= strcmp(l->m.type, "overlay") == 0;
			break;
		}
	}
	if (!l->m.ours)
		return 0;
	struct ck_place *more = reallocarray(p->v, p->n + 1, sizeof *more);
	if (!more)
		return ck_nomem(err, "listing mounts");
	p->v = more;
	struct ck_place new = { .path = strdup(l->path), .source = strdup(l->source), .at = l->m };
	p->v[p->n++] = new;
	if (!new.path || !new.source)
		return ck_nomem(err, "listing mounts");
	return 0;
}

int ck_places_list(struct ck_places *out, struct ck_err *err)
{
	return each_line(add_place, out, err);
}

void ck_places_free(struct ck_places *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].path);
		free(p->v[i].source);
	}
	free(p->v);
	*p = (struct ck_places){ 0 };
}

bool ck_mounted_still(const char *path, const struct ck_mounted *m)
{
	struct ck_mounted now;

	return ck_mounted_at(path, &now, NULL) == 0 && now.ours && now.dev_major == m->dev_major &&
	       now.dev_minor == m->dev_minor;
}

/* ustat(2) asks what is mounted by its device, however deep it lies below EROFS. */
bool ck_mounted_stale(const char *path, const struct ck_mounted *m)
{
#ifdef SYS_ustat
	char out[64]; /* it needs half of them */
	unsigned dev = (unsigned)makedev(m->dev_major, m->dev_minor);

	(void)path;
	return syscall(SYS_ustat, dev, out) < 0 && errno == ENOTCONN;
#else
	struct statx st;

	/* What the kernel has cached would look alive. */
	(void)m;
	return statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) < 0 &&
	       errno == ENOTCONN;
#endif
}

/* fusermount3 says by its exit code only that it failed. */
static int by_fusermount(const char *path, bool lazy)
{
	char program[] = "fusermount3", how[] = "-uq", how_lazy[] = "-uqz", end[] = "--";
	char *argv[] = { program, lazy ? how_lazy : how, end, (char *)(uintptr_t)path, NULL };
	struct ck_mounted m;
	pid_t pid;
	int status;

	int rc = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (rc)
		return -rc;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	rc = ck_mounted_at(path, &m, NULL);
	return rc < 0 ? -EINVAL : m.user == geteuid() ? -EBUSY : -EPERM;
}

int ck_mounted_detach(const char *path, bool lazy)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM && geteuid() != 0 ? by_fusermount(path, lazy) : -errno;
}
