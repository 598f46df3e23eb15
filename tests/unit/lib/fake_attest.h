/*
 * A stand-in for the HSM: ck_attest_private_key and _public_key of the room attest, which
 * the key provider's tests include instead of linking that room. Once a test file.
 */
#ifndef CK_FAKE_ATTEST_H
#define CK_FAKE_ATTEST_H

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "attest/attest.h"

struct fake_attest {
	EVP_PKEY *key;	 /* what every kid gives */
	const char *kid; /* the only kid there is; NULL: any */
	int fail;	 /* a code to fail with, or 0 */
	int block_fd;	 /* a call waits until this is readable; -1: it does not */
	atomic_int n_private, n_public;
};

static inline struct ck_attest *fake_as_attest(struct fake_attest *f)
{
	return (struct ck_attest *)(void *)f;
}

static int fake_get(struct fake_attest *f, const struct ck_attest_key_id *id, EVP_PKEY **out,
		    struct ck_err *err)
{
	struct pollfd p = { .fd = f->block_fd, .events = POLLIN };

	if (f->block_fd >= 0)
		(void)poll(&p, 1, 20000);
	if (f->fail)
		return ck_fail(err, f->fail, "release of key %s refused (fake): 100%% no\u00fc",
			       id->kid);
	if (f->kid && strcmp(f->kid, id->kid) != 0)
		return ck_fail(err, -EACCES, "there is no key %s", id->kid);
	EVP_PKEY_up_ref(f->key);
	*out = f->key;
	return 0;
}

int ck_attest_private_key(struct ck_attest *a, const struct ck_attest_key_id *id, EVP_PKEY **out,
			  struct ck_err *err)
{
	struct fake_attest *f = (struct fake_attest *)(void *)a;

	atomic_fetch_add(&f->n_private, 1);
	return fake_get(f, id, out, err);
}

uint64_t ck_attest_n_released(const struct ck_attest *a)
{
	return (uint64_t)atomic_load(&((const struct fake_attest *)(const void *)a)->n_private);
}

int ck_attest_public_key(struct ck_attest *a, const struct ck_attest_key_id *id, EVP_PKEY **out,
			 struct ck_err *err)
{
	struct fake_attest *f = (struct fake_attest *)(void *)a;

	atomic_fetch_add(&f->n_public, 1);
	return fake_get(f, id, out, err);
}

#endif
