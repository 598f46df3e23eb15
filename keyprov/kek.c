#include "keyprov/kek.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "keyprov/pem.h"

enum { KID_PART_MAX = 127, INFO_MAX = 64 << 10 };

static const char kid_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				"0123456789-_.";

static void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

int ck_kid_check(const char *kid, struct ck_err *err)
{
	const char *part = kid;

	for (int n = 0; n < 2; n++) {
		size_t len = strspn(part, kid_chars);
		if (len == 0 || len > KID_PART_MAX || part[0] == '.' || part[len - 1] == '.' ||
		    (part[len] && part[len] != '/'))
			break;
		if (!part[len])
			return 0;
		part += len + 1;
	}
	return ck_fail(err, -EINVAL,
		       "the key id is not a name, or name/version, of letters, digits, '-', "
		       "'_' and '.'");
}

/* Makes PATH absolute or relative to the directory of FILE. */
static int beside(char out[PATH_MAX], const char *file, const char *path, struct ck_err *err)
{
	const char *slash = strrchr(file, '/');
	int dir_len = path[0] == '/' || !slash ? 0 : (int)(slash + 1 - file);
	int n = snprintf(out, PATH_MAX, "%.*s%s", dir_len, file, path);

	if (n < 0 || n >= PATH_MAX)
		return ck_fail(err, -ENAMETOOLONG, "public_key_path is too long");
	return 0;
}

static int host_check(const char *host, const char *path, struct ck_err *err)
{
	if (*host && !strpbrk(host, "/?#@ "))
		return 0;
	return ck_fail(err, -EINVAL,
		       "%s: an endpoint is not a bare host name (no https://, no path)", path);
}

void ck_kek_free(struct ck_kek *kek)
{
	EVP_PKEY_free(kek->key);
	free(kek->kid);
	free(kek->hsm_host);
	free(kek->maa_host);
	*kek = (struct ck_kek){ 0 };
}

static int set_names(struct ck_kek *out, const struct ck_packet_names *names, struct ck_err *err)
{
	out->kid = strdup(names->kid);
	out->hsm_host = strdup(names->hsm_host);
	out->maa_host = names->maa_host ? strdup(names->maa_host) : NULL;
	if (!out->kid || !out->hsm_host || (names->maa_host && !out->maa_host))
		return ck_nomem(err, "looking up a key");
	return 0;
}

/* The key that the info file PATH describes. -ENOENT only when PATH itself does not
 * exist. */
static int find_by_info(struct ck_kek *out, const char *path, const char *kid, struct ck_err *err)
{
	CK_JSON *info = NULL;
	struct ck_packet_names names = { .kid = kid };
	const char *pem;
	char pem_path[PATH_MAX];
	int rc = ck_json_file(&info, path, INFO_MAX, err);

	if (rc < 0)
		return rc;
	if (!json_is_object(info))
		return ck_fail(err, -EBADMSG, "%s is not a JSON object", path);
	if (ck_json_str(&pem, info, "public_key_path", true, err) < 0 ||
	    ck_json_str(&names.hsm_host, info, "kms_endpoint", true, err) < 0 ||
	    ck_json_str(&names.maa_host, info, "attester_endpoint", true, err) < 0)
		return ck_wrap(err, "%s", path);
	if ((rc = host_check(names.hsm_host, path, err)) < 0 ||
	    (rc = host_check(names.maa_host, path, err)) < 0 ||
	    (rc = beside(pem_path, path, pem, err)) < 0)
		return rc;
	if (ck_pem_public(&out->key, pem_path, err) < 0)
		return ck_fail(err, -EINVAL, "public key named in %s: %s", path,
			       err ? strdupa(err->msg) : "");
	return set_names(out, &names, err);
}

static int find_by_hsm(struct ck_kek *out, const struct ck_provider *p, const char *kid,
		       struct ck_err *err)
{
	struct ck_attest_key_id id = { p->hsm_host, p->maa_host, kid };
	struct ck_packet_names names = { kid, p->hsm_host, p->maa_host };
	int rc = ck_attest_public_key(p->attest, &id, &out->key, err);

	return rc < 0 ? rc : set_names(out, &names, err);
}

int ck_kek_find(struct ck_kek *out, const struct ck_provider *p, const char *kid,
		struct ck_err *err)
{
	char path[PATH_MAX];
	int rc = ck_kid_check(kid, err);

	if (rc < 0)
		return rc;
	/* An info file is of a key's name; which version its PEM is of it does not say. */
	if (p->key_info_dir && !strchr(kid, '/')) {
		int n = snprintf(path, sizeof path, "%s/%s-info.json", p->key_info_dir, kid);
		if (n < 0 || (size_t)n >= sizeof path)
			return ck_fail(err, -ENAMETOOLONG, "key info path of %s is too long", kid);
		rc = find_by_info(out, path, kid, err);
		if (rc != -ENOENT)
			return rc;
	}
	if (p->hsm_host && p->attest)
		return find_by_hsm(out, p, kid, err);
	return ck_fail(err, -ENOENT,
		       "key %s is not known: there is no %s-info.json in the key-info directory "
		       "and no HSM is configured to ask for its public half",
		       kid, kid);
}

int ck_kek_seal(const struct ck_kek *kek, const void *in, size_t nbytes, struct ck_buf *out,
		struct ck_err *err)
{
	struct ck_packet_names names = { kek->kid, kek->hsm_host, kek->maa_host };

	return ck_packet_wrap(kek->key, &names, in, nbytes, out, err);
}

int ck_kek_wrap(const struct ck_provider *p, const char *kid, const void *in, size_t nbytes,
		struct ck_buf *out, struct ck_err *err)
{
	CK_KEK kek = { 0 };
	int rc = ck_kek_find(&kek, p, kid, err);

	return rc < 0 ? rc : ck_kek_seal(&kek, in, nbytes, out, err);
}

int ck_kek_wrap_file(const char *prefix, const void *in, size_t nbytes, struct ck_buf *out,
		     struct ck_err *err)
{
	CK_KEK kek = { 0 };
	const char *slash = strrchr(prefix, '/'), *kid = slash ? slash + 1 : prefix;
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s-info.json", prefix);
	int rc = ck_kid_check(kid, err);

	if (rc < 0)
		return rc;
	if (n < 0 || (size_t)n >= sizeof path)
		return ck_fail(err, -ENAMETOOLONG, "key info path of %s is too long", kid);
	rc = find_by_info(&kek, path, kid, err);
	return rc < 0 ? rc : ck_kek_seal(&kek, in, nbytes, out, err);
}

int ck_kek_unwrap(const struct ck_provider *p, const struct ck_packet *packet,
		  struct ck_secret *out, struct ck_err *err)
{
	CK_AUTO(pkey_freep) EVP_PKEY *key = NULL;
	struct ck_attest_key_id id = {
		.hsm_host = packet->hsm_host ? packet->hsm_host : p->hsm_host,
		.maa_host = packet->maa_host ? packet->maa_host : p->maa_host,
		.kid = packet->kid,
	};
	int rc;

	/* Before anything is asked of an HSM: a foreign packet opens with no key of one. */
	if (packet->kind == CK_PACKET_FOREIGN)
		return ck_packet_unwrap(packet, NULL, out, err);
	if ((rc = ck_kid_check(id.kid, err)) < 0)
		return rc;
	if (!id.hsm_host || !id.maa_host)
		return ck_fail(err, -EBADMSG, "the packet of key %s names no HSM or attester",
			       id.kid);
	if (!p->attest)
		return ck_fail(err, -ENODEV,
			       "keys cannot be released here: only wrapping is set up");
	if ((rc = ck_attest_private_key(p->attest, &id, &key, err)) < 0)
		return rc;
	rc = ck_packet_unwrap(packet, key, out, err);
	return rc < 0 ? ck_wrap(err, "unwrapping with key %s of %s", id.kid, id.hsm_host) : 0;
}
