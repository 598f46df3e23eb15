#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/file.h"
#include "base/log.h"
#include "tools/cloakfs/commands.h"
#include "tools/cloakfs/output.h"
#include "tools/cloakfs/session.h"

enum { MAX_REQUEST = 4 << 20 };

static void on_ready(void *ctx, const char *address)
{
	(void)ctx;
	/* On stdout: with port 0 this is where a script learns the port. */
	printf("listening on %s\n", address);
	if (ck_output_flush(NULL) < 0)
		ck_log(CK_LOG_INFO, "listening on %s", address);
}

static int listen_until_signal(const struct ck_provider *p, const char *address, struct ck_err *err)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	CK_AUTO(ck_closep) int fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return ck_fail(err, -errno, "cannot wait for signals: %s", strerror(errno));
	ck_log_init("cloakfs", CK_LOG_INFO);
	return ck_provider_serve(p, address, fd, on_ready, NULL, err);
}

static int answer_one(const struct ck_provider *p, struct ck_err *err)
{
	CK_BUF in = { .max = MAX_REQUEST }, out = { 0 };
	int rc = ck_fd_read(&in, STDIN_FILENO, "standard input", err);

	if (rc == 0)
		rc = ck_provider_handle(p, in.data, in.len, &out, err);
	return rc < 0 ? rc : ck_output_bytes(out.data, out.len, err);
}

static int run(const struct ck_options *o, struct ck_err *err)
{
	CK_SESSION s = { 0 };

	if (!o->listen == !o->exec)
		return ck_fail(err, CK_USAGE, "say either --listen ADDR or --exec");
	int rc = ck_session_open(&s, o, err);
	if (rc < 0)
		return rc;
	struct ck_provider p = ck_session_provider(&s);
	return o->exec ? answer_one(&p, err) : listen_until_signal(&p, o->listen, err);
}

const struct ck_command ck_cmd_keyprovider = {
	.name = "keyprovider",
	.synopsis = "[--config FILE] --listen unix:PATH|HOST:PORT | --exec",
	.summary = "wrap and unwrap layer keys for skopeo and other ocicrypt programs",
	.options = "cLx",
	.required = "",
	.min_args = 0,
	.max_args = 0,
	.run = run,
};
