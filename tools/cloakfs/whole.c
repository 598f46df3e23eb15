#include "tools/cloakfs/whole.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"

int ck_whole_read(struct ck_buf *b, const char *file, struct ck_err *err)
{
	if (strcmp(file, "-") == 0)
		return ck_fd_read(b, STDIN_FILENO, "standard input", err);
	return ck_file_read(b, file, err);
}

int ck_whole_write(const struct ck_buf *b, const char *file, mode_t mode, struct ck_err *err)
{
	if (strcmp(file, "-") == 0)
		return ck_fd_write(STDOUT_FILENO, b->data, b->len, "standard output", err);
	return ck_file_write(file, b->data, b->len, mode, err);
}
