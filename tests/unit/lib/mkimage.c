#include "tests/unit/lib/mkimage.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "tests/unit/lib/unit.h"

#define CONFIG "application/vnd.oci.image.config.v1+json"
#define LAYER  "application/vnd.oci.image.layer.v1.tar"

void mkimage_layer(char out[64], unsigned seed, size_t idx)
{
	snprintf(out, 64, "image %u, layer %zu: some bytes", seed, idx);
}

static int add_layer(struct ck_image_writer *w, unsigned seed, size_t idx, struct ck_buf *manifest,
		     struct ck_buf *diff_ids, struct ck_err *err)
{
	CK_AUTO(ck_new_blob_dropp) struct ck_new_blob *b = NULL;
	uint8_t digest[32];
	char text[64], name[CK_DIGEST_STR];
	uint64_t size = 0;

	mkimage_layer(text, seed, idx);
	int rc = ck_new_blob_open(&b, w, err);
	/* In two pieces. */
	if (rc == 0)
		rc = ck_new_blob_write(b, text, 5, err);
	if (rc == 0)
		rc = ck_new_blob_write(b, text + 5, strlen(text) - 5, err);
	if (rc == 0)
		rc = ck_new_blob_end(b, digest, &size, err);
	if (rc < 0)
		return rc;
	assert_int_equal(size, strlen(text));
	ck_digest_str(name, digest);
	assert_int_equal(ck_buf_addf(manifest, NULL,
				     "%s{\"mediaType\":\"" LAYER
				     "\",\"digest\":\"%s\",\"size\":%zu}",
				     idx ? "," : "", name, strlen(text)),
			 0);
	assert_int_equal(ck_buf_addf(diff_ids, NULL, "%s\"%s\"", idx ? "," : "", name), 0);
	return 0;
}

int mkimage_blobs(struct ck_image_writer *w, unsigned seed, size_t n_layers,
		  struct ck_buf *manifest, struct ck_err *err)
{
	CK_BUF layers = { 0 }, diff_ids = { 0 }, config = { 0 };
	uint8_t digest[32];
	char name[CK_DIGEST_STR];

	for (size_t i = 0; i < n_layers; i++) {
		int rc = add_layer(w, seed, i, &layers, &diff_ids, err);
		if (rc < 0)
			return rc;
	}
	assert_int_equal(ck_buf_addf(&config, NULL,
				     "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{"
				     "\"type\":\"layers\",\"diff_ids\":[%s]}}",
				     ck_buf_str(&diff_ids)),
			 0);
	int rc = ck_image_writer_put(w, config.data, config.len, digest, err);
	if (rc < 0)
		return rc;
	ck_digest_str(name, digest);
	assert_int_equal(ck_buf_addf(manifest, NULL,
				     "{\"schemaVersion\":2,\"mediaType\":\"" CK_MEDIA_MANIFEST
				     "\",\"config\":{\"mediaType\":\"" CONFIG
				     "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[%s]}",
				     name, config.len, ck_buf_str(&layers)),
			 0);
	return 0;
}

int mkimage_write(const char *ref, unsigned seed, size_t n_layers, uint8_t digest[32],
		  struct ck_err *err)
{
	CK_AUTO(ck_image_writer_closep) struct ck_image_writer *w = NULL;
	CK_BUF manifest = { 0 };

	int rc = ck_image_writer_open(&w, ref, NULL, err);
	if (rc == 0)
		rc = mkimage_blobs(w, seed, n_layers, &manifest, err);
	if (rc == 0)
		rc = ck_image_writer_commit(w, manifest.data, manifest.len, CK_MEDIA_MANIFEST, NULL,
					    digest, err);
	return rc;
}

static void list_one(struct ck_buf *out, const char *path, const char *name)
{
	CK_BUF text = { 0 };
	uint8_t digest[32];
	char hex[65] = "", target[PATH_MAX] = "";
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	if (S_ISREG(st.st_mode)) {
		assert_int_equal(ck_file_read(&text, path, NULL), 0);
		ck_sha256(digest, ck_buf_str(&text), text.len);
		ck_hex(hex, digest, 32);
	} else if (S_ISLNK(st.st_mode)) {
		assert_true(readlink(path, target, sizeof target - 1) > 0);
	}
	assert_int_equal(ck_buf_addf(out, NULL, "%s %o %s%s\n", name, st.st_mode, hex, target), 0);
}

static void list_below(struct ck_buf *out, const char *dir, size_t base)
{
	struct dirent **names;
	char path[PATH_MAX];
	int n = scandir(dir, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < PATH_MAX);
			list_one(out, path, path + base);
			if (names[i]->d_type == DT_DIR)
				list_below(out, path, base);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

void mkimage_list(struct ck_buf *out, const char *dir)
{
	list_below(out, dir, strlen(dir) + 1);
}

void mkimage_check_names(const char *dir)
{
	CK_BUF list = { 0 };
	char *save, *line;

	mkimage_list(&list, dir);
	for (char *s = (char *)list.data; s && (line = strtok_r(s, "\n", &save)); s = NULL) {
		char name[512], hex[512] = "";
		uint8_t raw[32];
		unsigned mode;
		assert_true(sscanf(line, "%511s %o %511s", name, &mode, hex) >= 2);
		const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
		if (ck_unhex(raw, 32, last) && strcmp(last, hex) != 0)
			fail_msg("%s is not whole", name);
	}
}
