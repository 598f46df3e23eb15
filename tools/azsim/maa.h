/* maa - an attestation instance: its signing keys, opened once. Its handlers: routes.h. */
#ifndef AZ_MAA_H
#define AZ_MAA_H

#include "tools/azsim/sim.h"

/* Loads the keys of instance NAME from DIR/maa/, making what is missing. */
CK_MUST_CHECK int az_maa_open(struct az_maa_host *h, const char *dir, const char *name,
			      struct ck_err *err);
void az_maa_close(struct az_maa_host *h);

#endif
