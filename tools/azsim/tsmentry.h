/*
 * tsmentry - one report directory: its generations and attributes, as
 * drivers/virt/coco/tsm.c keeps them. No file system here.
 * Threads: one at a time (the file system serves one request after the other).
 */
#ifndef AZ_TSMENTRY_H
#define AZ_TSMENTRY_H

#include "tools/azsim/amd.h"

enum { AZ_TSM_INBLOB_MAX = 64, AZ_TSM_PRIVLEVEL_MAX = 3 };

/* Who answers for the directories. */
struct az_tsm_source {
	const struct az_amd *amd;
	struct az_settings *settings;
};

struct az_tsm_entry {
	struct az_tsm_entry *next;
	char name[256];
	unsigned refs; /* the directory itself, and every open file of it */
	uint64_t write_generation, read_generation;
	bool privlevel_set;
	uint32_t privlevel;
	uint8_t inblob[AZ_TSM_INBLOB_MAX];
	size_t inblob_len;
	struct ck_buf outblob, auxblob; /* of read_generation; empty before the first */
};

/* One attribute file. show and store return 0 or a negative errno. */
struct az_tsm_attr {
	const char *name;
	unsigned mode;
	bool binary; /* what is written takes effect when the file is closed */
	int (*show)(const struct az_tsm_source *src, struct az_tsm_entry *e, struct ck_buf *out);
	int (*store)(const struct az_tsm_source *src, struct az_tsm_entry *e, const void *p,
		     size_t nbytes);
};

/* All attributes, ended by one without a name. */
extern const struct az_tsm_attr az_tsm_attrs[];

void az_tsm_entry_unref(struct az_tsm_entry *e); /* frees it with the last reference */

#endif
