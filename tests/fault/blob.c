#include <stdio.h>

#include "tests/fault/answer.h"

void fr_send_blob(struct fr_exchange *x, const char *repo, const char *digest)
{
	struct fr_answer a = { .status = 200, .type = "application/octet-stream", .ranges = true };

	if (!fr_store_blob(x->server->store, repo, digest, &a.bytes)) {
		fr_answer_error(x, 404, "BLOB_UNKNOWN", "blob unknown to registry");
		return;
	}
	if (x->f.swap && !fr_store_other(x->server->store, repo, digest, &a.other))
		a.other.len = 0;
	fr_append(
	    a.headers, sizeof a.headers,
	    "Docker-Content-Digest: %s\r\nEtag: \"%s\"\r\nCache-Control: max-age=31536000\r\n",
	    digest, digest);
	fr_answer(x, &a);
	fr_bytes_close(&a.bytes);
	if (a.other.len)
		fr_bytes_close(&a.other);
}
