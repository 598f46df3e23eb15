/*
 * erofs: how files are cut into chunks, what goes to the patch device, and what cannot be
 * expressed. What the kernel makes of it: test_erofs_mount.c.
 */
#include <inttypes.h>

#include "fs/erofs/chunks.h"
#include "fs/erofs/format.h"
#include "fs/erofs/plan.h"
#include "tests/unit/test_erofs_world.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define EIB (UINT64_C(1) << 60)

enum { MAX_X = 4 };

struct cut {
	const char *why;
	uint64_t size;
	struct ck_extent x[MAX_X];
	uint32_t n_x;
	uint64_t tar_len;
	unsigned bits;
	uint64_t holes, direct, patches; /* how many chunks of each */
};

static const struct cut cuts[] = {
	{ "no bytes", 0, { { 0 } }, 0, 1024, 9, 0, 0, 0 },
	{ "one byte is a block", 1, { { 0, 512, 1 } }, 1, 1024, 9, 0, 1, 0 },
	{ "one chunk, larger than the file", 5000, { { 0, 512, 5000 } }, 1, 8192, 13, 0, 1, 0 },
	{ "and just as large", 4096, { { 0, 512, 4096 } }, 1, 8192, 12, 0, 1, 0 },
	{ "and a byte larger", 4097, { { 0, 512, 4097 } }, 1, 8192, 13, 0, 1, 0 },
	{ "the largest chunk", TIB, { { 0, 512, TIB } }, 1, 2 * TIB, 40, 0, 1, 0 },
	{ "two of the largest", TIB + 1, { { 0, 512, TIB + 1 } }, 1, 2 * TIB, 40, 0, 2, 0 },
	{ "nothing but a hole", 5000, { { 0 } }, 0, 1024, 13, 1, 0, 0 },
	{ "holes are as large", 3 * TIB, { { 0 } }, 0, 1024, 40, 3, 0, 0 },
	{ "hole, data: by what both are aligned to",
	  64 * KIB,
	  { { 48 * KIB, 512, 16 * KIB } },
	  1,
	  MIB,
	  14,
	  3,
	  1,
	  0 },
	{ "data, hole, data to an odd end",
	  20 * KIB + 7,
	  { { 0, 512, 4 * KIB }, { 16 * KIB, 4608, 4 * KIB + 7 } },
	  2,
	  MIB,
	  12,
	  3,
	  3,
	  0 },
	{ "extents that go on in file and tar are one",
	  9000,
	  { { 0, 512, 1000 }, { 1000, 1512, 8000 } },
	  2,
	  MIB,
	  14,
	  0,
	  1,
	  0 },
	{ "down to the last byte",
	  1024,
	  { { 0, 512, 1023 }, { 1023, 1535, 1 } },
	  2,
	  MIB,
	  10,
	  0,
	  1,
	  0 },
	{ "they go on in the file alone",
	  9000,
	  { { 0, 512, 1024 }, { 1024, 4096, 7976 } },
	  2,
	  MIB,
	  10,
	  0,
	  9,
	  0 },
	{ "and at no block of the tar",
	  9000,
	  { { 0, 512, 1000 }, { 1000, 2048, 8000 } },
	  2,
	  MIB,
	  12,
	  0,
	  0,
	  3 },
	{ "odd end of data inside the file", 16 * KIB, { { 0, 512, 5000 } }, 1, MIB, 12, 2, 1, 1 },
	{ "odd beginning", 16 * KIB, { { 5000, 512, 16 * KIB - 5000 } }, 1, MIB, 12, 1, 0, 3 },
	{ "blocks of 512 where that is enough",
	  4 * KIB,
	  { { 512, 512, 512 } },
	  1,
	  MIB,
	  9,
	  7,
	  1,
	  0 },
	{ "not at a block of the tar", 4 * KIB, { { 0, 513, 4 * KIB } }, 1, MIB, 12, 0, 0, 1 },
	{ "a tar that ends within the last block", 600, { { 0, 512, 600 } }, 1, 1200, 10, 0, 0, 1 },
	{ "a tar that ends after it", 600, { { 0, 512, 600 } }, 1, 1536, 10, 0, 1, 0 },
	{ "as many chunks as there may be",
	  512 * 65536,
	  { { 512, 512, 512 } },
	  1,
	  MIB,
	  9,
	  65535,
	  1,
	  0 },
	{ "one more: larger chunks, and a patch",
	  512 * 65536 + 1,
	  { { 512, 512, 512 } },
	  1,
	  MIB,
	  10,
	  32768,
	  0,
	  1 },
	{ "a page within a tebibyte",
	  TIB,
	  { { TIB / 2 + 4096, 512, 4096 } },
	  1,
	  MIB,
	  24,
	  65535,
	  0,
	  1 },
	{ "the largest file", INT64_MAX, { { 4096, 512, 4096 } }, 1, MIB, 40, 8 * MIB - 1, 0, 1 },
};

static void check_cut(const struct cut *t)
{
	struct ck_chunks c;
	struct ck_chunk k;
	uint64_t n[3] = { 0 }, off = 0;

	ck_chunks_begin(&c, t->x, t->n_x, t->size, t->tar_len);
	assert_int_equal(c.bits, t->bits);
	while (ck_chunks_next(&c, &k)) {
		assert_int_equal(k.file_off, off);
		assert_true(k.len > 0 && k.len <= UINT64_C(1) << c.bits);
		off += k.len;
		n[k.kind]++;
		if (k.kind == CK_CHUNK_TAR) {
			assert_int_equal(k.tar_off % 512, 0);
			assert_int_equal(k.tar_off - t->x[0].tar_off,
					 k.file_off >= t->x[t->n_x - 1].file_off && t->n_x > 1
					     ? t->x[1].tar_off - t->x[0].tar_off + k.file_off -
						   t->x[1].file_off
					     : k.file_off - t->x[0].file_off);
		}
	}
	assert_int_equal(off, t->size);
	assert_int_equal(n[CK_CHUNK_HOLE], t->holes);
	assert_int_equal(n[CK_CHUNK_TAR], t->direct);
	assert_int_equal(n[CK_CHUNK_PATCH], t->patches);
	assert_int_equal(n[0] + n[1] + n[2], ck_chunks_count(&c));
}

static void test_cuts(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(cuts); i++) {
		print_message("# %s\n", cuts[i].why);
		check_cut(&cuts[i]);
	}
}

/* A file with more extents than MAX_CHUNKS may have as many chunks as that takes. */
static void test_many_extents(void **state)
{
	enum { N = 100000 };
	struct ck_extent *x = calloc(N, sizeof *x);
	struct ck_chunks c;
	struct ck_chunk k;

	(void)state;
	for (uint64_t i = 0; i < N; i++)
		x[i] = (struct ck_extent){ i * 8192, 512 + i * 4096, 4096 };
	ck_chunks_begin(&c, x, N, (uint64_t)N * 8192, TIB);
	assert_int_equal(ck_chunks_count(&c), 2 * N);
	for (uint64_t i = 0; ck_chunks_next(&c, &k); i++) {
		assert_int_equal(k.kind, i % 2 ? CK_CHUNK_HOLE : CK_CHUNK_TAR);
		if (i % 2 == 0)
			assert_int_equal(k.tar_off, 512 + i / 2 * 4096);
	}
	free(x);
}

/* Where the byte at OFF of the file is in the tar; UINT64_MAX: in a hole. */
static uint64_t byte_at(const struct ck_extent *x, size_t n, uint64_t off)
{
	for (size_t i = 0; i < n; i++)
		if (off >= x[i].file_off && off - x[i].file_off < x[i].len)
			return x[i].tar_off + (off - x[i].file_off);
	return UINT64_MAX;
}

static size_t random_extents(struct ck_extent *x, size_t max, uint64_t size, uint64_t *seed)
{
	uint64_t unit = (uint64_t[]){ 1, 100, 512, 512, 1024, 4096 }[mk_random(seed) % 6];
	uint64_t at = 0, tar = 512 * (mk_random(seed) % 4);
	size_t n = 0;

	while (n < max) {
		at += mk_random(seed) % 3 * unit * (mk_random(seed) % 9);
		uint64_t len = mk_random(seed) % 20 * unit;
		if (at >= size)
			break;
		x[n++] = (struct ck_extent){ at, tar, len < size - at ? len : size - at };
		at += x[n - 1].len;
		tar += x[n - 1].len + (mk_random(seed) % 4 == 0 ? 512 : 0);
	}
	return n;
}

/* Holes have no data, and what is in the tar is there byte by byte. */
static void test_random_cuts(void **state)
{
	enum { RUNS = 3000, MAX = 12 };
	size_t n_of[3] = { 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		uint64_t s = seed, size = 1 + mk_random(&s) % 60000;
		struct ck_extent x[MAX];
		size_t n = random_extents(x, MAX, size, &s);
		struct ck_chunks c;
		struct ck_chunk k;
		ck_chunks_begin(&c, x, (uint32_t)n, size, MIB);
		while (ck_chunks_next(&c, &k)) {
			n_of[k.kind]++;
			for (uint64_t i = 0; k.kind != CK_CHUNK_PATCH && i < k.len; i++)
				if (byte_at(x, n, k.file_off + i) !=
				    (k.kind == CK_CHUNK_TAR ? k.tar_off + i : UINT64_MAX))
					fail_msg("seed %" PRIu64 ": byte %" PRIu64, seed,
						 k.file_off + i);
		}
	}
	print_message("# %zu holes, %zu in the tar, %zu patches\n", n_of[0], n_of[1], n_of[2]);
	assert_true(n_of[0] > 1000 && n_of[1] > 1000 && n_of[2] > 1000);
}

/* One layer with one entry, made by hand. */
struct odd {
	struct ck_entry e;
	const char *xattr;
	size_t xattr_len, n_xattrs;
	struct ck_extent x[2];
	size_t n_x;
	uint64_t tar_len;
};

static void add_odd(struct world *w, const struct odd *o)
{
	static const char value[1 << 16];
	struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };
	struct ck_entry e = o->e;

	assert_works(ck_index_builder_new(&b, &err), &err);
	assert_works(ck_index_add_path(b, "some/name", &e.path, &err), &err);
	if (!e.mode)
		e.mode = S_IFREG | 0644;
	for (size_t i = 0; i < o->n_x; i++)
		assert_works(ck_index_add_extent(b, &o->x[i], &err), &err);
	for (size_t i = 0; o->xattr && i < (o->n_xattrs ? o->n_xattrs : 1); i++)
		assert_works(ck_index_add_xattr(b, o->xattr, value, o->xattr_len, &err), &err);
	assert_works(ck_index_add_entry(b, &e, &err), &err);
	ck_index_finish(b, &w->x[w->n]);
	ck_index_builder_free(b);
	w->tar_len[w->n++] = o->tar_len ? o->tar_len : 10240;
}

struct limit {
	const char *why;
	struct odd odd;
	int code;
	const char *says;
};

#define DEVICE(major, minor)                                                                       \
	{                                                                                          \
		.e = {.mode = S_IFCHR | 0600, .rdev_major = (major), .rdev_minor = (minor) }       \
	}
#define NAME_255                                                                                   \
	"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"    \
	"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"    \
	"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const struct limit limits[] = {
	{ "plain", { .e = { .size = 0 } }, 0, "" },
	{ "known prefix", { .xattr = "user.a", .xattr_len = 65535 }, 0, "" },
	{ "value too long", { .xattr = "user.a", .xattr_len = 65536 }, -ENOTSUP, "65536 bytes" },
	{ "name of 255", { .xattr = "user." NAME_255 }, 0, "" },
	{ "name too long", { .xattr = "user.n" NAME_255 }, -ENOTSUP, "the name of an attribute" },
	{ "unknown prefix", { .xattr = "system.nfs4_acl" }, -ENOTSUP, "such as system.nfs4_acl" },
	{ "no prefix", { .xattr = "com.apple" }, -ENOTSUP, "such as com.apple" },
	{ "prefix alone", { .xattr = "user." }, -ENOTSUP, "such as user." },
	{ "more than an ACL", { .xattr = "system.posix_acl_access2" }, -ENOTSUP, "acl_access2" },
	{ "most attributes", { .xattr = "user.a", .xattr_len = 65531 - 1, .n_xattrs = 3 }, 0, "" },
	/* 4 entries of 4 + 1 + 65529 bytes are 2 less than the most, 65530 more. */
	{ "the most in all", { .xattr = "user.a", .xattr_len = 65527, .n_xattrs = 4 }, 0, "" },
	{ "more in all",
	  { .xattr = "user.a", .xattr_len = 65531, .n_xattrs = 4 },
	  -ENOTSUP,
	  "its attributes are of 262144 bytes" },
	{ "largest device", DEVICE(4095, 1048575), 0, "" },
	{ "longest tar", { .tar_len = 2 * TIB - 512 }, 0, "" },
	{ "tar too long", { .tar_len = 2 * TIB - 511 }, -EFBIG, "layer 0 is a tar of" },
	{ "file that ends where the tar does",
	  { .e = { .size = 512 },
	    .x = { { 0, 2 * TIB - 1024, 512 } },
	    .n_x = 1,
	    .tar_len = 2 * TIB - 512 },
	  0,
	  "" },
	{ "longest patch",
	  { .e = { .size = 2 * TIB - 512 },
	    .x = { { 1, 0, 2 * TIB - 513 } },
	    .n_x = 1,
	    .tar_len = 2 * TIB - 512 },
	  0,
	  "" },
	{ "patch too long",
	  { .e = { .size = 2 * TIB - 511 },
	    .x = { { 1, 0, 2 * TIB - 512 } },
	    .n_x = 1,
	    .tar_len = 2 * TIB - 512 },
	  -EFBIG,
	  "too large a file" },
	{ "largest file", { .e = { .size = INT64_MAX } }, 0, "" },
};

static void test_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(limits); i++) {
		const struct limit *t = &limits[i];
		struct world *w = world_new();
		struct ck_err err = { 0 };
		print_message("# %s\n", t->why);
		add_odd(w, &t->odd);
		world_merge(w);
		int rc = world_build(w, &err);
		assert_fails(rc, t->code, &err, t->says);
		if (rc < 0 && !strstr(t->why, "tar too long"))
			assert_non_null(
			    strstr(err.msg, "/some/name does not fit in an EROFS image: "));
		assert_true((w->image != NULL) == (rc == 0));
		world_free(w);
	}
}

/* Five of the largest files take 64 MiB of indexes each. */
static void test_image_too_long(void **state)
{
	struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };
	struct world *w = world_new();
	char path[16];

	(void)state;
	assert_works(ck_index_builder_new(&b, &err), &err);
	for (int i = 0; i < 5; i++) {
		struct ck_entry e = { .mode = S_IFREG, .size = INT64_MAX };
		snprintf(path, sizeof path, "f%d", i);
		assert_works(ck_index_add_path(b, path, &e.path, &err), &err);
		assert_works(ck_index_add_entry(b, &e, &err), &err);
	}
	ck_index_finish(b, &w->x[w->n++]);
	ck_index_builder_free(b);
	world_merge(w);
	assert_fails(world_build(w, &err), -EFBIG, &err, "more than 256 MiB");
	world_free(w);
}

/* One file whose chunks fit, but not with the runs of its patches: these stop in time. */
static void test_patches_too_many(void **state)
{
	enum { N = 6000000 };
	struct ck_extent *x = calloc(N, sizeof *x);
	struct ck_entry e = {
		.path = { 0, 1 }, .mode = S_IFREG, .size = (uint64_t)N * 8192, .n_extents = N
	};
	struct ck_index layer = { .entries = &e,
				  .n_entries = 1,
				  .extents = x,
				  .n_extents = N,
				  .heap = "f",
				  .heap_len = 2 };
	const struct ck_index *index = &layer;
	uint64_t tar_len = MIB;
	struct ck_err err = { 0 };
	struct ck_tree *t = NULL;

	(void)state;
	assert_non_null(x);
	for (uint64_t i = 0; i < N; i++)
		x[i] = (struct ck_extent){ i * 8192 + 1, 512, 4 };
	assert_works(ck_tree_build(&t, &index, 1, CK_WHITEOUTS_APPLY, &err), &err);
	struct ck_plan p = { .tree = t, .index = &index, .tar_len = &tar_len, .n_layers = 1 };
	assert_fails(ck_plan_make(&p, &err), -EFBIG, &err, "more than 256 MiB");
	assert_true(p.inodes_len <= CK_EROFS_MAX_LEN);
	assert_true((p.patch.n - 1) * sizeof *p.patch.runs <= CK_EROFS_MAX_LEN - p.inodes_len);
	ck_plan_free(&p);
	ck_tree_free(t);
	free(x);
}

/* As many layers as there are devices, and no more. */
static void test_layers(void **state)
{
	enum { MANY = 65535 };
	struct world *w = world_new();
	const struct ck_index **index = calloc(MANY, sizeof(const struct ck_index *));
	uint64_t *tar_len = calloc(MANY, sizeof *tar_len);
	struct ck_err err = { 0 };

	(void)state;
	add_odd(w, &(struct odd){ .e = { .size = 512 }, .x = { { 1, 512, 511 } }, .n_x = 1 });
	world_merge(w);
	for (size_t i = 0; i < MANY; i++) {
		index[i] = w->index[0];
		tar_len[i] = 512 * (i + 3);
	}
	assert_fails(ck_erofs_plan(&w->image, w->tree, index, tar_len, MANY, &err), -ENOTSUP, &err,
		     "65535 devices, and there are 65535 layers");
	assert_works(ck_erofs_plan(&w->image, w->tree, index, tar_len, MANY - 1, &err), &err);
	world_write(w);
	const uint8_t *device = w->bytes + 1152 + (size_t)(MANY - 2) * 128;
	assert_string_equal((const char *)device, "65533.tar");
	assert_int_equal(device[64] | device[65] << 8 | device[66] << 16, MANY - 2 + 3);
	device += 128;
	assert_string_equal((const char *)device, "patch");
	assert_int_equal(device[64], 1);
	free(index);
	free(tar_len);
	world_free(w);
}

struct place {
	uint64_t off;
	uint64_t file_off, nbytes;
	const char *file; /* NULL: zeros */
};

/* Chunks 0 and 2 of one file, a whole one, and one chunk each of two files, the second of
 * which lies in its file where the first one ends in its own. */
static void test_patches(void **state)
{
	static const struct place places[] = {
		{ 0, 0, 4096, "a" },	   { 1, 1, 4095, "a" },	      { 4095, 4095, 1, "a" },
		{ 4096, 8192, 1000, "a" }, { 5095, 9191, 1, "a" },    { 5096, 0, 24, NULL },
		{ 5119, 0, 1, NULL },	   { 5120, 0, 700, "b" },     { 5819, 699, 1, "b" },
		{ 5820, 0, 324, NULL },	   { 6144, 4096, 4096, "c" }, { 10240, 8192, 4096, "d" },
		{ 14335, 12287, 1, "d" },
	};
	static const struct odd odd[] = {
		{ .e = { .size = 9192 }, .x = { { 100, 512, 100 }, { 8200, 1024, 92 } }, .n_x = 2 },
		{ .e = { .size = 700 }, .x = { { 1, 512, 699 } }, .n_x = 1 },
		{ .e = { .size = 8192 }, .x = { { 4097, 512, 99 } }, .n_x = 1 },
		{ .e = { .size = 12288 }, .x = { { 8193, 512, 99 } }, .n_x = 1 },
	};
	static const char *const names[] = { "a", "b", "c", "d" };
	struct ck_index_builder *b = NULL;
	struct ck_err err = { 0 };
	struct world *w = world_new();

	(void)state;
	assert_works(ck_index_builder_new(&b, &err), &err);
	for (size_t i = 0; i < N_OF(odd); i++) {
		struct ck_entry e = { .mode = S_IFREG, .size = odd[i].e.size };
		assert_works(ck_index_add_path(b, names[i], &e.path, &err), &err);
		for (size_t k = 0; k < odd[i].n_x; k++)
			assert_works(ck_index_add_extent(b, &odd[i].x[k], &err), &err);
		assert_works(ck_index_add_entry(b, &e, &err), &err);
	}
	ck_index_finish(b, &w->x[w->n]);
	ck_index_builder_free(b);
	w->tar_len[w->n++] = 10240;
	world_make(w);
	assert_int_equal(ck_erofs_patch_len(w->image), 14336);
	for (size_t i = 0; i < N_OF(places); i++) {
		struct ck_erofs_patch p;
		assert_true(ck_erofs_patch_find(w->image, places[i].off, &p));
		assert_int_equal(p.ino, places[i].file ? world_find(w, places[i].file) : 0);
		assert_int_equal(p.file_off, places[i].file_off);
		assert_int_equal(p.nbytes, places[i].nbytes);
	}
	assert_false(ck_erofs_patch_find(w->image, 14336, &(struct ck_erofs_patch){ 0 }));
	assert_false(ck_erofs_patch_find(w->image, UINT64_MAX, &(struct ck_erofs_patch){ 0 }));
	world_free(w);
}

static const uint8_t *image_of(struct world **w, mode_t mode, size_t *nbytes)
{
	*w = world_new();
	add_odd(*w, &(struct odd){
			.e = { .mode = mode, .size = 512 }, .x = { { 0, 512, 512 } }, .n_x = 1 });
	world_make(*w);
	*nbytes = (*w)->len;
	return (*w)->bytes;
}

/* The same input, the same bytes; another input, another UUID. */
static void test_same(void **state)
{
	struct world *a, *b, *c;
	size_t a_len, b_len, c_len;
	const uint8_t *pa = image_of(&a, S_IFREG | 0644, &a_len),
		      *pb = image_of(&b, S_IFREG | 0644, &b_len),
		      *pc = image_of(&c, S_IFREG | 0600, &c_len);

	(void)state;
	assert_int_equal(a_len, b_len);
	assert_memory_equal(pa, pb, a_len);
	assert_int_equal(a_len, c_len);
	assert_memory_not_equal(pa + 1024 + 48, pc + 1024 + 48, 16);
	world_free(a);
	world_free(b);
	world_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_random_cuts),
		cmocka_unit_test(test_many_extents),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_image_too_long),
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_patches),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_patches_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
