/*
 * recorder - which parts of an image's files a mount was asked for, written as a trace
 * (fs/trace.h).
 *
 * What is noted are ranges of the layers' tar streams, which is what reads come down to in every
 * mode; they become files when the trace is written: from time to time by a thread, when there is
 * news, and in the end. The file is replaced whole.
 * The trace tells names of files and what is done with them: only its owner may read it.
 */
#ifndef CK_RECORDER_H
#define CK_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tar/index/index.h"

struct ck_recorder; /* opaque */

/* Ranges that are noted at most, and how often the file is written at most. */
enum { CK_RECORDER_RANGES = 1 << 20, CK_RECORDER_PAUSE_MS = 2000 };

/* Writes a trace of nothing to PATH, so that what is wrong with it shows early. A later change of
 * the working directory is no matter. *OUT is the caller's to close. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_recorder_open(struct ck_recorder **out, const char *path, struct ck_err *err);

/*
 * Once, before anything is noted: the image's N layers, their indexes and the lengths of their tar
 * streams. The indexes are borrowed until the recorder is closed. Starts the thread, which takes
 * no signals: in the process that is to serve. Errors: -ENOMEM, -EAGAIN.
 */
CK_MUST_CHECK int ck_recorder_start(struct ck_recorder *r, const struct ck_index *const *index,
				    const uint64_t *tar_len, size_t n, struct ck_err *err);

/* Notes NBYTES at OFF of layer LAYER, if that is within it. Threads: any. Waits for no I/O. */
void ck_recorder_note(struct ck_recorder *r, uint32_t layer, uint64_t off, uint64_t nbytes);

/* Until it is called again with false nothing is noted: what is read meanwhile is our own doing.
 * R may be NULL. Threads: any. */
void ck_recorder_pause(struct ck_recorder *r, bool pause);

/* Writes the trace if there is news. Threads: any. Errors: errnos, -ENOMEM. */
CK_MUST_CHECK int ck_recorder_write(struct ck_recorder *r, struct ck_err *err);

/* Ends the thread and writes what is not yet written; a failure is logged. NULL is allowed. */
void ck_recorder_close(struct ck_recorder *r);

static inline void ck_recorder_closep(struct ck_recorder **r)
{
	ck_recorder_close(*r);
}

#endif
