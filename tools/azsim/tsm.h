/*
 * tsm - the guest's evidence device: a mount that behaves as the kernel's
 * configfs-tsm report directory does (Documentation/ABI/testing/configfs-tsm).
 */
#ifndef AZ_TSM_H
#define AZ_TSM_H

#include "tools/azsim/amd.h"

struct az_tsm; /* opaque */

/*
 * Mounts on DIR (made where missing; a dead mount left there is removed) and serves
 * from a thread of its own. AMD and SETTINGS must outlive it. *OUT is the caller's
 * to stop. Errors: errnos of mkdir and of mounting.
 */
CK_MUST_CHECK int az_tsm_start(struct az_tsm **out, const char *dir, const struct az_amd *amd,
			       struct az_settings *settings, struct ck_err *err);
void az_tsm_stop(struct az_tsm *t); /* unmounts; NULL is allowed */

#endif
