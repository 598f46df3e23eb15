/*
 * status - the cloakfs mounts of this machine, and what their daemons say.
 *
 * A daemon is found by its beacon, so within one network namespace only. What it says is
 * checked, and bounded in length and time: its mount may be another user's.
 */
#ifndef CK_STATUS_H
#define CK_STATUS_H

#include "fs/fuse/mountpoint.h"
#include "fs/fuse/report.h"

enum ck_status_state {
	CK_STATUS_SERVING,
	CK_STATUS_SILENT, /* it lives, but gave no good answer: see problem */
	CK_STATUS_UNSEEN, /* no daemon in this network namespace, which need not mean there is none
			   */
	CK_STATUS_GONE	  /* it is dead, the mount is left */
};

struct ck_status {
	const char *mount_point, *image; /* borrowed from places */
	bool erofs;			 /* the kernel's EROFS answers for the tree */
	bool writable;			 /* an overlay lies over it */
	uid_t user;			 /* who mounted it */
	enum ck_status_state state;
	struct ck_err problem;	 /* unless serving: what there is to say */
	struct ck_report report; /* where serving; its strings are DOC's */
	json_t *doc;
};

struct ck_statuses {
	struct ck_places places;
	struct ck_status *v;
	size_t n;
};

/*
 * Asks the daemons of all mounts that root, or else this user, made and this mount namespace
 * shows; or of the mount at DIR alone. One that is mounted at several places counts once.
 * *OUT, zeroed before, is the caller's to ck_statuses_free either way.
 * Errors: -EINVAL (no cloakfs mount at DIR), -EPERM (another user's), -ENOENT and others of
 * finding DIR, -ENOMEM. A daemon that does not answer is no error.
 */
CK_MUST_CHECK int ck_statuses_get(struct ck_statuses *out, const char *dir, struct ck_err *err);
void ck_statuses_free(struct ck_statuses *s);

/* Asks at FD, a connection to a beacon (borrowed), and waits at most TIMEOUT_MS. *DOC is the
 * caller's reference, and *OUT to ck_report_free. Errors: -ETIMEDOUT, -EPERM (hung up without an
 * answer), -EBADMSG, -EFBIG, -ENOMEM, errnos. */
CK_MUST_CHECK int ck_status_ask(int fd, unsigned timeout_ms, json_t **doc, struct ck_report *out,
				struct ck_err *err);

#endif
