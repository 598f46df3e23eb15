#include "tar/pass.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "tar/cipher/chunked.h"
#include "tar/feed.h"
#include "tar/index/tarscan.h"
#include "tar/inflate/decoder.h"
#include "tar/pipe.h"

/* Of each kind: they keep both threads busy. */
enum { BLOCK = CK_INTAKE_BLOCK, N_BLOCKS = 4 };

/* How one side ended. */
struct outcome {
	int code;
	struct ck_err err;
};

struct pass {
	const struct ck_layer_spec *spec;
	struct ck_reader *blob;
	const struct ck_pass_tap *tap;
	struct ck_pass_result result;
	uint64_t in_len, out_len; /* bytes of the stream, compressed and not */
	struct ck_feed *feed;	  /* what is to be inflated */
	struct ck_pipe *tar;	  /* what came of it */
	struct outcome inflate, scan;
	/* Inflating: the block that the decoder is reading; or is to read first, after a look
	 * at what it holds. */
	struct ck_block *in_hand;
	bool peeked;
	/* Hashing and scanning */
	struct ck_block *tar_block;
	EVP_MD_CTX *diff_id;
	uint64_t tar_len;
	ck_progress_fn *progress;
	void *progress_ctx;
};

/* Inflating, on a thread of its own. */

static int pull_compressed(void *arg, const uint8_t **out, size_t *nbytes, struct ck_err *err)
{
	struct pass *p = arg;

	(void)err;
	if (p->in_hand && !p->peeked)
		ck_feed_done(p->feed, p->in_hand);
	if (!p->peeked)
		p->in_hand = ck_feed_take(p->feed);
	p->peeked = false;
	*out = p->in_hand ? p->in_hand->data : NULL;
	*nbytes = p->in_hand ? p->in_hand->len : 0;
	return 0;
}

static int inflate_all(struct pass *p, struct ck_err *err)
{
	const uint8_t *first = NULL;
	size_t n = 0;
	CK_AUTO(ck_decoder_closep) struct ck_decoder *d = NULL;
	int rc = pull_compressed(p, &first, &n, err);

	p->peeked = p->in_hand != NULL;
	if (rc == 0)
		rc = ck_decoder_open(&d, ck_compression_sniff(first, n), pull_compressed, p,
				     &p->result.units, err);
	while (rc == 0) {
		struct ck_block *b = ck_pipe_blank(p->tar);
		if (!b)
			return 0; /* the other side has its own reason */
		rc = ck_decoder_read(d, b->data, BLOCK, &b->len, err);
		p->out_len += b->len;
		if (rc < 0 || b->len == 0)
			ck_pipe_done(p->tar, b);
		else
			ck_pipe_push(p->tar, b);
		if (rc == 0 && b->len < BLOCK)
			break;
	}
	return rc;
}

static void *inflate_main(void *arg)
{
	struct pass *p = arg;

	p->inflate.code = inflate_all(p, &p->inflate.err);
	if (p->in_hand)
		ck_feed_done(p->feed, p->in_hand);
	ck_pipe_end(p->tar);
	return NULL;
}

/* Everything else, on the caller's thread. */

/* While there is nothing to scan, and at least once a block, the blob is taken in. */
static struct ck_block *next_tar(struct pass *p)
{
	while (ck_feed_ahead(p->feed) && !ck_pipe_ready(p->tar))
		;
	return ck_pipe_pop(p->tar);
}

static int pull_tar(void *arg, const uint8_t **out, size_t *nbytes, struct ck_err *err)
{
	struct pass *p = arg;

	if (p->tar_block)
		ck_pipe_done(p->tar, p->tar_block);
	p->tar_block = next_tar(p);
	*out = p->tar_block ? p->tar_block->data : NULL;
	*nbytes = p->tar_block ? p->tar_block->len : 0;
	p->tar_len += *nbytes;
	if (p->progress)
		p->progress(p->progress_ctx, ck_feed_through(p->feed), ck_reader_len(p->blob));
	if (*nbytes && !EVP_DigestUpdate(p->diff_id, *out, *nbytes))
		return ck_fail(err, -EIO, "SHA-256 failed");
	int rc = ck_windows_pack(p->result.units.recorded, err);
	if (rc < 0)
		return rc;
	if (*nbytes && p->tap && p->tap->tar)
		return p->tap->tar(p->tap->ctx, *out, *nbytes, err);
	return 0;
}

static int on_entry(void *arg, uint64_t header_off, uint64_t data_end, struct ck_err *err)
{
	const struct pass *p = arg;

	return p->tap->entry(p->tap->ctx, header_off, data_end, err);
}

/* What follows the archive's end still counts for the diff_id. */
static int drain(struct pass *p, struct ck_err *err)
{
	const uint8_t *at;
	size_t n;
	int rc;

	do
		rc = pull_tar(p, &at, &n, err);
	while (rc == 0 && n);
	return rc;
}

static int check_diff_id(struct pass *p, struct ck_err *err)
{
	uint8_t got[CK_SHA256_LEN];
	char is[CK_DIGEST_STR], want[CK_DIGEST_STR];

	if (!EVP_DigestFinal_ex(p->diff_id, got, NULL))
		return ck_fail(err, -EIO, "SHA-256 failed");
	if (memcmp(got, p->spec->diff_id, sizeof got) == 0)
		return 0;
	ck_digest_str(is, got);
	ck_digest_str(want, p->spec->diff_id);
	return ck_fail(
	    err, -EBADMSG,
	    "diff_id check failed: the tar stream is %s, the image's config says %s; the "
	    "layer is not the one this image was made of",
	    is, want);
}

static int scan_all(struct pass *p, struct ck_err *err)
{
	struct ck_err tar_err = { 0 };
	CK_AUTO(ck_index_builder_freep) struct ck_index_builder *b = NULL;

	p->diff_id = EVP_MD_CTX_new();
	if (!p->diff_id || !EVP_DigestInit_ex(p->diff_id, EVP_sha256(), NULL))
		return ck_nomem(err, "verifying a layer");
	int rc = ck_index_builder_new(&b, err);
	if (rc < 0)
		return rc;
	int tar_rc =
	    ck_tarscan(b, pull_tar, p->tap && p->tap->entry ? on_entry : NULL, p, &tar_err);
	rc = tar_rc < 0 && tar_rc != -EBADMSG ? tar_rc : drain(p, &tar_err);
	/* A stream that is not the right one explains a tar that is not well-formed. */
	if (rc == 0)
		rc = check_diff_id(p, err);
	else if (err)
		*err = tar_err;
	if (rc == 0 && tar_rc < 0) {
		*err = tar_err;
		rc = tar_rc;
	}
	if (rc == 0)
		ck_index_finish(b, &p->result.index);
	return rc;
}

static void scan(struct pass *p)
{
	p->scan.code = scan_all(p, &p->scan.err);
	if (p->tar_block)
		ck_pipe_done(p->tar, p->tar_block);
	ck_pipe_hangup(p->tar);
	EVP_MD_CTX_free(p->diff_id);
}

static int give(const struct outcome *o, struct ck_err *err)
{
	if (o->code < 0 && err)
		*err = o->err;
	return o->code;
}

/* The verdict on the blob comes before that on its contents, of which what failed first
 * caused the other. */
static int run(struct pass *p, struct ck_err *err)
{
	pthread_t inflate;

	if (pthread_create(&inflate, NULL, inflate_main, p) != 0)
		return ck_fail(err, -EAGAIN, "cannot start a thread");
	scan(p);
	pthread_join(inflate, NULL);
	int rc = ck_feed_finish(p->feed, err);
	if (rc == 0)
		rc = give(&p->inflate, err);
	return rc < 0 ? rc : give(&p->scan, err);
}

int ck_pass_run(struct ck_pass_result *out, const struct ck_layer_spec *spec,
		struct ck_reader *blob, const struct ck_pass_tap *tap, ck_progress_fn *progress,
		void *progress_ctx, struct ck_err *err)
{
	struct pass p = { .spec = spec,
			  .blob = blob,
			  .tap = tap,
			  .progress = progress,
			  .progress_ctx = progress_ctx };
	bool sealed = spec->key && spec->key->cipher == CK_CIPHER_CHUNKED;
	int rc;

	p.in_len = ck_reader_len(blob);
	if (sealed)
		rc = ck_chunked_plain_len(p.in_len, &p.in_len, err);
	else
		rc = ck_tags_init(&p.result.tags, p.in_len, err);
	if (rc == 0)
		rc = ck_feed_open(&p.feed, spec, blob, sealed ? NULL : &p.result.tags, N_BLOCKS,
				  tap ? tap->plain : NULL, tap ? tap->ctx : NULL, err);
	if (rc == 0)
		rc = ck_pipe_open(&p.tar, N_BLOCKS, BLOCK, err);
	if (rc == 0)
		rc = ck_windows_open(&p.result.units.recorded, err);
	if (rc == 0)
		rc = run(&p, err);
	if (rc == 0)
		rc = ck_units_finish(&p.result.units, p.out_len, p.in_len, err);
	if (rc == 0 && spec->wants)
		rc = ck_prefetch_fill(&p.result.index, p.out_len, spec->wants, err);
	ck_feed_close(p.feed);
	ck_pipe_close(p.tar);
	if (rc < 0)
		ck_pass_result_free(&p.result);
	else
		*out = p.result;
	return rc;
}

void ck_pass_result_free(struct ck_pass_result *r)
{
	ck_windows_apart_free(&r->apart);
	if (r->whole) {
		ck_tags_free_key(&r->tags);
		free(r->whole);
		*r = (struct ck_pass_result){ 0 };
		return;
	}
	ck_tags_free(&r->tags);
	ck_units_free(&r->units);
	ck_index_free(&r->index);
}
