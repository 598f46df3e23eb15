/*
 * settings - what the simulated machine is, what goes wrong, and what was asked:
 * the part of the simulator that `azsim set` and `azsim counters` reach.
 * Threads: any; one mutex inside.
 */
#ifndef AZ_SETTINGS_H
#define AZ_SETTINGS_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/azsim/fault.h"

enum { AZ_MEASUREMENT_LEN = 48, AZ_HOST_DATA_LEN = 32 };

/* What a report says of the guest. */
struct az_launch {
	uint8_t measurement[AZ_MEASUREMENT_LEN];
	uint8_t host_data[AZ_HOST_DATA_LEN];
	uint32_t vmpl; /* the guest's own level; also the floor of what it may ask for */
	bool debug;    /* the guest policy allows the host to debug it */
};

/* What may be set; plain data, so that a set of changes is made on a copy. */
struct az_knobs {
	struct az_launch launch;
	struct {
		const struct az_fault_mode *mode; /* NULL: none */
		uint64_t left;			  /* requests it still hits; UINT64_MAX: all */
	} faults[AZ_N_ENDPOINTS];
};

struct az_settings {
	pthread_mutex_t lock;
	struct az_knobs knobs;
	uint64_t counters[AZ_N_ENDPOINTS];
};

void az_settings_init(struct az_settings *s); /* the default guest, no faults, zero counters */

/*
 * Takes one NAME=VALUE change: measurement, host-data, vmpl, debug, or
 * fault.<endpoint>=<mode>[*<count>] ("off" clears). Errors: -EINVAL.
 */
CK_MUST_CHECK int az_knobs_set(struct az_knobs *k, const char *name, const char *value,
			       struct ck_err *err);

/* Makes all CHANGES (object of name: string value) or none. Errors: -EINVAL. */
CK_MUST_CHECK int az_settings_change(struct az_settings *s, const json_t *changes,
				     struct ck_err *err);

struct az_launch az_settings_launch(struct az_settings *s);

/* The fault that the next request of E meets, used up by this call; NULL: none. */
const struct az_fault_mode *az_settings_take_fault(struct az_settings *s, enum az_endpoint e);

void az_settings_count(struct az_settings *s, enum az_endpoint e);
void az_settings_reset_counters(struct az_settings *s);

/* New references, NULL when out of memory. The settings in the form that
 * az_settings_change takes; faults only when WITH_FAULTS. */
json_t *az_settings_json(struct az_settings *s, bool with_faults);
json_t *az_settings_counters(struct az_settings *s);

#endif
