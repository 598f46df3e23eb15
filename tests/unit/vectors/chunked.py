#!/usr/bin/env python3
"""Known answers for chunked encryption, from the specifications alone.

AES (FIPS 197), GCM (NIST SP 800-38D), HKDF-Expand (RFC 5869) and C2SP chunked-encryption
v1, written out in plain Python with nothing but hashlib's hash: slow, and independent of
the C it tests. Prints chunked.inc, the table that test_chunked.c includes:

    python3 chunked.py > chunked.inc
"""
import hashlib
import hmac

CHUNK = 16384


def xtime(a):
    return ((a << 1) ^ 0x11B if a & 0x80 else a << 1) & 0xFF


def gmul(a, b):
    r = 0
    while b:
        if b & 1:
            r ^= a
        a, b = xtime(a), b >> 1
    return r


def make_sbox():
    box = []
    for v in range(256):
        inv = next((i for i in range(256) if gmul(v, i) == 1), 0)
        x = 0x63
        for k in range(5):
            x ^= ((inv << k) | (inv >> (8 - k))) & 0xFF
        box.append(x)
    return box


SBOX = make_sbox()


def expand_key(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        t = list(words[-1])
        if i % 8 == 0:
            t = [SBOX[b] for b in t[1:] + t[:1]]
            t[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            t = [SBOX[b] for b in t]
        words.append([a ^ b for a, b in zip(words[-8], t)])
    return [sum(words[4 * r : 4 * r + 4], []) for r in range(15)]


def aes(round_keys, block):
    s = [a ^ b for a, b in zip(block, round_keys[0])]
    for r in range(1, 15):
        s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if r < 14:
            m = []
            for c in range(0, 16, 4):
                a = s[c : c + 4]
                for i in range(4):
                    m.append(xtime(a[i]) ^ xtime(a[(i + 1) % 4]) ^ a[(i + 1) % 4] ^ a[(i + 2) % 4] ^ a[(i + 3) % 4])
            s = m
        s = [a ^ b for a, b in zip(s, round_keys[r])]
    return bytes(s)


def ghash_mul(x, y):
    z = 0
    for i in range(127, -1, -1):
        if x >> i & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def gcm_seal(key, nonce, plain):
    rk = expand_key(key)
    h = int.from_bytes(aes(rk, bytes(16)), "big")
    out = bytearray()
    for i in range(0, len(plain), 16):
        pad = aes(rk, nonce + (i // 16 + 2).to_bytes(4, "big"))
        out += bytes(a ^ b for a, b in zip(plain[i : i + 16], pad))
    y = 0
    for i in range(0, len(out), 16):
        y = ghash_mul(y ^ int.from_bytes(bytes(out[i : i + 16]).ljust(16, b"\0"), "big"), h)
    y = ghash_mul(y ^ len(out) * 8, h)
    mask = int.from_bytes(aes(rk, nonce + b"\0\0\0\1"), "big")
    return bytes(out) + (y ^ mask).to_bytes(16, "big")


def hkdf_expand(prk, info, length):
    t, okm, n = b"", b"", 1
    while len(okm) < length:
        t = hmac.new(prk, t + info + bytes([n]), hashlib.sha512).digest()
        okm += t
        n += 1
    return okm[:length]


def seal(key, salt, context, plain):
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\0" + salt + context
    okm = hkdf_expand(key, info, 32 + 12 + 32)
    chunk_key, base, commitment = okm[:32], okm[32:44], okm[44:]
    out = salt + commitment
    for n in range(len(plain) // CHUNK + 1):
        nonce = (int.from_bytes(base, "big") ^ n).to_bytes(12, "big")
        out += gcm_seal(chunk_key, nonce, plain[n * CHUNK : (n + 1) * CHUNK])
    return out


def pattern(n):
    """The plaintext that the test makes too."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(n))


def c_bytes(b):
    return "{ " + ", ".join("0x%02x" % x for x in b) + " }"


def main():
    # Test case 16's neighbour without AAD: McGrew and Viega's AES-256 case 15 must come out.
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255")
    got = gcm_seal(key, bytes.fromhex("cafebabefacedbaddecaf888"), plain)
    assert got[64:].hex() == "b094dac5d93471bdec1a502270e3cc6c", got.hex()
    print("/* Made by chunked.py. SHA-256 is of the whole sealed message. */")
    for n, context in ((0, b""), (1, b"x"), (16383, b"cloakfs/layer/v1\0application/x"), (16384, b""),
                       (16385, b"c"), (40000, b"cloakfs/index/v1\0sha256:ab")):
        k = hashlib.sha256(b"key %d" % n).digest()
        salt = hashlib.sha256(b"salt %d" % n).digest()[:24]
        sealed = seal(k, salt, context, pattern(n))
        print("{ .len = %d, .context = \"%s\", .context_len = %d,\n  .key = %s,\n  .header = %s,\n  .sha256 = %s },"
              % (n, context.decode().replace("\0", "\\0"), len(context), c_bytes(k), c_bytes(sealed[:56]),
                 c_bytes(hashlib.sha256(sealed).digest())))


main()
