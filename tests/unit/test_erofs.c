/* What EROFS's chunks can say of a file, what becomes a patch, and what EROFS has no form for. */
#include <errno.h>
#include <sys/stat.h>

#include "fs/erofs/chunks.h"
#include "fs/erofs/metadata.h"
#include "tests/unit/lib/unit.h"

enum { KIB = 1024, MAX_EXTENTS = 4 };

/* H: a hole, T: of the tar, P: a patch. */
static const struct row {
	const char *what;
	uint64_t size;
	struct ck_extent x[MAX_EXTENTS];
	uint32_t n;
	uint64_t chunk_len;
	const char *kinds;
} rows[] = {
	{ "empty", 0, { { 0 } }, 0, 512, "" },
	{ "of one block", 512, { { 0, 1024, 512 } }, 1, 512, "T" },
	{ "in one chunk", 5000000, { { 0, 512, 5000000 } }, 1, 8192 * KIB, "T" },
	{ "all hole", 100000, { { 0 } }, 0, 128 * KIB, "H" },
	{ "a hole in front", 8192, { { 4096, 512, 4096 } }, 1, 4096, "HT" },
	{ "a hole behind", 3 * 4096, { { 0, 512, 4096 } }, 1, 4096, "THH" },
	{ "an end in mid-block", 4100, { { 0, 512, 4096 }, { 4096, 9216, 4 } }, 2, 4096, "TT" },
	{ "from mid-block", 9000, { { 700, 512, 100 } }, 1, 4096, "PHH" },
	{ "in mid-block of the tar", 5000, { { 0, 700, 5000 } }, 1, 4096, "PP" },
	{ "two in a chunk", 4096, { { 0, 512, 5 }, { 700, 1024, 5 } }, 2, 4096, "P" },
};

static void test_chunks(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		const struct row *r = &rows[i];
		const struct ck_entry e = { .size = r->size, .mode = S_IFREG, .n_extents = r->n };
		const struct ck_index index = { .extents = r->x, .n_extents = r->n };
		struct ck_chunks c;
		uint32_t extent = 0;
		char kinds[16] = "";
		ck_chunks_plan(&c, &index, &e);
		assert_true(c.n < sizeof kinds);
		for (uint64_t k = 0; k < c.n; k++) {
			uint64_t off = 0;
			enum ck_chunk_kind kind = ck_chunks_at(&c, k, &extent, &off);
			kinds[k] = "HTP"[kind];
			if (kind == CK_CHUNK_TAR)
				assert_int_equal(off % 512, 0);
		}
		if (ck_chunks_len(&c) != r->chunk_len || strcmp(kinds, r->kinds) != 0)
			fail_msg("%s: chunks of %llu: %s", r->what,
				 (unsigned long long)ck_chunks_len(&c), kinds);
	}
}

/* A tebibyte with data all over it is not divided as finely as they lie. */
static void test_bounded(void **state)
{
	static struct ck_extent x[1000];
	const struct ck_entry e = { .size = (uint64_t)1 << 40, .mode = S_IFREG, .n_extents = 1000 };
	const struct ck_index index = { .extents = x, .n_extents = 1000 };
	struct ck_chunks c;
	uint32_t extent = 0;
	size_t n_patches = 0;
	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		x[i] = (struct ck_extent){ i << 30 | 512, 512 * (i + 1), 512 };
	ck_chunks_plan(&c, &index, &e);
	assert_int_equal(c.n, 1 << 16);
	for (uint64_t k = 0, off; k < c.n; k++)
		n_patches += ck_chunks_at(&c, k, &extent, &off) == CK_CHUNK_PATCH;
	assert_int_equal(n_patches, 1000);
}

/* A tree of the root and one file in it. */
struct stand {
	struct ck_index index;
	struct ck_entry file;
	struct ck_node nodes[3];
	struct ck_dirent dirent;
	struct ck_tree t;
};

static void make(struct stand *s, const char *heap, const struct ck_extent *x, uint32_t n_x,
		 uint64_t size)
{
	*s = (struct stand){ .index = { .heap = heap, .extents = x, .n_extents = n_x },
			     .file = { .size = size, .mode = S_IFREG | 0644, .n_extents = n_x },
			     .dirent = { "file", 4, 2 } };
	s->nodes[1] = (struct ck_node){ .nlink = 2, .parent = 1, .n_children = 1 };
	s->nodes[2] = (struct ck_node){ .entry = &s->file, .nlink = 1, .parent = 1 };
	s->t = (struct ck_tree){
		.nodes = s->nodes, .n_nodes = 2, .dirents = &s->dirent, .n_dirents = 1
	};
}

static int build(struct ck_erofs **out, const struct stand *s, uint64_t tar_len, size_t n_layers,
		 struct ck_err *err)
{
	const struct ck_index **index = calloc(n_layers, sizeof *index);
	uint64_t *len = calloc(n_layers, sizeof *len);

	assert_true(index && len);
	for (size_t i = 0; i < n_layers; i++) {
		index[i] = &s->index;
		len[i] = tar_len;
	}
	int rc = ck_erofs_build(out, &s->t, index, len, n_layers, err);
	free(index);
	free(len);
	return rc;
}

static void test_patches(void **state)
{
	static const struct ck_extent x[] = { { 700, 512, 100 }, { 20000, 1024, 10 } };
	CK_AUTO(ck_erofs_closep) struct ck_erofs *e = NULL;
	struct ck_err err = { 0 };
	struct stand s;
	uint64_t file_off, len;
	size_t nbytes;
	ck_ino ino;
	(void)state;
	make(&s, "", x, 2, 20050);
	assert_works(build(&e, &s, 8192, 1, &err), &err);
	assert_non_null(ck_erofs_bytes(e, &nbytes));
	assert_int_equal(nbytes % 512, 0);
	/* The first chunk, and the last one, which the file ends in. */
	assert_int_equal(ck_erofs_patches_len(e), 4096 + 4096);
	assert_true(ck_erofs_patch_at(e, 0, &ino, &file_off, &len));
	assert_true(ino == 2 && file_off == 0 && len == 4096);
	assert_true(ck_erofs_patch_at(e, 4095, &ino, &file_off, &len));
	assert_true(ino == 2 && file_off == 4095 && len == 1);
	assert_true(ck_erofs_patch_at(e, 4096, &ino, &file_off, &len));
	assert_true(ino == 2 && file_off == 16384 && len == 20050 - 16384);
	assert_false(ck_erofs_patch_at(e, 4096 + 20050 - 16384, &ino, &file_off, &len));
	assert_int_equal(len, 4096 - (20050 - 16384));
}

static void test_refused(void **state)
{
	static const char heap[] = "btrfs.a\0user.b";
	static const struct ck_xattr xattrs[] = { { { 0, 7 }, { 0, 1 } },
						  { { 8, 6 }, { 0, 70000 } } };
	static const struct ck_extent x = { 0, 512, 100 };
	struct ck_erofs *e = NULL;
	struct ck_err err = { 0 };
	struct stand s;
	(void)state;
	make(&s, heap, &x, 1, 100);
	assert_fails(build(&e, &s, (uint64_t)512 << 32, 1, &err), -ENOTSUP, &err,
		     "layer 0 is too large");
	assert_fails(build(&e, &s, 1024, 20000, &err), -ENOTSUP, &err, "20000 layers");
	s.index.xattrs = xattrs;
	s.index.n_xattrs = 2;
	s.file.n_xattrs = 1;
	assert_fails(build(&e, &s, 1024, 1, &err), -ENOTSUP, &err, "/file: EROFS has no form for");
	s.file.first_xattr = 1;
	assert_fails(build(&e, &s, 1024, 1, &err), -ENOTSUP, &err, "user.b is too long");
	s.file.n_xattrs = 0;
	s.file.size = UINT64_MAX / 2; /* there is no larger one */
	assert_works(build(&e, &s, 1024, 1, &err), &err);
	ck_erofs_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_patches),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
