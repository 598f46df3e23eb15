#!/bin/bash
# JWE recipients: skopeo encrypts for public keys, we open with private key files, offline.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

PLAIN=$WORK/plain
ENC=$WORK/enc
cd "$WORK" || exit 1

# opens TEXT KEY-FILE LAYOUT
opens() {
	if "$CLOAKFS" cat --key "$2" "oci:$3:latest" /app/numbers >"$WORK/out" 2>"$LOG"; then
		same "$WORK/numbers" "$WORK/out" "$1"
	else
		fail "$1" "$(cat "$LOG")"
	fi
}

image_small "$PLAIN" gzip zstd gzip
layout_new "$WORK/one"
mkdir -p tree/app
seq 200000 >tree/app/numbers
cp tree/app/numbers numbers
tar -C tree -cf tree.tar app
layout_add "$WORK/one" tree.tar zstd
layout_finish "$WORK/one"

openssl genrsa -traditional -out rsa2048.pem 2048 2>/dev/null # PKCS#1
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -out rsa4096.pem 2>/dev/null # PKCS#8
for curve in prime256v1 secp384r1 secp521r1; do
	openssl ecparam -name $curve -genkey -noout -out $curve.pem
done
openssl pkcs8 -topk8 -nocrypt -in prime256v1.pem -out p256-pkcs8.pem
for key in rsa2048 rsa4096 prime256v1 secp384r1 secp521r1; do
	openssl pkey -in $key.pem -pubout -out $key-pub.pem
done

# ---- one recipient ----
for key in rsa2048 rsa4096 prime256v1 secp384r1 secp521r1; do
	encrypt one "$ENC-$key" --encryption-key jwe:$key-pub.pem
	opens "a layer for $key" $key.pem "$ENC-$key"
	matches 'jwe' "$("$CLOAKFS" inspect "oci:$ENC-$key:latest")" "inspect says that $key's is a JWE"
done
opens "an EC key as PKCS#8" p256-pkcs8.pem "$ENC-prime256v1"
fails_with 'layer 0.*(jwe|JWE|recipient|key)' "another key of the same kind does not open it" \
	"$CLOAKFS" cat --key rsa4096.pem "oci:$ENC-rsa2048:latest" /app/numbers
fails_with 'layer 0.*(jwe|JWE|recipient|key)' "a key of another kind does not open it" \
	"$CLOAKFS" cat --key prime256v1.pem "oci:$ENC-rsa2048:latest" /app/numbers
fails_with 'layer 0' "nor does a curve's key open another curve's" \
	"$CLOAKFS" cat --key secp384r1.pem "oci:$ENC-prime256v1:latest" /app/numbers
fails_with 'rsa2048-pub' "a public key is no key to open with" \
	"$CLOAKFS" cat --key rsa2048-pub.pem "oci:$ENC-rsa2048:latest" /app/numbers

# ---- several recipients ----
encrypt one "$ENC-all" --encryption-key jwe:rsa2048-pub.pem --encryption-key jwe:prime256v1-pub.pem \
	--encryption-key jwe:secp521r1-pub.pem
for key in rsa2048 prime256v1 secp521r1; do
	opens "of three recipients, $key opens it" $key.pem "$ENC-all"
done
fails_with 'layer 0' "somebody who is no recipient does not" \
	"$CLOAKFS" cat --key secp384r1.pem "oci:$ENC-all:latest" /app/numbers
if "$CLOAKFS" cat --key rsa4096.pem --key secp384r1.pem --key secp521r1.pem "oci:$ENC-all:latest" /app/numbers \
	>"$WORK/out" 2>"$LOG"; then
	same numbers "$WORK/out" "of several keys, the one that fits is found"
else
	fail "of several keys, the one that fits is found" "$(cat "$LOG")"
fi

# Packets joined by commas, as when a recipient is added to an encrypted layer: the first that opens counts.
cp -a "$ENC-rsa2048" "$ENC-comma"
layout_edit "$ENC-comma" --slurpfile other "$(layout_manifest "$ENC-prime256v1")" '.layers[0].annotations |= (
	."org.opencontainers.image.enc.keys.jwe" = ($other[0].layers[0].annotations."org.opencontainers.image.enc.keys.jwe"
	+ "," + ."org.opencontainers.image.enc.keys.jwe"))'
opens "of several packets, the one that a key opens is found" rsa2048.pem "$ENC-comma"

# ---- a whole image ----
encrypt "$PLAIN" "$ENC" --encryption-key jwe:rsa2048-pub.pem
mkdir mnt
if mount_image "oci:$ENC:latest" "$WORK/mnt" --key rsa2048.pem; then
	unpack_with tar "$PLAIN" "$WORK/gnu"
	treedump -d "$WORK/gnu" >want.dump
	treedump -dc "$WORK/mnt" >got.dump 2>&1
	same want.dump got.dump "a mount with a key file shows what GNU tar unpacks"
	ok "and unmounts" "$CLOAKFS" umount "$WORK/mnt"
else
	fail "a mount with a key file" "$(cat "$LOG")"
fi
ok "verify with a key file" "$CLOAKFS" verify --key rsa2048.pem "oci:$ENC:latest"

# ---- tampered packets ----
tampered() { # TEXT JQ-on-the-JWE
	rm -rf bad
	cp -a "$ENC-rsa2048" bad
	layout_edit bad '.layers[0].annotations."org.opencontainers.image.enc.keys.jwe" |=
		(@base64d | fromjson | '"$2"' | tojson | @base64)'
	fails_with 'layer 0' "$1" "$CLOAKFS" cat --key rsa2048.pem "oci:$WORK/bad:latest" /app/numbers
}
tampered "a JWE whose tag was changed" '.tag = "AAAAAAAAAAAAAAAAAAAAAA"'
tampered "a JWE whose ciphertext was changed" '.ciphertext |= "AAAA" + .[4:]'
tampered "a JWE whose key was changed" '.encrypted_key |= "AAAA" + .[4:]'
tampered "a JWE without an iv" 'del(.iv)'
tampered "a JWE with a short tag" '.tag |= .[:4]'
tampered "a JWE that says alg none" '.protected = ("{\"alg\":\"none\",\"enc\":\"A256GCM\"}" | @base64 | rtrimstr("="))'
tampered "a JWE with critical headers" '.protected = ("{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"crit\":[\"x\"],\"x\":1}" | @base64 | rtrimstr("="))'
tampered "a JWE that is a list" '[.]'

finish
