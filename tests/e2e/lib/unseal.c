/*
 * unseal - opens sealed layers without any of our code: what the formats say, written down once
 * more, so that both can be compared.
 *
 *   unseal SYMKEY-HEX MEDIA-TYPE <BLOB >PLAINTEXT
 *       All of it is authenticated before any of it is written.
 *   unseal --seektable <PLAINTEXT
 *       Checks the seek table at the end of a zstd stream and each frame that it lists; prints
 *       a line for each: offset and length in the stream, offset and length of what it holds.
 *
 * Sources: https://c2sp.org/chunked-encryption (v1; AES-256-GCM and SHA-512), RFC 5869 section
 * 2.3, RFC 8878 section 3.1, and the zstd project's "Zstandard Seekable Format" 0.1.0.
 * The context is "cloakfs/layer/v1", a zero byte, and the media type of the plaintext.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
	SALT = 24,
	COMMITMENT = 32,
	KEY = 32,
	NONCE = 12,
	TAG = 16,
	CHUNK = 16 * 1024,
	SHA512 = 64,
	TABLE_HEADER = 8, /* magic number and size of a skippable frame */
	TABLE_FOOTER = 9  /* number of frames, descriptor, magic number */
};

struct bytes {
	uint8_t *p;
	size_t len;
};

static void fail(const char *why)
{
	fprintf(stderr, "unseal: %s\n", why);
	exit(1);
}

static void *room(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (!p)
		fail("out of memory");
	return p;
}

static struct bytes read_stdin(void)
{
	size_t cap = 1 << 20;
	struct bytes b = { room(cap), 0 };
	size_t n;

	while ((n = fread(b.p + b.len, 1, cap - b.len, stdin)) > 0) {
		b.len += n;
		if (b.len < cap)
			continue;
		cap *= 2;
		uint8_t *more = realloc(b.p, cap);
		if (!more)
			fail("out of memory");
		b.p = more;
	}
	if (ferror(stdin))
		fail("cannot read");
	return b;
}

static void unhex(uint8_t *out, size_t n, const char *hex)
{
	if (strlen(hex) != 2 * n || strspn(hex, "0123456789abcdefABCDEF") != 2 * n)
		fail("SYMKEY-HEX is not 64 hexadecimal digits");
	for (size_t i = 0; i < n; i++) {
		const char digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };
		out[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
}

/* T(1) | T(2) | ... of RFC 5869, cut to LEN; T(N) = HMAC(PRK, T(N-1) | INFO | N). */
static void hkdf_expand(uint8_t *out, size_t len, const uint8_t prk[KEY], struct bytes info)
{
	uint8_t *text = room(SHA512 + info.len + 1), t[SHA512];
	size_t t_len = 0;

	for (uint8_t n = 1; len; n++) {
		memcpy(text, t, t_len);
		memcpy(text + t_len, info.p, info.len);
		text[t_len + info.len] = n;
		if (!HMAC(EVP_sha512(), prk, KEY, text, t_len + info.len + 1, t, NULL))
			fail("HMAC failed");
		t_len = SHA512;
		size_t take = len < SHA512 ? len : SHA512;
		memcpy(out, t, take);
		out += take;
		len -= take;
	}
	free(text);
}

struct keys {
	uint8_t key[KEY], base_nonce[NONCE], commitment[COMMITMENT];
};

static void derive(struct keys *k, const uint8_t symkey[KEY], const uint8_t salt[SALT],
		   const char *media_type)
{
	static const char version[] = "c2sp.org/chunked-encryption@v1+";
	static const char aead[] = "AEAD_AES_256_GCM"; /* its zero byte follows it in the info */
	static const char use[] = "cloakfs/layer/v1";  /* likewise */
	uint8_t okm[KEY + NONCE + COMMITMENT];
	size_t n = strlen(version) + sizeof aead + SALT + sizeof use + strlen(media_type);
	struct bytes info = { room(n), n };
	uint8_t *at = info.p;

	at = (uint8_t *)memcpy(at, version, strlen(version)) + strlen(version);
	at = (uint8_t *)memcpy(at, aead, sizeof aead) + sizeof aead;
	at = (uint8_t *)memcpy(at, salt, SALT) + SALT;
	at = (uint8_t *)memcpy(at, use, sizeof use) + sizeof use;
	memcpy(at, media_type, strlen(media_type));
	hkdf_expand(okm, sizeof okm, symkey, info);
	memcpy(k->key, okm, KEY);
	memcpy(k->base_nonce, okm + KEY, NONCE);
	memcpy(k->commitment, okm + KEY + NONCE, COMMITMENT);
	free(info.p);
}

/* Opens chunk number N = IN[0..LEN), its tag included. */
static bool open_chunk(EVP_CIPHER_CTX *c, const struct keys *k, uint64_t n, const uint8_t *in,
		       size_t len, uint8_t *out)
{
	uint8_t nonce[NONCE], tag[TAG];
	int got = 0, more = 0, text = (int)(len - TAG);

	memcpy(nonce, k->base_nonce, NONCE);
	for (size_t i = 0; i < 8; i++)
		nonce[NONCE - 8 + i] ^= (uint8_t)(n >> (56 - 8 * i));
	memcpy(tag, in + text, TAG);
	return EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, k->key, nonce) == 1 &&
	       EVP_DecryptUpdate(c, out, &got, in, text) == 1 &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
	       EVP_DecryptFinal_ex(c, out + got, &more) == 1 && got + more == text;
}

static int unseal(const char *hex, const char *media_type)
{
	struct bytes blob = read_stdin(), plain = { room(blob.len), 0 };
	uint8_t symkey[KEY];
	struct keys k;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

	unhex(symkey, KEY, hex);
	if (!c)
		fail("out of memory");
	if (blob.len < SALT + COMMITMENT)
		fail("shorter than a header");
	derive(&k, symkey, blob.p, media_type);
	if (CRYPTO_memcmp(k.commitment, blob.p + SALT, COMMITMENT) != 0)
		fail("wrong commitment");
	const uint8_t *at = blob.p + SALT + COMMITMENT;
	size_t left = blob.len - SALT - COMMITMENT;
	for (uint64_t n = 0;; n++) {
		size_t len = left < CHUNK + TAG ? left : CHUNK + TAG;
		if (len < TAG)
			fail("truncated: no short chunk at the end");
		if (!open_chunk(c, &k, n, at, len, plain.p + plain.len)) {
			fprintf(stderr, "unseal: chunk %llu is not authentic\n",
				(unsigned long long)n);
			return 1;
		}
		plain.len += len - TAG;
		at += len;
		left -= len;
		if (len < CHUNK + TAG)
			break;
	}
	EVP_CIPHER_CTX_free(c);
	if (fwrite(plain.p, 1, plain.len, stdout) != plain.len || fflush(stdout) != 0)
		fail("cannot write");
	return 0;
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The seek table's start in B, its number of frames, and bytes of an entry. */
static size_t find_table(struct bytes b, size_t *n_frames, size_t *entry)
{
	if (b.len < TABLE_HEADER + TABLE_FOOTER)
		fail("shorter than a seek table");
	const uint8_t *footer = b.p + b.len - TABLE_FOOTER;
	if (le32(footer + 5) != 0x8F92EAB1u)
		fail("no seek table at the end");
	if (footer[4] & 0x7c)
		fail("reserved bits in the seek table's descriptor");
	*n_frames = le32(footer);
	*entry = footer[4] & 0x80 ? 12 : 8;
	if (*n_frames > (b.len - TABLE_HEADER - TABLE_FOOTER) / *entry)
		fail("the seek table is longer than the stream");
	size_t size = *n_frames * *entry + TABLE_FOOTER;
	const uint8_t *table = b.p + b.len - TABLE_HEADER - size;
	if (le32(table) != 0x184D2A5Eu || le32(table + 4) != size)
		fail("no skippable frame around the seek table");
	return (size_t)(table - b.p);
}

/* Whether P[0..IN_LEN) is one whole frame that gives OUT_LEN bytes, by itself. */
static bool frame_ok(const uint8_t *p, size_t in_len, size_t out_len)
{
	if (in_len >= 8 && (le32(p) & 0xfffffff0u) == 0x184D2A50u) /* a skippable one */
		return le32(p + 4) == in_len - 8 && out_len == 0;
	if (ZSTD_findFrameCompressedSize(p, in_len) != in_len)
		return false;
	uint8_t *out = room(out_len), *copy = room(in_len);
	memcpy(copy, p, in_len); /* nothing around it can help */
	size_t got = ZSTD_decompress(out, out_len, copy, in_len);
	free(copy);
	free(out);
	return got == out_len;
}

static int seek_table(void)
{
	struct bytes b = read_stdin();
	size_t n, entry, end = find_table(b, &n, &entry);

	for (int printing = 0; printing < 2; printing++) {
		uint64_t in_off = 0, out_off = 0;
		for (size_t i = 0; i < n; i++) {
			const uint8_t *e = b.p + end + TABLE_HEADER + i * entry;
			uint32_t in_len = le32(e), out_len = le32(e + 4);
			if (in_len > end - in_off)
				fail("a frame passes the seek table");
			if (!printing && !frame_ok(b.p + in_off, in_len, out_len)) {
				fprintf(stderr, "unseal: frame %zu is not as listed\n", i);
				return 1;
			}
			if (printing)
				printf("%llu %lu %llu %lu\n", (unsigned long long)in_off,
				       (unsigned long)in_len, (unsigned long long)out_off,
				       (unsigned long)out_len);
			in_off += in_len;
			out_off += out_len;
		}
		if (in_off != end)
			fail("bytes before the seek table are in no frame");
	}
	if (fflush(stdout) != 0)
		fail("cannot write");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--seektable") == 0)
		return seek_table();
	if (argc == 3)
		return unseal(argv[1], argv[2]);
	fprintf(stderr, "usage: unseal SYMKEY-HEX MEDIA-TYPE <BLOB >PLAINTEXT\n"
			"       unseal --seektable <PLAINTEXT\n");
	return 2;
}
