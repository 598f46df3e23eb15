/* regstand - what the tests of the registry client share: a registry of one blob that does wrong as
 * told. What goes wrong here fails the test. */
#ifndef CK_TEST_REGSTAND_H
#define CK_TEST_REGSTAND_H

#include "tests/unit/lib/unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "fs/registry/registry.h"
#include "tests/unit/lib/stubhttpd.h"

enum { BLOB_LEN = 100000, SCRIPT_MAX = 64 };

/* A server and what it does. Its answers run one at a time, so tests change it between calls. */
struct stand {
	struct stub *s;
	const char *script[SCRIPT_MAX]; /* what becomes of the next requests for the blob */
	size_t n_script;
	char said[4096];       /* the last request's lines */
	char auth[1024];       /* its Authorization, "" where it had none */
	bool no_manifest;      /* it knows no manifests */
	const char *needs;     /* the Authorization that it wants; NULL: none */
	const char *challenge; /* the headers of its 401 */
	const char *token;     /* the body of its token service */
	char token_auth[1024]; /* what that was sent */
	unsigned n_refused;
};

/* Of BLOB_LEN bytes; the digests as text, too. Made by stand_group_setup. */
extern uint8_t blob[BLOB_LEN], blob_digest[CK_SHA256_LEN];
extern char blob_str[CK_DIGEST_STR], manifest_str[CK_DIGEST_STR], tmp_dir[];
extern const char manifest[];

/* What a fetch gave. */
struct taken {
	uint8_t bytes[BLOB_LEN];
	bool has[BLOB_LEN];
	uint64_t n, last_off;
	int fail;
	atomic_bool cancel, cancel_at_data;
};

int stand_group_setup(void **state);
int stand_group_teardown(void **state);
void stand_open(struct stand *st);
void stand_close(struct stand *st);
/* Sets what becomes of the next requests for the blob: N times ACT. */
void script_all(struct stand *st, const char *act, size_t n);
void script(struct stand *st, const char *const *acts, size_t n);

#define SCRIPT(st, ...)                                                                            \
	do {                                                                                       \
		const char *const acts_[] = { __VA_ARGS__ };                                       \
		script(st, acts_, N_OF(acts_));                                                    \
	} while (0)

/* The last request that ST got; valid until the next call. */
const char *said(struct stand *st);

/* A file under the test's directory; its path lives until some dozens of calls later. */
const char *tmp_path(const char *name);

void tmp_file(const char *name, const char *text);

/* A client of ST that nothing of this machine's configuration reaches. */
struct ck_registry *client_of(struct stand *st, struct ck_registry_opts o);

int take(void *ctx, uint64_t off, const void *p, size_t nbytes, struct ck_err *err);

struct ck_registry_want want_of(uint64_t off, uint64_t len);

void assert_has(const struct taken *t, uint64_t off, uint64_t len);

#endif
