#include "tools/azsim/keystore.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

void az_keystore_init(struct az_keystore *ks, const char *dir)
{
	ks->dir = dir;
	pthread_mutex_init(&ks->lock, NULL);
}

bool az_key_name_ok(const char *name)
{
	size_t n = 0;

	while (isalnum((unsigned char)name[n]) || name[n] == '-')
		n++;
	return name[n] == 0 && n > 0 && n <= AZ_KEY_NAME_MAX;
}

static struct az_path key_path(const struct az_keystore *ks, const struct az_key *k,
			       const char *what)
{
	return az_path(ks->dir, "keys/%s/%s/%s%s", k->host, k->name, k->version, what);
}

static int make_dirs(const struct az_keystore *ks, const struct az_key *k, struct ck_err *err)
{
	int rc = az_mkdir(az_path(ks->dir, "keys/%s", k->host).s, err);

	return rc < 0 ? rc : az_mkdir(az_path(ks->dir, "keys/%s/%s", k->host, k->name).s, err);
}

static int write_files(const struct az_keystore *ks, const struct az_key *k, struct ck_err *err)
{
	CK_BUF meta = { 0 };
	int rc = ck_json_dump(&meta, k->meta, err);

	if (rc == 0)
		rc = az_pkey_save(k->pkey, key_path(ks, k, ".pem").s, err);
	if (rc == 0)
		rc = ck_file_write(key_path(ks, k, ".json").s, meta.data, meta.len, 0600, err);
	if (rc == 0) /* last: a version that `current` names is whole */
		rc = ck_file_write(az_path(ks->dir, "keys/%s/%s/current", k->host, k->name).s,
				   k->version, AZ_KEY_VERSION_LEN, 0600, err);
	return rc;
}

int az_keystore_put(struct az_keystore *ks, struct az_key *k, struct ck_err *err)
{
	uint8_t v[AZ_KEY_VERSION_LEN / 2];

	if (RAND_bytes(v, sizeof v) != 1)
		return az_ssl_fail(err, "cannot make a key version");
	ck_hex(k->version, v, sizeof v);
	pthread_mutex_lock(&ks->lock);
	int rc = make_dirs(ks, k, err);
	if (rc == 0)
		rc = write_files(ks, k, err);
	pthread_mutex_unlock(&ks->lock);
	return rc;
}

static int read_current(const struct az_keystore *ks, struct az_key *k, struct ck_err *err)
{
	CK_BUF b = { .max = AZ_KEY_VERSION_LEN };
	int rc = ck_file_read(&b, az_path(ks->dir, "keys/%s/%s/current", k->host, k->name).s, err);

	if (rc == 0 && b.len != AZ_KEY_VERSION_LEN)
		return ck_fail(err, -EIO, "key %s has no current version", k->name);
	if (rc == 0)
		memcpy(k->version, b.data, b.len);
	return rc;
}

static int read_files(const struct az_keystore *ks, struct az_key *k, struct ck_err *err)
{
	int rc = *k->version ? 0 : read_current(ks, k, err);

	if (rc == 0)
		rc = ck_json_file(&k->meta, key_path(ks, k, ".json").s, 1 << 20, err);
	return rc < 0 ? rc : az_pkey_load(&k->pkey, key_path(ks, k, ".pem").s, err);
}

static bool version_ok(const char *v)
{
	return strspn(v, "0123456789abcdef") == strlen(v) &&
	       (*v == 0 || strlen(v) == AZ_KEY_VERSION_LEN);
}

int az_keystore_get(struct az_keystore *ks, struct az_key *out, const char *host, const char *name,
		    const char *version, struct ck_err *err)
{
	struct az_key k = { 0 };
	int rc = -ENOENT;

	if (az_key_name_ok(name) && version_ok(version)) {
		snprintf(k.host, sizeof k.host, "%s", host);
		snprintf(k.name, sizeof k.name, "%s", name);
		snprintf(k.version, sizeof k.version, "%s", version);
		pthread_mutex_lock(&ks->lock);
		rc = read_files(ks, &k, err);
		pthread_mutex_unlock(&ks->lock);
	}
	if (rc == 0)
		*out = k;
	else
		az_key_free(&k);
	if (rc == -ENOENT)
		return ck_fail(err, rc,
			       "A key with (name/id) %s%s%s was not found in this key vault", name,
			       *version ? "/" : "", version);
	return rc;
}

void az_key_free(struct az_key *k)
{
	EVP_PKEY_free(k->pkey);
	json_decref(k->meta);
}
