/* azsim counters, azsim set */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tools/azsim/client.h"
#include "tools/azsim/cmds.h"

static int control(const char *state, const char *method, const char *path, const json_t *body,
		   json_t **out, struct ck_err *err)
{
	CK_AUTO(az_client_close) struct az_client c;
	int rc = az_client_open(&c, state, err);

	return rc < 0 ? rc : az_client_control(out, &c, method, path, body, err);
}

int az_cmd_counters(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 1 },
						 { "reset", no_argument, NULL, 2 },
						 { 0 } };
	const char *state = NULL, *method = "GET";
	struct ck_err err = { 0 };
	CK_JSON *j = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 1)
			state = optarg;
		else if (c == 2)
			method = "DELETE";
		else
			return az_usage("counters", "unknown option");
	}
	if (!state || optind != argc)
		return az_usage("counters", "--state DIR is missing, or there is too much");
	if (control(state, method, "/azsim/counters", NULL, &j, &err) < 0)
		return az_failed("counters", &err);
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

int az_cmd_set(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 1 }, { 0 } };
	const char *state = NULL;
	struct ck_err err = { 0 };
	CK_JSON *changes = json_object();
	CK_JSON *j = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) == 1)
		state = optarg;
	if (c != -1 || !state || optind == argc)
		return az_usage("set", "--state DIR or NAME=VALUE is missing");
	for (; optind < argc; optind++) {
		char *eq = strchr(argv[optind], '=');
		if (!eq)
			return az_usage("set", "a setting is not NAME=VALUE");
		*eq = 0;
		json_object_set_new(changes, argv[optind], json_string(eq + 1));
	}
	if (control(state, "PUT", "/azsim/settings", changes, &j, &err) < 0)
		return az_failed("set", &err);
	return 0;
}
