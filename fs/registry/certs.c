#include "fs/registry/certs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum { ROOTS_MAX = 4 << 20 };

void ck_certs_free(struct ck_certs *c)
{
	ck_buf_free(&c->roots);
	free(c->cert_file);
	free(c->key_file);
	*c = (struct ck_certs){ 0 };
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n > m && strcmp(name + n - m, suffix) == 0;
}

static bool has_certificate(const void *pem, size_t len)
{
	BIO *b = len > INT_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
	X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	bool has = x;

	X509_free(x);
	BIO_free(b);
	ERR_clear_error();
	return has;
}

int ck_certs_add_roots(struct ck_buf *roots, const char *path, struct ck_err *err)
{
	size_t before = roots->len;

	roots->max = ROOTS_MAX;
	int rc = ck_file_read(roots, path, err);
	/* Nobody else could say which of all files it was. */
	if (rc == 0 && !has_certificate(roots->data + before, roots->len - before))
		rc = ck_fail(err, -EBADMSG, "%s holds no certificate in PEM form", path);
	return rc < 0 ? rc : ck_buf_adds(roots, "\n", err);
}

/* Of a pair's two files one is there, PATH: is the other? */
static int check_pair(const char *path, const char *suffix, const char *other, char out[PATH_MAX],
		      struct ck_err *err)
{
	int n =
	    snprintf(out, PATH_MAX, "%.*s%s", (int)(strlen(path) - strlen(suffix)), path, other);

	if (n < 0 || n >= PATH_MAX)
		return ck_fail(err, -ENAMETOOLONG, "path %s is too long", path);
	if (access(out, F_OK) < 0)
		return ck_fail(err, -ENOENT, "%s is there, but not %s, which belongs to it", path,
			       out);
	return 0;
}

static int add_file(struct ck_certs *out, const char *path, struct ck_err *err)
{
	char other[PATH_MAX];

	if (ends_in(path, ".crt"))
		return ck_certs_add_roots(&out->roots, path, err);
	if (ends_in(path, ".key"))
		return check_pair(path, ".key", ".cert", other, err);
	if (!ends_in(path, ".cert"))
		return 0;
	int rc = check_pair(path, ".cert", ".key", other, err);
	if (rc < 0 || out->cert_file)
		return rc;
	out->cert_file = strdup(path);
	out->key_file = strdup(other);
	return out->cert_file && out->key_file ? 0 : ck_nomem(err, "reading certificates");
}

static void free_names(struct dirent **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

int ck_certs_read(struct ck_certs *out, const char *dir, const char *host, struct ck_err *err)
{
	char path[PATH_MAX];
	struct dirent **names;
	int rc = 0, len = snprintf(path, sizeof path, "%s/%s", dir, host);

	if (len < 0 || (size_t)len >= sizeof path - NAME_MAX - 2)
		return ck_fail(err, -ENAMETOOLONG, "path %s/%s is too long", dir, host);
	int n = scandir(path, &names, NULL, alphasort);
	if (n < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (n < 0)
		return ck_fail(err, -errno, "cannot read %s: %s", path, strerror(errno));
	for (int i = 0; rc == 0 && i < n; i++) {
		snprintf(path + len, sizeof path - (size_t)len, "/%s", names[i]->d_name);
		rc = add_file(out, path, err);
	}
	free_names(names, n);
	return rc;
}
