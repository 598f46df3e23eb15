/*
 * localazure - azsim, run for one test program: started in a directory of its own with
 * three keys, told what to do, asked what it served, stopped. Anything that goes wrong
 * here fails the test.
 */
#ifndef CK_TEST_LOCALAZURE_H
#define CK_TEST_LOCALAZURE_H

#include <jansson.h>

#include "attest/attest.h"
#include "base/buf.h"

#define AZ_HSM "hsm1.managedhsm.azure.net"
#define AZ_MAA "sharedeus.eus.attest.azure.net"

/* Makes keys imagekey000 (3072), secondkey (2048) and notexportable. The program must
 * stand in BUILD/unit, azsim in BUILD. */
void localazure_start(void);
void localazure_stop(void);

/* azsim COMMAND --state DIR ARGS; its stdout is appended to OUT (may be NULL). */
void localazure(struct ck_buf *out, const char *command, const char *args);

/* azsim set CHANGES. */
void localazure_set(const char *changes);

/* Requests of ENDPOINT since "counters --reset". */
json_int_t localazure_count(const char *endpoint);

/* The path of NAME in azsim's state directory; valid until the next call. */
const char *localazure_path(const char *name);

/* Its evidence device's directory. */
const char *localazure_tsm_dir(void);

/* A client of its own, as cloakfs makes one of azsim's configuration; EVIDENCE instead of
 * the configuration's tsm_dir when not NULL, SEV_GUEST and CLIENT_ID as given. The
 * caller's to close. */
struct ck_attest *localazure_client(const char *evidence, const char *sev_guest,
				    const char *client_id);

/* One fault, what it leads to, and how long that may take (sanitizers get thrice). */
struct localazure_fault {
	const char *set; /* "<endpoint>=<mode>[*<count>]" */
	int rc;
	const char *says; /* in the message, where it fails */
	unsigned within_ms;
};

enum { QUICK = 3000, PATIENT = 8000, TIMEOUT = 13000 };

/*
 * Each of FAULTS in turn against a client of its own, that GETs key imagekey000; after
 * the last one, with the fault gone, the same client must succeed: a failure is not
 * remembered.
 */
void localazure_meet(const struct localazure_fault *faults, size_t n_faults, const char *evidence,
		     int (*get)(struct ck_attest *a, const struct ck_attest_key_id *id,
				EVP_PKEY **out, struct ck_err *err));

#endif
