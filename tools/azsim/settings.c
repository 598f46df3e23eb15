#include "tools/azsim/settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void az_settings_init(struct az_settings *s)
{
	static const char guest[] = "azsim guest image", policy[] = "azsim guest policy";

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	/* Any fixed value will do; a digest looks like the real thing. */
	EVP_Digest(guest, sizeof guest - 1, s->knobs.launch.measurement, NULL, EVP_sha384(), NULL);
	ck_sha256(s->knobs.launch.host_data, policy, sizeof policy - 1);
}

static int parse_u64(uint64_t *out, const char *s)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return isdigit((unsigned char)*s) && *end == 0 && errno == 0 ? 0 : -EINVAL;
}

static int set_fault(struct az_knobs *k, const char *endpoint, const char *value,
		     struct ck_err *err)
{
	enum az_endpoint e = az_endpoint_find(endpoint);
	char mode[32];
	const char *star = strchr(value, '*');
	size_t len = star ? (size_t)(star - value) : strlen(value);

	if (e == AZ_N_ENDPOINTS || e == AZ_HSM_RELEASE_REFUSED)
		return ck_fail(err, -EINVAL, "no endpoint \"%s\" takes faults", endpoint);
	if (len >= sizeof mode)
		return ck_fail(err, -EINVAL, "fault mode \"%s\" is too long", value);
	memcpy(mode, value, len);
	mode[len] = 0;
	if (strcmp(mode, "off") == 0) {
		k->faults[e].mode = NULL;
		return 0;
	}
	uint64_t left = UINT64_MAX;
	if (star && (parse_u64(&left, star + 1) < 0 || left == 0))
		return ck_fail(err, -EINVAL, "fault \"%s\": the count after * is not a number > 0",
			       value);
	int rc = az_fault_find(&k->faults[e].mode, e, mode, err);
	if (rc == 0)
		k->faults[e].left = left;
	return rc;
}

int az_knobs_set(struct az_knobs *k, const char *name, const char *value, struct ck_err *err)
{
	uint64_t n;

	if (strncmp(name, "fault.", 6) == 0)
		return set_fault(k, name + 6, value, err);
	if (strcmp(name, "measurement") == 0) {
		if (!ck_unhex(k->launch.measurement, AZ_MEASUREMENT_LEN, value))
			return ck_fail(err, -EINVAL, "measurement is not 96 hex digits");
	} else if (strcmp(name, "host-data") == 0) {
		if (!ck_unhex(k->launch.host_data, AZ_HOST_DATA_LEN, value))
			return ck_fail(err, -EINVAL, "host-data is not 64 hex digits");
	} else if (strcmp(name, "vmpl") == 0) {
		/* 4294967295 marks a report that the host asked for. */
		if (parse_u64(&n, value) < 0 || (n > 3 && n != UINT32_MAX))
			return ck_fail(err, -EINVAL, "vmpl is neither 0..3 nor 4294967295");
		k->launch.vmpl = (uint32_t)n;
	} else if (strcmp(name, "debug") == 0) {
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			return ck_fail(err, -EINVAL, "debug is neither true nor false");
		k->launch.debug = value[0] == 't';
	} else {
		return ck_fail(err, -EINVAL,
			       "there is no setting \"%s\": measurement, host-data, vmpl, debug or "
			       "fault.<endpoint>",
			       name);
	}
	return 0;
}

int az_settings_change(struct az_settings *s, const json_t *changes, struct ck_err *err)
{
	const char *name;
	json_t *value;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	struct az_knobs k = s->knobs;
	json_object_foreach ((json_t *)(uintptr_t)changes, name, value) {
		if (!json_is_string(value))
			rc = ck_fail(err, -EINVAL, "the value of \"%s\" is not a string", name);
		else
			rc = az_knobs_set(&k, name, json_string_value(value), err);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		s->knobs = k;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

struct az_launch az_settings_launch(struct az_settings *s)
{
	pthread_mutex_lock(&s->lock);
	struct az_launch l = s->knobs.launch;
	pthread_mutex_unlock(&s->lock);
	return l;
}

const struct az_fault_mode *az_settings_take_fault(struct az_settings *s, enum az_endpoint e)
{
	if (e >= AZ_N_ENDPOINTS)
		return NULL;
	pthread_mutex_lock(&s->lock);
	const struct az_fault_mode *m = s->knobs.faults[e].mode;
	if (m && s->knobs.faults[e].left != UINT64_MAX && --s->knobs.faults[e].left == 0)
		s->knobs.faults[e].mode = NULL;
	pthread_mutex_unlock(&s->lock);
	return m;
}

void az_settings_count(struct az_settings *s, enum az_endpoint e)
{
	if (e >= AZ_N_ENDPOINTS)
		return;
	pthread_mutex_lock(&s->lock);
	s->counters[e]++;
	pthread_mutex_unlock(&s->lock);
}

void az_settings_reset_counters(struct az_settings *s)
{
	pthread_mutex_lock(&s->lock);
	memset(s->counters, 0, sizeof s->counters);
	pthread_mutex_unlock(&s->lock);
}

static void add_fault(json_t *j, enum az_endpoint e, const char *mode, uint64_t left)
{
	char name[64], value[64];

	snprintf(name, sizeof name, "fault.%s", az_endpoint_name(e));
	if (left == UINT64_MAX)
		snprintf(value, sizeof value, "%s", mode);
	else
		snprintf(value, sizeof value, "%s*%" PRIu64, mode, left);
	json_object_set_new(j, name, json_string(value));
}

json_t *az_settings_json(struct az_settings *s, bool with_faults)
{
	pthread_mutex_lock(&s->lock);
	struct az_knobs k = s->knobs;
	pthread_mutex_unlock(&s->lock);

	char m[2 * AZ_MEASUREMENT_LEN + 1], h[2 * AZ_HOST_DATA_LEN + 1], v[16];
	ck_hex(m, k.launch.measurement, AZ_MEASUREMENT_LEN);
	ck_hex(h, k.launch.host_data, AZ_HOST_DATA_LEN);
	snprintf(v, sizeof v, "%" PRIu32, k.launch.vmpl);
	json_t *j = json_pack("{s:s,s:s,s:s,s:s}", "measurement", m, "host-data", h, "vmpl", v,
			      "debug", k.launch.debug ? "true" : "false");
	for (int e = 0; j && with_faults && e < AZ_N_ENDPOINTS; e++)
		if (k.faults[e].mode)
			add_fault(j, (enum az_endpoint)e, k.faults[e].mode->name, k.faults[e].left);
	return j;
}

json_t *az_settings_counters(struct az_settings *s)
{
	json_t *j = json_object();

	pthread_mutex_lock(&s->lock);
	for (int e = 0; j && e < AZ_N_ENDPOINTS; e++)
		json_object_set_new(j, az_endpoint_name((enum az_endpoint)e),
				    json_integer((json_int_t)s->counters[e]));
	pthread_mutex_unlock(&s->lock);
	return j;
}
