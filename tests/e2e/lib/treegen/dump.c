/* The model as text: what treedump and `cloakfs ls -l` print of the real thing. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/e2e/lib/treegen/model.h"

enum { BLOCK_LEN = 4096, LARGE = 64 << 20 };

static const struct ace *find_ace(const struct acl *a, uint16_t tag)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->ace[i].tag == tag)
			return &a->ace[i];
	return NULL;
}

uint32_t item_mode(const struct item *it)
{
	const struct acl *a = &it->access;

	if (it->type == SYMLINK)
		return 0777;
	if (!a->n)
		return it->mode;
	const struct ace *group = find_ace(a, ACE_MASK);
	if (!group)
		group = find_ace(a, ACE_GROUP_OBJ);
	return (it->mode & 07000) | (uint32_t)find_ace(a, ACE_USER_OBJ)->perm << 6 |
	       (uint32_t)group->perm << 3 | find_ace(a, ACE_OTHER)->perm;
}

static int by_xattr(const void *a, const void *b)
{
	return strcmp(((const struct xattr *)a)->name.p, ((const struct xattr *)b)->name.p);
}

size_t item_xattrs(const struct item *it, struct xattr out[MAX_XATTRS + 2])
{
	size_t n = it->n_xattrs;

	memcpy(out, it->xattrs, n * sizeof *out);
	/* Three lines say what a mode says. */
	if (it->access.n > 3)
		out[n++] =
		    (struct xattr){ text_of("system.posix_acl_access"), acl_packed(it->access) };
	if (it->deflt.n)
		out[n++] =
		    (struct xattr){ text_of("system.posix_acl_default"), acl_packed(it->deflt) };
	qsort(out, n, sizeof *out, by_xattr);
	return n;
}

static void print_escaped(const struct text *t)
{
	for (size_t i = 0; i < t->len; i++) {
		unsigned char c = (unsigned char)t->p[i];

		if (c <= ' ' || c > '~' || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void print_xattrs(const struct item *it)
{
	struct xattr x[MAX_XATTRS + 2];
	size_t n = it ? item_xattrs(it, x) : 0;

	printf(" [");
	for (size_t i = 0; i < n; i++) {
		printf("%s", i ? "," : "");
		print_escaped(&x[i].name);
		putchar('=');
		print_escaped(&x[i].value);
	}
	putchar(']');
}

static bool is_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && !memcmp(p, p + 1, n - 1));
}

/* A block of a large file, for its hash: where it is, and its bytes. */
static void hash_block(EVP_MD_CTX *md, const struct item *it, uint64_t off)
{
	unsigned char at[8], buf[BLOCK_LEN];
	size_t n = it->size - off < BLOCK_LEN ? (size_t)(it->size - off) : BLOCK_LEN;

	item_bytes(it, off, buf, n);
	if (is_zero(buf, n))
		return;
	for (int i = 0; i < 8; i++)
		at[i] = (unsigned char)(off >> 8 * i);
	EVP_DigestUpdate(md, at, sizeof at);
	EVP_DigestUpdate(md, buf, n);
}

static void hash_large(EVP_MD_CTX *md, const struct item *it)
{
	uint64_t off = 0; /* all blocks before are done */

	for (size_t i = 0; i < it->n_segments; i++) {
		uint64_t from = it->segments[i].off / BLOCK_LEN * BLOCK_LEN;
		uint64_t end = it->segments[i].off + it->segments[i].len;

		for (off = from > off ? from : off; off < end; off += BLOCK_LEN)
			hash_block(md, it, off);
	}
}

static void hash_small(EVP_MD_CTX *md, const struct item *it)
{
	static unsigned char buf[1 << 16];

	for (uint64_t off = 0; off < it->size;) {
		size_t n = it->size - off < sizeof buf ? (size_t)(it->size - off) : sizeof buf;

		item_bytes(it, off, buf, n);
		EVP_DigestUpdate(md, buf, n);
		off += n;
	}
}

static void print_content(const struct item *it)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	if (it->size > LARGE)
		hash_large(md, it);
	else
		hash_small(md, it);
	EVP_DigestFinal_ex(md, sum, &n);
	EVP_MD_CTX_free(md);
	printf(it->size > LARGE ? " blocks:" : " ");
	for (unsigned int i = 0; i < n; i++)
		printf("%02x", sum[i]);
}

static uint64_t size_of(const struct item *it)
{
	return it->type == SYMLINK ? it->link.len : it->type == FILE_ ? it->size : 0;
}

static void print_dir(const struct node *n, const struct text *path, bool times)
{
	const struct item *it = n->item;

	print_escaped(path);
	printf(" d %04o %u:%u -", it ? item_mode(it) : 0755, it ? it->uid : 0, it ? it->gid : 0);
	if (times)
		printf(" %lld.%09u %zu -", it ? (long long)it->mtime : 0, it ? it->mtime_ns : 0,
		       n->n_links);
	else
		printf(" - %zu -", n->n_links);
	print_xattrs(it);
	putchar('\n');
}

static void print_file(const struct node *n, const struct text *path)
{
	const struct item *it = n->item;
	bool device = it->type == CHAR || it->type == BLOCK_;

	print_escaped(path);
	printf(" %c %04o %u:%u", "fdlcbp"[it->type], item_mode(it), it -> uid, it -> gid);
	if (device)
		printf(" -");
	else
		printf(" %llu", (unsigned long long)size_of(it));
	printf(" %lld.%09u", (long long)it->mtime, it->mtime_ns);
	if (n->n_links == 1) {
		printf(" -");
	} else {
		printf(" %zu=", n->n_links);
		print_escaped(&n->first);
	}
	if (device)
		printf(" %u,%u", it->major, it->minor);
	else
		printf(" -");
	print_xattrs(it);
	if (it->type == FILE_)
		print_content(it);
	if (it->type == SYMLINK) {
		printf(" ->");
		print_escaped(&it->link);
	}
	putchar('\n');
}

static void dump(const struct node *n, const struct text *path, bool times)
{
	if (!n->dir) {
		print_file(n, path);
		return;
	}
	print_dir(n, path, times);
	for (size_t i = 0; i < n->n; i++) {
		struct text p = { 0 };

		if (strcmp(path->p, ".") != 0) {
			text_add(&p, path->p, path->len);
			text_puts(&p, "/");
		}
		text_add(&p, n->names[i].text.p, n->names[i].text.len);
		dump(n->names[i].node, &p, times);
		free(p.p);
	}
}

void model_dump(struct node *root, bool dir_times)
{
	struct text dot = text_of(".");

	dump(root, &dot, dir_times);
}

static void print_mode(const struct node *n, uint32_t mode)
{
	char out[] = "rwxrwxrwx";

	for (int i = 0; i < 9; i++)
		if (!(mode & 0400U >> i))
			out[i] = '-';
	if (mode & 04000)
		out[2] = mode & 0100 ? 's' : 'S';
	if (mode & 02000)
		out[5] = mode & 0010 ? 's' : 'S';
	if (mode & 01000)
		out[8] = mode & 0001 ? 't' : 'T';
	printf("%c%s", n->dir ? 'd' : "-dlcbp"[n->item->type], out);
}

void model_list(struct node *root)
{
	static const struct item nobodys = { .mode = 0755 };

	for (size_t i = 0; i < root->n; i++) {
		const struct node *n = root->names[i].node;
		const struct item *it = n->item ? n->item : &nobodys;
		time_t t = it->mtime;
		struct tm tm;
		char when[64];

		print_mode(n, item_mode(it));
		printf(" %zu %u %u ", n->n_links, it->uid, it->gid);
		if (n->dir)
			printf("4096");
		else if (it->type == CHAR || it->type == BLOCK_)
			printf("%u, %u", it->major, it->minor);
		else
			printf("%llu", (unsigned long long)size_of(it));
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
		printf(" %s ", when);
		fwrite(root->names[i].text.p, 1, root->names[i].text.len, stdout);
		if (!n->dir && it->type == SYMLINK) {
			printf(" -> ");
			fwrite(it->link.p, 1, it->link.len, stdout);
		}
		putchar('\n');
	}
}
