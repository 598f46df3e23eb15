#include <stdio.h>
#include <string.h>

#include "tests/e2e/lib/treegen/model.h"
#include "tests/e2e/lib/treegen/random.h"

static const uint64_t KIB = 1024, GIB = UINT64_C(1) << 30;

static uint32_t random_id(struct rng *r)
{
	switch (below(r, 8)) {
	case 0:
		return 1000;
	case 1:
		return (uint32_t)below(r, 70000);
	case 2:
		return 0x1fffff + (uint32_t)below(r, 2); /* the last octal one, and the next */
	case 3:
		return (uint32_t)below(r, UINT32_MAX); /* not -1, which is none */
	default:
		return 0;
	}
}

static void random_mtime(struct rng *r, struct item *it)
{
	switch (below(r, 10)) {
	case 0:
		it->mtime = -1; /* with a fraction: between -1 and 0 */
		break;
	case 1:
		it->mtime = -(int64_t)below(r, 1000000000);
		break;
	case 2:
		it->mtime = one_in(r, 2) ? 0 : (int64_t)below(r, 3);
		break;
	case 3:
		it->mtime = (INT64_C(1) << 31) - 2 + (int64_t)below(r, 4);
		break;
	case 4:
		it->mtime = (INT64_C(1) << 33) - 2 + (int64_t)below(r, 4); /* 12 octal digits */
		break;
	default:
		it->mtime = 1000000000 + (int64_t)below(r, 900000000);
	}
	switch (below(r, 4)) {
	case 0:
		it->mtime_ns = (uint32_t)below(r, 1000000000);
		break;
	case 1:
		it->mtime_ns = (uint32_t)(500000000 + 100000000 * below(r, 5));
		break;
	case 2:
		it->mtime_ns = one_in(r, 2) ? 1 : 999999999;
		break;
	default:
		it->mtime_ns = 0;
	}
}

static uint64_t random_size(struct rng *r)
{
	static const uint64_t borders[] = { 511, 512, 513, 4095, 4096, 4097, 8192, 65536, 65537 };

	switch (below(r, 12)) {
	case 0:
		return 0;
	case 1:
		return borders[below(r, sizeof borders / sizeof *borders)];
	case 2:
	case 3:
		return below(r, 6000);
	case 4:
		return below(r, 80 * KIB);
	case 5:
		return one_in(r, 4) ? below(r, 400 * KIB) : below(r, 20 * KIB);
	default:
		return below(r, 120);
	}
}

static void random_data(struct rng *r, struct item *it)
{
	it->size = random_size(r);
	it->segments = alloc(sizeof *it->segments);
	it->segments[0] = (struct segment){ 0, it->size, rng_next(r) };
	it->n_segments = it->size > 0;
}

static void random_sparse(struct rng *r, struct item *it)
{
	size_t huge = below(r, 8), most = huge == 0 ? 3 : huge == 1 ? 4 : 12;
	uint64_t gap = huge == 0      ? 600 * GIB
		       : huge == 1    ? 4 * GIB
		       : one_in(r, 4) ? 2000 * KIB
				      : 40 * KIB;
	uint64_t align = one_in(r, 3) ? 4096 : one_in(r, 2) ? 512 : 1;
	size_t n = below(r, most);

	it->sparse = true;
	it->segments = alloc(most * sizeof *it->segments);
	for (size_t i = 0; i < n; i++) {
		uint64_t off = it->size + (i || !one_in(r, 3) ? 1 + below(r, gap) : 0);
		uint64_t len = one_in(r, 8) ? 1 : 1 + below(r, one_in(r, 3) ? 20 * KIB : 600);

		off += (align - off % align) % align;
		len += one_in(r, 2) ? (align - len % align) % align : 0;
		it->segments[it->n_segments++] = (struct segment){ off, len, rng_next(r) };
		it->size = off + len;
	}
	if (one_in(r, 2))
		it->size += 1 + below(r, gap);
}

static void random_xattrs(struct rng *r, struct item *it)
{
	static const unsigned char capability[20] = { 1, 0, 0, 2, 0, 0x24 };
	static const char *const names[] = { "user.a",	      "user.b%41",	   "user.LONG",
					     "trusted.t",     "trusted.overlay.x", "security.test",
					     "security.other" };
	bool any = it->type == FILE_ || it->type == DIR_; /* Linux has no user.* on others */

	for (size_t i = 0; i < sizeof names / sizeof *names && it->n_xattrs < MAX_XATTRS - 1; i++) {
		struct xattr *x = &it->xattrs[it->n_xattrs];
		size_t len = one_in(r, 6) ? 0 : one_in(r, 20) ? below(r, 20000) : 1 + below(r, 40);

		if ((!any && i < 3) || !one_in(r, 4))
			continue;
		x->name = text_of(names[i]);
		for (; i == 2 && x->name.len < 255;)
			text_puts(&x->name, "g");
		for (x->value = text_of(""); x->value.len < len;) {
			char c = (char)below(r, 256);

			text_add(&x->value, &c, 1);
		}
		it->n_xattrs++;
	}
	if (it->type == FILE_ && one_in(r, 3)) {
		struct xattr *x = &it->xattrs[it->n_xattrs++];

		x->name = text_of("security.capability");
		text_add(&x->value, capability, sizeof capability);
	}
}

static void add_ace(struct acl *a, uint16_t tag, uint64_t perm, uint32_t id)
{
	a->ace[a->n++] = (struct ace){ tag, (uint16_t)(perm & 7), id };
}

static struct acl random_acl(struct rng *r, uint32_t mode)
{
	struct acl a = { 0 };
	uint64_t group = one_in(r, 2) ? mode >> 3 : below(r, 8);
	size_t n_users = below(r, 3), n_groups = below(r, 2);
	bool named = n_users + n_groups > 0, mask = named || one_in(r, 4);

	add_ace(&a, ACE_USER_OBJ, mode >> 6, 0);
	for (size_t i = 0; i < n_users; i++) /* each id once; out of order, now and then */
		add_ace(&a, ACE_USER, below(r, 8),
			(uint32_t)(1000 + (one_in(r, 2) ? i : 7 * i + 100 * (2 - i))));
	add_ace(&a, ACE_GROUP_OBJ, mask ? group : mode >> 3, 0);
	for (size_t i = 0; i < n_groups; i++)
		add_ace(&a, ACE_GROUP, below(r, 8), one_in(r, 3) ? 2147483646 : 5);
	if (mask)
		add_ace(&a, ACE_MASK, mode >> 3, 0);
	add_ace(&a, ACE_OTHER, mode, 0);
	return a;
}

static void random_acls(struct rng *r, struct item *it)
{
	if (it->type == SYMLINK || it->type == HARDLINK)
		return;
	if (!one_in(r, 3))
		it->access = random_acl(r, it->mode);
	if (it->type == DIR_ && one_in(r, 2))
		it->deflt = random_acl(r, (uint32_t)below(r, 512));
	/* A header that says something else than the list. */
	if (it->access.n && one_in(r, 6))
		it->mode ^= (uint32_t)below(r, 512);
}

void random_attributes(struct rng *r, struct item *it)
{
	static const uint32_t modes[] = { 0644, 0755, 0600, 0, 04755, 02755, 01777, 06711, 0111 };

	it->mode = one_in(r, 5) ? (uint32_t)below(r, 010000) : modes[below(r, 9)];
	it->uid = random_id(r);
	it->gid = random_id(r);
	random_mtime(r, it);
	it->form = one_in(r, 3) ? rng_next(r) : rng_next(r) & rng_next(r) & rng_next(r);
	if (it->type == CHAR || it->type == BLOCK_) {
		it->major = (uint32_t)(one_in(r, 4) ? below(r, 4096) : below(r, 256));
		it->minor = (uint32_t)(one_in(r, 4) ? below(r, 1 << 20) : below(r, 256));
	}
	if (it->type == FILE_ && one_in(r, 12))
		random_sparse(r, it);
	else if (it->type == FILE_)
		random_data(r, it);
	if (it->type != HARDLINK && one_in(r, 5))
		random_xattrs(r, it);
	if (one_in(r, 8))
		random_acls(r, it);
}
