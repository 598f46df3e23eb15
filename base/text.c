#include "base/text.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

static const char alphabet[2][65] = {
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

int ck_b64_encode(struct ck_buf *b, enum ck_b64 form, const void *p, size_t nbytes,
		  struct ck_err *err)
{
	const char *digits = alphabet[form != CK_B64_STD];
	const uint8_t *in = p;

	if (nbytes > SIZE_MAX / 2)
		return ck_fail(err, -EFBIG, "%zu bytes are too many to encode", nbytes);
	int rc = ck_buf_reserve(b, (nbytes + 2) / 3 * 4, err);
	if (rc < 0)
		return rc;
	char *out = (char *)b->data + b->len, *start = out;
	for (size_t i = 0; i < nbytes; i += 3) {
		size_t n = nbytes - i < 3 ? nbytes - i : 3;
		uint32_t v = (uint32_t)in[i] << 16;
		v |= n > 1 ? (uint32_t)in[i + 1] << 8 : 0;
		v |= n > 2 ? in[i + 2] : 0;
		for (size_t k = 0; k < 4; k++) {
			if (k <= n)
				*out++ = digits[v >> (18 - 6 * k) & 63];
			else if (form != CK_B64_URL)
				*out++ = '=';
		}
	}
	b->len += (size_t)(out - start);
	b->data[b->len] = 0;
	return 0;
}

static int digit_value(enum ck_b64 form, char c)
{
	const char *digits = alphabet[form != CK_B64_STD];
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Decodes into OUT, which has room for LEN / 4 * 3 + 3; returns the length. */
static long decode(uint8_t *out, enum ck_b64 form, const char *s, size_t len)
{
	size_t pad = 0;

	while (pad < 2 && pad < len && s[len - 1 - pad] == '=')
		pad++;
	if ((pad || form == CK_B64_STD) && len % 4)
		return -EBADMSG;
	len -= pad;
	if (len % 4 == 1)
		return -EBADMSG;
	uint8_t *o = out;
	uint32_t v = 0;
	unsigned bits = 0;
	for (size_t i = 0; i < len; i++) {
		int d = digit_value(form, s[i]);
		if (d < 0)
			return -EBADMSG;
		v = v << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*o++ = (uint8_t)(v >> bits);
			v &= (1U << bits) - 1;
		}
	}
	if (v)
		return -EBADMSG; /* a second spelling of the same bytes */
	return o - out;
}

int ck_b64_decode(struct ck_buf *b, enum ck_b64 form, const char *s, size_t len, struct ck_err *err)
{
	int rc = ck_buf_reserve(b, len / 4 * 3 + 3, err);
	if (rc < 0)
		return rc;
	long n = decode(b->data + b->len, form, s, len);
	if (n < 0) {
		/* What it decoded so far lies past what ck_buf_free wipes. */
		ck_wipe(b->data + b->len, len / 4 * 3 + 3);
		return ck_fail(err, -EBADMSG, "not valid base64");
	}
	b->len += (size_t)n;
	b->data[b->len] = 0;
	return 0;
}

int ck_b64_decode_secret(struct ck_secret *out, enum ck_b64 form, const char *s, size_t len,
			 struct ck_err *err)
{
	CK_SECRET tmp = { 0 };
	int rc = ck_secret_new(&tmp, len / 4 * 3 + 3, err);
	if (rc < 0)
		return rc;
	long n = decode(tmp.data, form, s, len);
	if (n < 0)
		return ck_fail(err, -EBADMSG, "not valid base64");
	rc = ck_secret_new(out, (size_t)n, err);
	if (rc == 0)
		memcpy(out->data, tmp.data, (size_t)n);
	return rc;
}

void ck_hex(char *out, const void *p, size_t nbytes)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *in = p;

	for (size_t i = 0; i < nbytes; i++) {
		*out++ = digits[in[i] >> 4];
		*out++ = digits[in[i] & 15];
	}
	*out = 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool ck_unhex(uint8_t *out, size_t nbytes, const char *s)
{
	if (strlen(s) != 2 * nbytes)
		return false;
	for (size_t i = 0; i < nbytes; i++) {
		int hi = hex_value(s[2 * i]), lo = hex_value(s[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

void ck_sha256(uint8_t out[CK_SHA256_LEN], const void *p, size_t nbytes)
{
	/* Fails only without a SHA-256 provider; then nothing can be checked. */
	if (!EVP_Digest(p, nbytes, out, NULL, EVP_sha256(), NULL))
		abort();
}

void ck_digest_str(char out[CK_DIGEST_STR], const uint8_t sha256[CK_SHA256_LEN])
{
	memcpy(out, "sha256:", 7);
	ck_hex(out + 7, sha256, CK_SHA256_LEN);
}

int ck_digest_parse(uint8_t out[CK_SHA256_LEN], const char *s, struct ck_err *err)
{
	if (strncmp(s, "sha256:", 7) != 0 || !ck_unhex(out, CK_SHA256_LEN, s + 7) ||
	    strpbrk(s + 7, "ABCDEF"))
		return ck_fail(err, -EBADMSG, "digest \"%.80s\" is not sha256:<64 hex digits>", s);
	return 0;
}
