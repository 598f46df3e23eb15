#include "tar/convert.h"

#include <errno.h>
#include <string.h>

#include "tar/embedded.h"
#include "tar/encryptor.h"
#include "tar/framer.h"
#include "tar/pass.h"
#include "tar/plain.h"
#include "tar/sealedblob.h"

struct convert {
	struct ck_encryptor *encryptor;
	struct ck_framer *framer; /* NULL: the compressed bytes stay */
};

static int to_encryptor(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_encryptor_write(((struct convert *)ctx)->encryptor, p, nbytes, err);
}

static int on_tar(void *ctx, const void *p, size_t nbytes, struct ck_err *err)
{
	return ck_framer_write(((struct convert *)ctx)->framer, p, nbytes, err);
}

static int on_entry(void *ctx, uint64_t header_off, uint64_t data_end, struct ck_err *err)
{
	return ck_framer_entry(((struct convert *)ctx)->framer, header_off, data_end, err);
}

static void convert_end(struct convert *c)
{
	ck_framer_close(c->framer);
	ck_encryptor_close(c->encryptor);
}

/* A seek table alone: anybody could have written an index that nothing authenticates. */
static int add_seektable(struct convert *c, struct ck_err *err)
{
	CK_BUF table = { 0 };
	size_t n;
	const struct ck_seek_frame *frames = ck_framer_frames(c->framer, &n);
	int rc = ck_seektable_write(&table, frames, n, err);

	return rc < 0 ? rc : ck_encryptor_write(c->encryptor, table.data, table.len, err);
}

/* WHAT's units are those of the source: the index tells of the frames instead. */
static int add_index(struct convert *c, const struct ck_pass_result *what,
		     const struct ck_layer_spec *spec, struct ck_converted *result,
		     struct ck_err *err)
{
	CK_BUF end = { 0 };
	size_t n;
	const struct ck_seek_frame *frames = ck_framer_frames(c->framer, &n);
	struct ck_pass_result own = { .index = what->index };
	int rc = ck_framer_units(c->framer, &own.units, err);

	if (rc == 0)
		rc = ck_embedded_write(&end, &own, spec->diff_id, frames, n, &result->index_len,
				       err);
	result->index_off = ck_encryptor_len(c->encryptor) + CK_SKIPPABLE_HEADER;
	if (rc == 0)
		rc = ck_encryptor_write(c->encryptor, end.data, end.len, err);
	ck_units_free(&own.units);
	return rc;
}

static bool is_sealed(const struct ck_blob_key *key)
{
	return key && key->cipher == CK_CIPHER_CHUNKED;
}

/*
 * A zstd stream that is sealed as it is may hold an index already, which from then on would
 * be believed; that of a sealed source was believed until now. It must be the right one.
 */
static int check_own_index(const struct ck_pass_result *what, const struct ck_layer_spec *spec,
			   struct ck_reader *blob, struct ck_err *err)
{
	CK_AUTO(ck_reader_closep) struct ck_reader *plain = NULL;
	int rc;

	if (what->units.compression != CK_COMPRESSION_ZSTD)
		return 0;
	if (is_sealed(spec->key))
		rc = ck_sealedblob_open(&plain, blob, spec->key, spec->media_type, spec->name, err);
	else
		rc = ck_plain_open(&plain, blob, spec->key, &what->tags, spec->name, err);
	return rc < 0 ? rc : ck_embedded_compare(plain, 0, spec->diff_id, what, err);
}

static int finish(struct convert *c, const struct ck_pass_result *what,
		  const struct ck_layer_spec *spec, const struct ck_conversion *how,
		  struct ck_converted *result, struct ck_err *err)
{
	int rc = c->framer ? ck_framer_end(c->framer, err) : 0;

	if (rc == 0 && c->framer)
		rc = is_sealed(how->key) ? add_index(c, what, spec, result, err)
					 : add_seektable(c, err);
	result->compression = c->framer ? CK_COMPRESSION_ZSTD : what->units.compression;
	result->tar_len = what->units.len;
	result->n_entries = what->index.n_entries;
	return rc < 0 ? rc : ck_encryptor_end(c->encryptor, result->hmac, err);
}

int ck_convert(struct ck_converted *result, const struct ck_layer_spec *spec,
	       struct ck_reader *blob, const struct ck_conversion *how, const struct ck_sink *out,
	       ck_progress_fn *progress, void *progress_ctx, struct ck_err *err)
{
	CK_AUTO(convert_end) struct convert c = { 0 };
	const struct ck_sink encryptor = { to_encryptor, &c };
	struct ck_pass_tap tap = { .ctx = &c };
	struct ck_pass_result what = { 0 };
	struct ck_converted r = { 0 };
	int rc = ck_encryptor_open(&c.encryptor, how->key, how->media_type, out, err);

	if (rc == 0 && how->recompress) {
		tap.tar = on_tar;
		tap.entry = on_entry;
		rc = ck_framer_open(&c.framer, how->level, how->pool, &encryptor, err);
	} else {
		tap.plain = to_encryptor;
	}
	if (rc == 0)
		rc = ck_pass_run(&what, spec, blob, &tap, progress, progress_ctx, err);
	if (rc == 0)
		rc = finish(&c, &what, spec, how, &r, err);
	if (rc == 0 && (is_sealed(spec->key) || (!c.framer && is_sealed(how->key))))
		rc = check_own_index(&what, spec, blob, err);
	ck_pass_result_free(&what);
	/* What was made of it is gone with it; the next try shall not meet the same copy. */
	if (rc == -EBADMSG)
		(void)ck_reader_refetch(blob, 0, ck_reader_len(blob));
	if (rc < 0)
		return ck_wrap(err, "%s", spec->name);
	*result = r;
	return 0;
}
