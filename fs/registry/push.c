#include "fs/registry/push.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "fs/oci/blobstore_ops.h"
#include "fs/registry/push_steps.h"
#include "fs/registry/upload.h"
#include "fs/registry/uploadstep.h"

enum { MANIFEST_TRIES = 4 };

struct store {
	struct ck_blobstore base;
	struct ck_registry *r; /* owned */
	char *name;	       /* "HOST/REPO"; owned */
	char *mount_from;      /* owned */
	size_t chunk;
	atomic_bool one_piece; /* see ck_upload_opts */
	pthread_mutex_t lock;  /* guards what follows */
	struct ck_known {
		uint8_t digest[CK_SHA256_LEN];
		uint64_t size;
	} * known; /* blobs that are there, for certain */
	size_t n_known, cap;
};

struct pushblob {
	struct ck_new_blob base;
	struct ck_upload *upload;
};

static struct store *store_of(struct ck_blobstore *s)
{
	return (struct store *)s;
}

static struct pushblob *blob_of(struct ck_new_blob *b)
{
	return (struct pushblob *)b;
}

static bool is_known(struct store *s, const uint8_t digest[CK_SHA256_LEN], uint64_t size)
{
	bool is = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; !is && i < s->n_known; i++)
		is = s->known[i].size == size &&
		     memcmp(s->known[i].digest, digest, CK_SHA256_LEN) == 0;
	pthread_mutex_unlock(&s->lock);
	return is;
}

static bool make_room(struct store *s)
{
	size_t cap = s->cap ? 2 * s->cap : 64;
	struct ck_known *more =
	    s->n_known < s->cap ? s->known : reallocarray(s->known, cap, sizeof *more);

	if (!more)
		return false;
	s->cap = s->n_known < s->cap ? s->cap : cap;
	s->known = more;
	return true;
}

static int remember(struct store *s, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
		    struct ck_err *err)
{
	pthread_mutex_lock(&s->lock);
	bool ok = make_room(s);
	if (ok) {
		s->known[s->n_known].size = size;
		memcpy(s->known[s->n_known++].digest, digest, CK_SHA256_LEN);
	}
	pthread_mutex_unlock(&s->lock);
	return ok ? 0 : ck_nomem(err, "adding a blob");
}

static int has(struct ck_blobstore *base, const uint8_t digest[CK_SHA256_LEN], uint64_t size,
	       struct ck_err *err)
{
	struct store *s = store_of(base);

	if (is_known(s, digest, size))
		return 1;
	int rc = ck_uploadstep_has(s->r, digest, size, err);
	if (rc > 0 && remember(s, digest, size, err) < 0)
		return -ENOMEM;
	return rc;
}

static int open_blob(struct ck_new_blob **out, struct ck_blobstore *base,
		     const struct ck_known_blob *known, struct ck_err *err)
{
	struct store *s = store_of(base);
	const struct ck_upload_opts opts = { .chunk = s->chunk,
					     .one_piece = &s->one_piece,
					     .digest = known ? known->digest : NULL,
					     .from = s->mount_from };
	/* Who may not ask may upload nevertheless, or hears then why not. */
	if (known && has(base, known->digest, known->size, NULL) > 0)
		return 1;
	CK_AUTO(ck_freep) struct pushblob *b = calloc(1, sizeof *b);
	if (!b)
		return ck_nomem(err, "making a blob");
	int rc = ck_upload_open(&b->upload, s->r, &opts, err);
	if (rc > 0)
		rc = remember(s, known->digest, known->size, err) < 0 ? -ENOMEM : 1;
	if (rc)
		return rc;
	*out = &b->base;
	b = NULL;
	return 0;
}

static int write_blob(struct ck_new_blob *b, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_upload_write(blob_of(b)->upload, p, nbytes, err);
}

static int end_blob(struct ck_new_blob *b, const uint8_t digest[CK_SHA256_LEN], struct ck_err *err)
{
	struct store *s = store_of(b->store);

	if (is_known(s, digest, b->size))
		return 0;
	int rc = ck_upload_end(blob_of(b)->upload, digest, err);
	return rc < 0 ? rc : remember(s, digest, b->size, err);
}

static void drop_blob(struct ck_new_blob *b)
{
	ck_upload_close(blob_of(b)->upload);
	free(blob_of(b));
}

int ck_push_manifest(struct ck_registry *r, const char *reference, const char *type, const void *p,
		     size_t nbytes, struct ck_http_res *res, struct ck_err *err)
{
	CK_BUF path = { 0 }, header = { 0 };
	uint8_t digest[CK_SHA256_LEN];
	int rc = ck_buf_addf(&path, err, "manifests/%s", reference);

	if (rc == 0)
		rc = ck_buf_addf(&header, err, "Content-Type: %s", type);
	if (rc < 0)
		return rc;
	const char *const headers[] = { ck_buf_str(&header) };
	const struct ck_registry_req req = { .method = "PUT",
					     .path = ck_buf_str(&path),
					     .headers = headers,
					     .n_headers = 1,
					     .body = p,
					     .body_len = nbytes,
					     .push = true };
	/* It may be put twice: the same bytes at the same place. */
	for (int i = 0; i < MANIFEST_TRIES; i++) {
		ck_http_res_free(res);
		rc = ck_registry_do(r, &req, res, err);
		if (rc != -EPROTO && rc != -ETIMEDOUT)
			break;
	}
	if (rc == 0 && res->status != 200 && res->status != 201 && res->status != 204)
		rc = ck_registry_refused(res, err);
	ck_sha256(digest, p, nbytes);
	if (rc == 0)
		rc = ck_uploadstep_same(res, digest, err);
	return rc < 0 ? ck_wrap(err, "manifest %s", reference) : 0;
}

static int add(struct ck_blobstore *base, const struct ck_new_manifest *m, struct ck_err *err)
{
	struct store *s = store_of(base);
	CK_HTTP_RES res = { 0 };
	int rc = m->subject ? 0 : ck_blobstore_whole(base, m, err);

	if (rc == 0)
		rc = ck_push_manifest(s->r, m->name ? m->name : m->d.digest_str, m->d.media_type,
				      m->p, m->d.size, &res, err);
	if (rc < 0 || !m->subject || ck_http_res_header(&res, "oci-subject"))
		return rc;
	return ck_push_listed(s->r, m->subject, &m->d, err);
}

static void close_store(struct ck_blobstore *base)
{
	struct store *s = store_of(base);

	ck_registry_close(s->r);
	pthread_mutex_destroy(&s->lock);
	free(s->known);
	free(s->name);
	free(s->mount_from);
	free(s);
}

int ck_push_open(struct ck_blobstore **out, struct ck_registry *r, const struct ck_push_opts *opts,
		 struct ck_err *err)
{
	static const struct ck_blobstore_ops ops = {
		.blob = open_blob,
		.write = write_blob,
		.end = end_blob,
		.drop = drop_blob,
		.has = has,
		.add = add,
		.close = close_store,
	};
	struct store *s = calloc(1, sizeof *s);

	if (!s) {
		ck_registry_close(r);
		return ck_nomem(err, "opening a repository");
	}
	pthread_mutex_init(&s->lock, NULL);
	s->r = r;
	s->chunk = opts->chunk;
	s->base.ops = &ops;
	if (asprintf(&s->name, "%s/%s", ck_registry_host(r), ck_registry_repo(r)) < 0)
		s->name = NULL;
	s->base.name = s->name;
	/* The same repository is looked into anyway. */
	const char *from = opts->mount_from;
	bool elsewhere = from && strcmp(from, ck_registry_repo(r)) != 0;
	if (elsewhere)
		s->mount_from = strdup(from);
	if (!s->name || (elsewhere && !s->mount_from)) {
		close_store(&s->base);
		return ck_nomem(err, "opening a repository");
	}
	*out = &s->base;
	return 0;
}
