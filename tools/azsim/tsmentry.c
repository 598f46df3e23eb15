#include "tools/azsim/tsmentry.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void az_tsm_entry_unref(struct az_tsm_entry *e)
{
	if (--e->refs)
		return;
	ck_buf_free(&e->outblob);
	ck_buf_free(&e->auxblob);
	free(e);
}

/* A write that would make the two generations look equal again is refused. */
static int advance(struct az_tsm_entry *e)
{
	if (e->write_generation == e->read_generation - 1)
		return -EBUSY;
	e->write_generation++;
	return 0;
}

static int show_provider(const struct az_tsm_source *src, struct az_tsm_entry *e,
			 struct ck_buf *out)
{
	(void)src;
	(void)e;
	return ck_buf_adds(out, "sev_guest\n", NULL);
}

static int show_generation(const struct az_tsm_source *src, struct az_tsm_entry *e,
			   struct ck_buf *out)
{
	(void)src;
	return ck_buf_addf(out, NULL, "%" PRIu64 "\n", e->write_generation);
}

/* The lowest level number that the guest may ask for is its own. */
static uint32_t floor_of(const struct az_tsm_source *src)
{
	uint32_t vmpl = az_settings_launch(src->settings).vmpl;

	return vmpl > AZ_TSM_PRIVLEVEL_MAX ? 0 : vmpl;
}

static int show_floor(const struct az_tsm_source *src, struct az_tsm_entry *e, struct ck_buf *out)
{
	(void)e;
	return ck_buf_addf(out, NULL, "%" PRIu32 "\n", floor_of(src));
}

static int store_privlevel(const struct az_tsm_source *src, struct az_tsm_entry *e, const void *p,
			   size_t nbytes)
{
	char text[24] = { 0 }, *end;

	if (nbytes == 0 || nbytes >= sizeof text)
		return -EINVAL;
	memcpy(text, p, nbytes);
	if (text[nbytes - 1] == '\n')
		text[nbytes - 1] = 0;
	/* As kstrtouint: one number of any base, nothing round it. */
	unsigned long v = strtoul(text, &end, 0);
	if (!isdigit((unsigned char)*text) || *end)
		return -EINVAL;
	if (v < floor_of(src) || v > AZ_TSM_PRIVLEVEL_MAX)
		return -EINVAL;
	int rc = advance(e);
	if (rc < 0)
		return rc;
	e->privlevel = (uint32_t)v;
	e->privlevel_set = true;
	return 0;
}

static int store_inblob(const struct az_tsm_source *src, struct az_tsm_entry *e, const void *p,
			size_t nbytes)
{
	int rc = advance(e);

	(void)src;
	if (rc < 0)
		return rc;
	memcpy(e->inblob, p, nbytes);
	e->inblob_len = nbytes;
	return 0;
}

/* Asks the firmware for a report of what was written. */
static int make_report(const struct az_tsm_source *src, struct az_tsm_entry *e, struct ck_err *err)
{
	const struct az_fault_mode *mode = az_settings_take_fault(src->settings, AZ_TSM_REPORT);
	enum az_fault fault = mode ? mode->fault : AZ_NO_FAULT;
	struct az_launch l = az_settings_launch(src->settings);
	struct az_snp_report r;
	uint8_t data[AZ_SNP_DATA_LEN];

	az_settings_count(src->settings, AZ_TSM_REPORT);
	if (fault == AZ_EBUSY)
		return -EBUSY;
	if (fault == AZ_EIO)
		return -EIO;
	memcpy(data, e->inblob, sizeof data);
	if (fault == AZ_WRONGDATA)
		data[0] ^= 1;
	/* A report that the host asked for says so whatever the guest wants. */
	bool by_host = l.vmpl > AZ_TSM_PRIVLEVEL_MAX;
	uint32_t vmpl = e->privlevel_set && !by_host ? e->privlevel : l.vmpl;
	int rc = az_snp_make(&r, &src->amd->fw, &l, vmpl, data, err);
	if (rc < 0)
		return rc;
	if (fault == AZ_BADSIG)
		r.b[AZ_SNP_SIGNATURE] ^= 1;
	ck_buf_free(&e->outblob);
	ck_buf_free(&e->auxblob);
	rc = ck_buf_add(&e->outblob, r.b, sizeof r.b, err);
	return rc < 0 ? rc : az_amd_table(&e->auxblob, src->amd, err);
}

/* The report of the current generation, made when there is none yet. */
static int refresh(const struct az_tsm_source *src, struct az_tsm_entry *e)
{
	struct ck_err err = { 0 };

	if (!e->inblob_len)
		return -EINVAL;
	if (e->outblob.len && e->read_generation == e->write_generation)
		return 0;
	if (e->inblob_len != AZ_SNP_DATA_LEN)
		return -EINVAL;
	int rc = make_report(src, e, &err);
	if (rc == 0)
		e->read_generation = e->write_generation;
	else if (err.code)
		ck_log(CK_LOG_ERROR, "%s", err.msg);
	return rc;
}

static int show_outblob(const struct az_tsm_source *src, struct az_tsm_entry *e, struct ck_buf *out)
{
	int rc = refresh(src, e);

	return rc < 0 ? rc : ck_buf_add(out, e->outblob.data, e->outblob.len, NULL);
}

static int show_auxblob(const struct az_tsm_source *src, struct az_tsm_entry *e, struct ck_buf *out)
{
	int rc = refresh(src, e);

	return rc < 0 ? rc : ck_buf_add(out, e->auxblob.data, e->auxblob.len, NULL);
}

const struct az_tsm_attr az_tsm_attrs[] = {
	{ "provider", 0444, false, show_provider, NULL },
	{ "generation", 0444, false, show_generation, NULL },
	{ "inblob", 0200, true, NULL, store_inblob },
	{ "outblob", 0444, true, show_outblob, NULL },
	{ "auxblob", 0444, true, show_auxblob, NULL },
	{ "privlevel", 0200, false, NULL, store_privlevel },
	{ "privlevel_floor", 0444, false, show_floor, NULL },
	{ NULL, 0, false, NULL, NULL },
};
