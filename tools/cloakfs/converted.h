/* converted - encrypt and decrypt's common part: the work under a bar, and its result told. */
#ifndef CK_CONVERTED_H
#define CK_CONVERTED_H

#include "fs/imageconvert.h"
#include "tools/cloakfs/session.h"

/* Converts the session's image, SRC, as HOW says (its progress is set here, and how a registry is
 * written to), and prints what came of it, as JSON on request. Errors: those of ck_image_convert
 * and of standard output. */
CK_MUST_CHECK int ck_convert_and_tell(const struct ck_session *s,
				      const struct ck_image_conversion *how, const char *src,
				      const char *label, bool json, struct ck_err *err);

#endif
