#include "tests/unit/lib/tmplayout.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_KEPT = 16, KEPT_LEN = 1 << 16 };

static char *next_kept(void)
{
	static char kept[N_KEPT][KEPT_LEN];
	static unsigned n;

	return kept[n++ % N_KEPT];
}

void tmplayout_make(struct tmplayout *t)
{
	const char *base = getenv("TMPDIR");

	snprintf(t->dir, sizeof t->dir, "%.40s/cloakfs-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(t->dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void tmplayout_remove(struct tmplayout *t)
{
	nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void tmplayout_file(const struct tmplayout *t, const char *name, const void *p, size_t nbytes)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", t->dir, name);
	for (char *s = path + strlen(t->dir) + 1; (s = strchr(s, '/')); s++) {
		*s = 0;
		(void)mkdir(path, 0755);
		*s = '/';
	}
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, nbytes, f), nbytes);
	assert_int_equal(fclose(f), 0);
}

struct tmpblob tmplayout_blob(const struct tmplayout *t, const void *p, size_t nbytes)
{
	struct tmpblob b = { .size = nbytes };
	uint8_t digest[CK_SHA256_LEN];
	char name[128];

	ck_sha256(digest, p, nbytes);
	ck_digest_str(b.digest, digest);
	snprintf(name, sizeof name, "blobs/sha256/%s", b.digest + 7);
	tmplayout_file(t, name, p, nbytes);
	return b;
}

struct tmpblob tmplayout_text(const struct tmplayout *t, const char *text)
{
	return tmplayout_blob(t, text, strlen(text));
}

void tmplayout_path(char out[256], const struct tmplayout *t, const struct tmpblob *b)
{
	snprintf(out, 256, "%s/blobs/sha256/%s", t->dir, b->digest + 7);
}

const char *tmplayout_descriptor(const char *media_type, const struct tmpblob *b)
{
	return tmplayout_fmt("\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu", media_type,
			     b->digest, b->size);
}

const char *tmplayout_fill(const char *template, const char *names, const char *const *values)
{
	char *out = next_kept(), *o = out;

	for (const char *s = template; *s; s++) {
		const char *at = s[0] == '$' && s[1] ? strchr(names, s[1]) : NULL;
		if (at) {
			o = stpcpy(o, values[at - names]);
			s++;
		} else {
			*o++ = *s;
		}
		assert_true(o - out < KEPT_LEN / 2);
	}
	*o = 0;
	return out;
}

const char *tmplayout_fmt(const char *fmt, ...)
{
	char *out = next_kept();
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(out, KEPT_LEN, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && n < KEPT_LEN);
	return out;
}
