#include "tools/azsim/fault.h"

#include <errno.h>
#include <string.h>

static const char *const endpoint_names[AZ_N_ENDPOINTS] = {
	[AZ_IMDS_TOKEN] = "imds_token",
	[AZ_THIM] = "thim",
	[AZ_AAD_TOKEN] = "aad_token",
	[AZ_MAA_DISCOVERY] = "maa_discovery",
	[AZ_MAA_CERTS] = "maa_certs",
	[AZ_MAA_ATTEST] = "maa_attest",
	[AZ_HSM_CREATE] = "hsm_create",
	[AZ_HSM_IMPORT] = "hsm_import",
	[AZ_HSM_GET] = "hsm_get",
	[AZ_HSM_RELEASE] = "hsm_release",
	[AZ_HSM_RELEASE_REFUSED] = "hsm_release_refused",
	[AZ_TSM_REPORT] = "tsm_report",
};

#define AT(e) (1u << (e))
#define HTTP                                                                                       \
	(AT(AZ_IMDS_TOKEN) | AT(AZ_THIM) | AT(AZ_AAD_TOKEN) | AT(AZ_MAA_DISCOVERY) |               \
	 AT(AZ_MAA_CERTS) | AT(AZ_MAA_ATTEST) | AT(AZ_HSM_CREATE) | AT(AZ_HSM_IMPORT) |            \
	 AT(AZ_HSM_GET) | AT(AZ_HSM_RELEASE))
#define ATTEST	AT(AZ_MAA_ATTEST)
#define RELEASE AT(AZ_HSM_RELEASE)

static const struct az_fault_mode modes[] = {
	{ "400", AZ_STATUS, 400, HTTP },
	{ "401", AZ_STATUS, 401, HTTP },
	{ "403", AZ_STATUS, 403, HTTP },
	{ "404", AZ_STATUS, 404, HTTP },
	{ "408", AZ_STATUS, 408, HTTP },
	{ "410", AZ_STATUS, 410, AT(AZ_IMDS_TOKEN) },
	{ "429", AZ_STATUS, 429, HTTP },
	{ "500", AZ_STATUS, 500, HTTP },
	{ "503", AZ_STATUS, 503, HTTP },
	{ "invalidtoken500", AZ_STATUS, 500, AT(AZ_IMDS_TOKEN) },
	{ "hang", AZ_HANG, 0, HTTP },
	{ "reset", AZ_RESET, 0, HTTP },
	{ "truncate", AZ_TRUNCATE, 0, HTTP },
	{ "oversize", AZ_OVERSIZE, 0, HTTP },
	{ "notjson", AZ_NOTJSON, 0, HTTP },
	{ "badsig", AZ_BADSIG, 0, ATTEST | RELEASE | AT(AZ_TSM_REPORT) },
	{ "algnone", AZ_ALGNONE, 0, ATTEST | RELEASE },
	{ "hs256", AZ_HS256, 0, ATTEST },
	{ "algswap", AZ_HS256, 0, RELEASE },
	{ "wrongkid", AZ_WRONGKID, 0, ATTEST | RELEASE },
	{ "expired", AZ_EXPIRED, 0, ATTEST },
	{ "future", AZ_FUTURE, 0, ATTEST },
	{ "wrongiss", AZ_WRONGISS, 0, ATTEST },
	{ "wrongkey", AZ_WRONGKEY, 0, ATTEST },
	{ "wrongreportdata", AZ_WRONGREPORTDATA, 0, ATTEST },
	{ "debuggable", AZ_DEBUGGABLE, 0, ATTEST },
	{ "rotate", AZ_ROTATE, 0, AT(AZ_MAA_CERTS) },
	{ "expiredleaf", AZ_EXPIREDLEAF, 0, RELEASE },
	{ "sanmismatch", AZ_SANMISMATCH, 0, RELEASE },
	{ "unknownroot", AZ_UNKNOWNROOT, 0, RELEASE },
	{ "nox5c", AZ_NOX5C, 0, RELEASE },
	{ "nononce", AZ_NONONCE, 0, RELEASE | ATTEST },
	{ "wrongnonce", AZ_WRONGNONCE, 0, RELEASE | ATTEST },
	{ "shortct", AZ_SHORTCT, 0, RELEASE },
	{ "badkwp", AZ_BADKWP, 0, RELEASE },
	{ "otherkey", AZ_OTHERKEY, 0, RELEASE },
	{ "keymismatch", AZ_KEYMISMATCH, 0, RELEASE },
	{ "notrsa", AZ_NOTRSA, 0, RELEASE },
	{ "tcbmismatch", AZ_TCBMISMATCH, 0, AT(AZ_THIM) },
	{ "missingfield", AZ_MISSINGFIELD, 0, AT(AZ_THIM) },
	{ "ebusy", AZ_EBUSY, 0, AT(AZ_TSM_REPORT) },
	{ "eio", AZ_EIO, 0, AT(AZ_TSM_REPORT) },
	{ "wrongdata", AZ_WRONGDATA, 0, AT(AZ_TSM_REPORT) },
};
enum { N_MODES = sizeof modes / sizeof *modes };

const char *az_endpoint_name(enum az_endpoint e)
{
	return e < AZ_N_ENDPOINTS ? endpoint_names[e] : "-";
}

enum az_endpoint az_endpoint_find(const char *name)
{
	for (int e = 0; e < AZ_N_ENDPOINTS; e++)
		if (strcmp(endpoint_names[e], name) == 0)
			return (enum az_endpoint)e;
	return AZ_N_ENDPOINTS;
}

static int add_modes(struct ck_buf *out, enum az_endpoint e, struct ck_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < N_MODES; i++)
		if (modes[i].endpoints & AT(e))
			rc = ck_buf_addf(out, err, " %s", modes[i].name);
	return rc;
}

int az_fault_find(const struct az_fault_mode **out, enum az_endpoint endpoint, const char *name,
		  struct ck_err *err)
{
	for (size_t i = 0; i < N_MODES; i++)
		if ((modes[i].endpoints & AT(endpoint)) && strcmp(modes[i].name, name) == 0) {
			*out = &modes[i];
			return 0;
		}
	CK_BUF known = { 0 };
	int rc = add_modes(&known, endpoint, err);
	if (rc < 0)
		return rc;
	return ck_fail(err, -EINVAL, "%s has no fault \"%s\"; it knows: off%s",
		       az_endpoint_name(endpoint), name, ck_buf_str(&known));
}

int az_fault_list(struct ck_buf *out, struct ck_err *err)
{
	int rc = 0;

	for (int e = 0; rc == 0 && e < AZ_N_ENDPOINTS; e++) {
		if (e == AZ_HSM_RELEASE_REFUSED)
			continue;
		rc = ck_buf_addf(out, err, "  %s:", endpoint_names[e]);
		if (rc == 0)
			rc = add_modes(out, (enum az_endpoint)e, err);
		if (rc == 0)
			rc = ck_buf_adds(out, "\n", err);
	}
	return rc;
}
