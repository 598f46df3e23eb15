#include <unistd.h>

#include "base/file.h"
#include "fs/fuse/report.h"

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static void gather_layer(struct ck_report_layer *out, const struct ck_image_layer *l,
			 const struct ck_layer *open)
{
	static const char *const index[] = { [CK_LAYER_IN_FULL] = NULL,
					     [CK_LAYER_KEPT_INDEX] = "kept",
					     [CK_LAYER_OWN_INDEX] = "embedded" };
	enum ck_layer_proof proof = ck_layer_proof(open);

	*out = (struct ck_report_layer){
		.digest = l->digest_str,
		.media_type = or_empty(l->media_type),
		.compression = ck_layer_compression(open),
		.verified = proof == CK_LAYER_IN_FULL ? "full" : "chunks",
		.index = index[proof],
		.encrypted = l->encrypted,
		.sealed = ck_layer_sealed(open),
		.blob_size = l->size,
		.tar_size = ck_layer_len(open),
		.bytes_fetched = ck_layer_fetched(open),
		.bytes_moved = CK_REPORT_NONE,
		.bytes_kept = CK_REPORT_NONE,
		.prefetch_ranges = ck_layer_index(open)->n_prefetch,
	};
	for (size_t i = 0; i < out->prefetch_ranges; i++)
		out->prefetch_bytes += ck_layer_index(open)->prefetch[i].len;
}

/* The layers, and what they add up to. */
static void gather_layers(struct ck_report *r, const struct ck_stack *s,
			  struct ck_remote *const *remotes)
{
	r->n_layers = s->image->n_layers;
	r->verification_failures = 0;
	for (size_t i = 0; i < r->n_layers; i++) {
		struct ck_report_layer *l = &r->layers[i];
		gather_layer(l, &s->image->layers[i], s->layers[i]);
		r->bytes_fetched += l->bytes_fetched;
		r->verification_failures += ck_layer_n_wrong(s->layers[i]);
		if (!remotes || !remotes[i])
			continue;
		l->bytes_moved = ck_remote_fetched(remotes[i]);
		l->bytes_kept = ck_remote_kept(remotes[i]);
		r->network.bytes_kept += l->bytes_kept;
	}
}

static uint64_t or_none(uint64_t n)
{
	return n ? n : CK_REPORT_NONE;
}

static void gather_network(struct ck_report *r, struct ck_net *net,
			   const struct ck_prefetch_progress *prefetch)
{
	struct ck_report_network *n = &r->network;
	struct ck_net_stats s;

	ck_net_stats(net, &s);
	r->has_network = true;
	n->requests = s.requests;
	n->retries = s.retries;
	n->bytes_fetched = s.bytes_fetched;
	n->bytes_from_cache = s.bytes_kept;
	n->refetches = s.refetched;
	n->failed = s.failed;
	n->round_trip_us = or_none(s.wait_us);
	n->bytes_per_s = or_none(s.rate);
	if (prefetch) {
		n->prefetch_done = atomic_load(&prefetch->done);
		n->prefetch_total = atomic_load(&prefetch->total);
	}
}

int ck_report_gather(struct ck_report *out, const struct ck_report_source *source,
		     char last_error[CK_LAST_ERROR], struct ck_err *err)
{
	const struct ck_stack *s = source->stack;
	struct ck_counters *c = source->counters;
	struct ck_unitcache_stats cache;
	uint64_t now = ck_now_ms();
	time_t failed_at = ck_counters_last_error(c, last_error, CK_LAST_ERROR);

	ck_unitcache_stats(s->cache, &cache);
	struct ck_report r = {
		.view = source->view,
		.pid = (uint64_t)getpid(),
		.mounted_at = source->mounted_at,
		.uptime_s = (now - source->mounted_ms) / 1000,
		.key_age_s = s->keys_ms ? (now - s->keys_ms) / 1000 : CK_REPORT_NONE,
		.bytes_served = atomic_load(&c->bytes_served),
		.reads = atomic_load(&c->reads),
		.reads_failed = atomic_load(&c->reads_failed),
		.last_error = failed_at ? last_error : NULL,
		.last_error_at = failed_at ? (uint64_t)failed_at : CK_REPORT_NONE,
		.key_releases = s->n_released,
		.unit_cache = { cache.bytes, cache.max_bytes, cache.hits, cache.misses,
				cache.evictions },
		.layers = calloc(s->image->n_layers + 1, sizeof *r.layers),
	};
	if (!r.layers)
		return ck_nomem(err, "writing a report");
	gather_layers(&r, s, source->remotes);
	if (source->net)
		gather_network(&r, source->net, source->prefetch);
	*out = r;
	return 0;
}
