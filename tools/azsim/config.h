/* config - the cloakfs configuration that reaches this simulator. */
#ifndef AZ_CONFIG_H
#define AZ_CONFIG_H

#include "tools/azsim/sim.h"

/* Appends it as JSON (a line of its own at the end). */
CK_MUST_CHECK int az_config_write(struct ck_buf *out, const struct az_sim *s, struct ck_err *err);

#endif
