#include "tools/cloakfs/prefetch.h"

#include "base/log.h"

int ck_prefetch_open(struct ck_prefetch *p, const char *file, const struct ck_image *image,
		     struct ck_err *err)
{
	if (!file)
		return 0;
	p->file = file;
	p->n_layers = image->n_layers;
	int rc = ck_trace_read(&p->trace, file, err);
	return rc < 0 ? rc : ck_trace_wants(&p->wants, &p->trace, p->n_layers, err);
}

void ck_prefetch_close(struct ck_prefetch *p)
{
	free(p->wants);
	ck_trace_free(&p->trace);
}

void ck_prefetch_tell(const struct ck_prefetch *p)
{
	size_t n_missing = p->trace.n, n_unplaced = 0;

	if (!p->wants)
		return;
	for (size_t i = 0; i < p->n_layers; i++) {
		const struct ck_wants *w = &p->wants[i];
		n_missing -= w->n - w->n_missing; /* what is of no layer at all stays */
		n_unplaced += w->placed ? 0 : w->n;
		if (w->cut)
			ck_log(CK_LOG_INFO,
			       "note: layer %zu: an index takes %d ranges to prefetch, and %s has "
			       "more",
			       i, CK_PREFETCH_MAX, p->file);
	}
	if (n_missing)
		ck_log(CK_LOG_INFO, "note: %zu of %zu entries of %s are not in the image",
		       n_missing, p->trace.n, p->file);
	if (n_unplaced)
		ck_log(CK_LOG_INFO,
		       "note: %zu of %zu entries of %s are of layers whose index is not made here",
		       n_unplaced, p->trace.n, p->file);
}
