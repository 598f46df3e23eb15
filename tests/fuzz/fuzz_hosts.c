/*
 * Fuzz: any bytes as a hosts.toml. What is taken has URLs with http or https, headers of one line,
 * and absolute paths.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fs/registry/hosts.h"
#include "fs/registry/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_entry(const struct ck_hosts_entry *e)
{
	if (e->url && strncmp(e->url, "http://", 7) != 0 && strncmp(e->url, "https://", 8) != 0)
		abort();
	if (!e->cert_file != !e->key_file || (e->cert_file && e->cert_file[0] != '/'))
		abort();
	for (size_t i = 0; i < e->n_headers; i++)
		if (strpbrk(e->headers[i], "\r\n"))
			abort();
	if (e->can > CK_CAN_ALL)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *copy = malloc(len ? len : 1); /* exact size, so ASan sees over-reads */
	struct ck_hosts h;
	json_t *j = NULL;

	if (!copy)
		abort();
	memcpy(copy, data, len);
	if (ck_toml_parse(&j, copy, len, "f", NULL) == 0) {
		if (!json_is_object(j))
			abort();
		json_decref(j);
		/* Certificates are read, from a directory that is not there. */
		if (ck_hosts_parse(&h, copy, len, "/nowhere", "f", NULL) == 0) {
			check_entry(&h.server);
			for (size_t i = 0; i < h.n_mirrors; i++)
				check_entry(&h.mirrors[i]);
			ck_hosts_free(&h);
		}
	}
	free(copy);
	return 0;
}
