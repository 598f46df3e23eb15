/* What `azsim set` and `azsim counters` ask of the running simulator. */
#include "base/json.h"
#include "tools/azsim/routes.h"

int az_control_settings(struct az_sim *s, const struct az_req *req, struct az_res *res,
			struct ck_err *err)
{
	(void)req;
	return az_answer(res, 200, az_settings_json(&s->settings, true), err);
}

int az_control_change(struct az_sim *s, const struct az_req *req, struct az_res *res,
		      struct ck_err *err)
{
	CK_JSON *changes = NULL;

	if (az_req_json(&changes, req, err) < 0 ||
	    az_settings_change(&s->settings, changes, err) < 0)
		return az_refuse(req, res, 400, "BadParameter", err->msg, err);
	int rc = az_sim_save_settings(s, err);
	return rc < 0 ? rc : az_control_settings(s, req, res, err);
}

int az_control_counters(struct az_sim *s, const struct az_req *req, struct az_res *res,
			struct ck_err *err)
{
	(void)req;
	return az_answer(res, 200, az_settings_counters(&s->settings), err);
}

int az_control_reset(struct az_sim *s, const struct az_req *req, struct az_res *res,
		     struct ck_err *err)
{
	int rc = az_control_counters(s, req, res, err);

	az_settings_reset_counters(&s->settings);
	return rc;
}
