#include "tests/fault/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct blob {
	struct blob *next;
	char digest[FR_DIGEST];
	char *path; /* NULL: memory */
	uint8_t *mem;
	uint64_t len;
};

struct kept {
	struct kept *next;
	struct fr_manifest m;
};

struct tag {
	struct tag *next;
	char *name, digest[FR_DIGEST];
};

struct repo {
	struct repo *next;
	char *name;
	struct blob *blobs;
	struct kept *manifests;
	struct tag *tags;
};

struct fr_store {
	pthread_mutex_t mutex;
	bool no_referrers;
	struct repo *repos;
};

struct fr_store *fr_store_new(bool no_referrers)
{
	struct fr_store *s = fr_alloc(sizeof *s);

	pthread_mutex_init(&s->mutex, NULL);
	s->no_referrers = no_referrers;
	return s;
}

static struct repo *find_repo(struct fr_store *s, const char *name, bool make)
{
	struct repo *r = s->repos;

	while (r && strcmp(r->name, name) != 0)
		r = r->next;
	if (!r && make) {
		r = fr_alloc(sizeof *r);
		r->name = fr_copy(name);
		r->next = s->repos;
		s->repos = r;
	}
	return r;
}

static struct blob *find_blob(struct repo *r, const char *digest)
{
	struct blob *b = r ? r->blobs : NULL;

	while (b && strcmp(b->digest, digest) != 0)
		b = b->next;
	return b;
}

static const struct fr_manifest *find_manifest(struct repo *r, const char *reference)
{
	for (struct tag *t = r ? r->tags : NULL; t; t = t->next)
		if (strcmp(t->name, reference) == 0)
			reference = t->digest;
	for (struct kept *k = r ? r->manifests : NULL; k; k = k->next)
		if (strcmp(k->m.digest, reference) == 0)
			return &k->m;
	return NULL;
}

static struct blob *add_blob(struct repo *r, const char *digest)
{
	struct blob *b = find_blob(r, digest);

	if (b)
		return b;
	b = fr_alloc(sizeof *b);
	(void)snprintf(b->digest, sizeof b->digest, "%s", digest);
	b->next = r->blobs;
	r->blobs = b;
	return b;
}

static void set_tag(struct repo *r, const char *name, const char *digest)
{
	struct tag *t = r->tags;

	while (t && strcmp(t->name, name) != 0)
		t = t->next;
	if (!t) {
		t = fr_alloc(sizeof *t);
		t->name = fr_copy(name);
		t->next = r->tags;
		r->tags = t;
	}
	(void)snprintf(t->digest, sizeof t->digest, "%s", digest);
}

static const struct fr_manifest *keep(struct repo *r, const char *type, const void *doc, size_t len)
{
	char digest[FR_DIGEST];

	fr_digest(doc, len, digest);
	const struct fr_manifest *there = find_manifest(r, digest);
	if (there)
		return there;
	struct kept *k = fr_alloc(sizeof *k);
	memcpy(k->m.digest, digest, sizeof digest);
	k->m.doc = fr_alloc(len + 1);
	memcpy(k->m.doc, doc, len);
	k->m.len = len;
	k->m.json = json_loadb(doc, len, 0, NULL);
	const char *own = json_string_value(json_object_get(k->m.json, "mediaType"));
	k->m.type = fr_copy(own ? own : type);
	k->next = r->manifests;
	r->manifests = k;
	return &k->m;
}

/* ---- layouts ---- */

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "re");
	struct stat st;

	if (!f || fstat(fileno(f), &st) != 0)
		fr_die("%s: %m", path);
	char *p = fr_alloc((size_t)st.st_size + 1);
	*len = fread(p, 1, (size_t)st.st_size, f);
	(void)fclose(f);
	return p;
}

static void layout_blobs(struct repo *r, const char *dir)
{
	char path[4200], digest[FR_DIGEST];
	struct stat st;
	struct dirent *e;

	(void)snprintf(path, sizeof path, "%s/blobs/sha256", dir);
	DIR *d = opendir(path);
	while (d && (e = readdir(d))) {
		(void)snprintf(path, sizeof path, "%s/blobs/sha256/%s", dir, e->d_name);
		if (strlen(e->d_name) != 64 || stat(path, &st) != 0)
			continue;
		(void)snprintf(digest, sizeof digest, "sha256:%.64s", e->d_name);
		struct blob *b = add_blob(r, digest);
		b->path = fr_copy(path);
		b->len = (uint64_t)st.st_size;
	}
	if (d)
		(void)closedir(d);
}

/* The manifests that an index names, and what indexes among them do. */
static void layout_index(struct repo *r, const char *dir, json_t *index)
{
	char path[4200];
	size_t at, len;
	json_t *entry;

	json_array_foreach (json_object_get(index, "manifests"), at, entry) {
		const char *digest = json_string_value(json_object_get(entry, "digest"));
		const char *type = json_string_value(json_object_get(entry, "mediaType"));
		const char *tag = json_string_value(json_object_get(
		    json_object_get(entry, "annotations"), "org.opencontainers.image.ref.name"));
		if (!digest || strlen(digest) != 71)
			continue;
		(void)snprintf(path, sizeof path, "%s/blobs/sha256/%s", dir, digest + 7);
		if (access(path, R_OK) != 0)
			continue; /* of another platform, not there */
		char *doc = read_file(path, &len);
		const struct fr_manifest *m =
		    keep(r, type ? type : "application/vnd.oci.image.manifest.v1+json", doc, len);
		free(doc);
		if (tag)
			set_tag(r, tag, digest);
		layout_index(r, dir, m->json);
	}
}

static json_t *referrers_of(struct repo *r, const char *subject, const char *artifact_type);

/* Tags an index of what refers to each manifest, where something does. */
static void fallback_tags(struct repo *r)
{
	char name[FR_DIGEST];

	for (struct kept *k = r->manifests; k; k = k->next) {
		json_t *index = referrers_of(r, k->m.digest, NULL);
		if (json_array_size(json_object_get(index, "manifests")) > 0) {
			char *doc = json_dumps(index, JSON_COMPACT);
			(void)snprintf(name, sizeof name, "sha256-%s", k->m.digest + 7);
			set_tag(r, name, keep(r, "", doc, strlen(doc))->digest);
			free(doc);
		}
		json_decref(index);
	}
}

void fr_store_layout(struct fr_store *s, const char *name, const char *dir)
{
	char path[4200];
	size_t len;

	(void)snprintf(path, sizeof path, "%s/index.json", dir);
	char *doc = read_file(path, &len);
	json_t *index = json_loadb(doc, len, 0, NULL);
	if (!index)
		fr_die("%s is no JSON", path);
	pthread_mutex_lock(&s->mutex);
	struct repo *r = find_repo(s, name, true);
	layout_blobs(r, dir);
	layout_index(r, dir, index);
	if (s->no_referrers)
		fallback_tags(r);
	pthread_mutex_unlock(&s->mutex);
	json_decref(index);
	free(doc);
}

/* ---- blobs ---- */

bool fr_store_known(struct fr_store *s, const char *name)
{
	pthread_mutex_lock(&s->mutex);
	bool known = find_repo(s, name, false) != NULL;
	pthread_mutex_unlock(&s->mutex);
	return known;
}

static bool open_blob(const struct blob *b, struct fr_bytes *out)
{
	if (!b)
		return false;
	*out =
	    (struct fr_bytes){ b->path ? open(b->path, O_RDONLY | O_CLOEXEC) : -1, b->mem, b->len };
	return !b->path || out->fd >= 0;
}

bool fr_store_blob(struct fr_store *s, const char *name, const char *digest, struct fr_bytes *out)
{
	pthread_mutex_lock(&s->mutex);
	bool got = open_blob(find_blob(find_repo(s, name, false), digest), out);
	pthread_mutex_unlock(&s->mutex);
	return got;
}

bool fr_store_other(struct fr_store *s, const char *name, const char *digest, struct fr_bytes *out)
{
	pthread_mutex_lock(&s->mutex);
	struct repo *r = find_repo(s, name, false);
	struct blob *best = NULL;
	for (struct blob *b = r ? r->blobs : NULL; b; b = b->next)
		if (strcmp(b->digest, digest) != 0 && (!best || b->len > best->len))
			best = b;
	bool got = open_blob(best, out);
	pthread_mutex_unlock(&s->mutex);
	return got;
}

void fr_store_add(struct fr_store *s, const char *name, const char *digest, uint8_t *mem,
		  uint64_t len)
{
	pthread_mutex_lock(&s->mutex);
	struct blob *b = add_blob(find_repo(s, name, true), digest);
	if (!b->path && !b->mem) {
		b->mem = mem;
		b->len = len;
	} else {
		free(mem);
	}
	pthread_mutex_unlock(&s->mutex);
}

bool fr_store_mount(struct fr_store *s, const char *name, const char *from, const char *digest)
{
	pthread_mutex_lock(&s->mutex);
	struct blob *there = find_blob(find_repo(s, from, false), digest);
	if (there) {
		struct blob *b = add_blob(find_repo(s, name, true), digest);
		b->path = there->path;
		b->mem = there->mem;
		b->len = there->len;
	}
	pthread_mutex_unlock(&s->mutex);
	return there != NULL;
}

bool fr_bytes_read(const struct fr_bytes *b, uint64_t off, void *buf, size_t nbytes)
{
	if (off > b->len || nbytes > b->len - off)
		return false;
	if (b->fd < 0) {
		memcpy(buf, b->mem + off, nbytes);
		return true;
	}
	return pread(b->fd, buf, nbytes, (off_t)off) == (ssize_t)nbytes;
}

void fr_bytes_close(struct fr_bytes *b)
{
	if (b->fd >= 0)
		(void)close(b->fd);
	b->fd = -1;
}

/* ---- manifests ---- */

const struct fr_manifest *fr_store_manifest(struct fr_store *s, const char *name,
					    const char *reference)
{
	pthread_mutex_lock(&s->mutex);
	const struct fr_manifest *m = find_manifest(find_repo(s, name, false), reference);
	pthread_mutex_unlock(&s->mutex);
	return m;
}

/* What a manifest names must have come before it. */
static bool all_there(struct repo *r, json_t *doc, char *why, size_t cap)
{
	json_t *entry, *layers = json_object_get(doc, "layers");
	json_t *config = json_object_get(doc, "config");
	size_t at;

	for (at = 0; at <= json_array_size(layers); at++) {
		entry = at ? json_array_get(layers, at - 1) : config;
		const char *digest = json_string_value(json_object_get(entry, "digest"));
		if (digest && !find_blob(r, digest)) {
			(void)snprintf(why, cap, "MANIFEST_BLOB_UNKNOWN %s", digest);
			return false;
		}
	}
	json_array_foreach (json_object_get(doc, "manifests"), at, entry) {
		const char *digest = json_string_value(json_object_get(entry, "digest"));
		if (!digest || !find_manifest(r, digest)) {
			(void)snprintf(why, cap, "MANIFEST_UNKNOWN %s", digest ? digest : "?");
			return false;
		}
	}
	return true;
}

const struct fr_manifest *fr_store_put(struct fr_store *s, const char *name, const char *reference,
				       const char *type, const void *doc, size_t len, char *why,
				       size_t cap)
{
	char digest[FR_DIGEST];
	json_t *json = json_loadb(doc, len, 0, NULL);
	const struct fr_manifest *m = NULL;

	fr_digest(doc, len, digest);
	pthread_mutex_lock(&s->mutex);
	struct repo *r = find_repo(s, name, true);
	if (!json_is_object(json))
		(void)snprintf(why, cap, "MANIFEST_INVALID no JSON object");
	else if (strchr(reference, ':') && strcmp(reference, digest) != 0)
		(void)snprintf(why, cap, "DIGEST_INVALID it has %s", digest);
	else if (all_there(r, json, why, cap))
		m = keep(r, type, doc, len);
	if (m && !strchr(reference, ':'))
		set_tag(r, reference, digest);
	pthread_mutex_unlock(&s->mutex);
	json_decref(json);
	return m;
}

json_t *fr_store_tags(struct fr_store *s, const char *name)
{
	json_t *list = json_array();

	pthread_mutex_lock(&s->mutex);
	struct repo *r = find_repo(s, name, false);
	for (struct tag *t = r ? r->tags : NULL; t; t = t->next)
		json_array_insert_new(list, 0, json_string(t->name));
	pthread_mutex_unlock(&s->mutex);
	return list;
}

static json_t *referrer(const struct fr_manifest *m, const char *artifact_type)
{
	json_t *e = json_pack("{s:s, s:s, s:I}", "mediaType", m->type, "digest", m->digest, "size",
			      (json_int_t)m->len);
	json_t *notes = json_object_get(m->json, "annotations");

	if (artifact_type)
		json_object_set_new(e, "artifactType", json_string(artifact_type));
	if (notes)
		json_object_set(e, "annotations", notes);
	return e;
}

static json_t *referrers_of(struct repo *r, const char *subject, const char *artifact_type)
{
	json_t *list = json_array();

	for (struct kept *k = r ? r->manifests : NULL; k; k = k->next) {
		const char *of = json_string_value(
		    json_object_get(json_object_get(k->m.json, "subject"), "digest"));
		const char *type = json_string_value(json_object_get(k->m.json, "artifactType"));
		if (!type)
			type = json_string_value(
			    json_object_get(json_object_get(k->m.json, "config"), "mediaType"));
		if (of && strcmp(of, subject) == 0 &&
		    (!artifact_type || (type && strcmp(type, artifact_type) == 0)))
			json_array_append_new(list, referrer(&k->m, type));
	}
	return json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
			 "application/vnd.oci.image.index.v1+json", "manifests", list);
}

json_t *fr_store_referrers(struct fr_store *s, const char *name, const char *subject,
			   const char *artifact_type)
{
	pthread_mutex_lock(&s->mutex);
	json_t *index = referrers_of(find_repo(s, name, false), subject, artifact_type);
	pthread_mutex_unlock(&s->mutex);
	return index;
}
