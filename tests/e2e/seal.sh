#!/bin/bash
# seal.sh - cloakfs encrypt and decrypt: sealed layers mount by their end alone, ctr ones are
# skopeo's; what comes back is what went in; nothing half-done stays.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

azure_start
image_small "$WORK/plain" gzip zstd raw
PLAIN=oci:$WORK/plain:latest
KEY=provider:attestation-agent:aasp:$KID
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$WORK/rsa.pem" 2>"$LOG"
openssl pkey -in "$WORK/rsa.pem" -pubout -out "$WORK/rsa.pub"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$WORK/ec.pem" 2>"$LOG"
openssl pkey -in "$WORK/ec.pem" -pubout -out "$WORK/ec.pub"
ENC=org.opencontainers.image.enc

types_of() {
	jq -r '.layers[].mediaType' "$(layout_manifest "$1")"
}
annotation() { # LAYOUT N NAME
	jq -r --argjson n "$2" --arg a "$ENC.$3" '.layers[$n].annotations[$a]' "$(layout_manifest "$1")"
}
# The layers' tar streams of a plain layout, as digests.
tars_of() {
	local i
	for i in $(seq 0 $(($(layout_n_layers "$1") - 1))); do
		blob_decompress "$(layout_blob "$1" "$i")" | sha256sum
	done
}
# The merged tree, as the mount shows it.
tree_of() {
	mount_image "$@" "$WORK/mnt" || return 1
	treedump "$WORK/mnt"
	"$CLOAKFS" umount "$WORK/mnt"
}

# ---- sealed layers, for a key of the HSM and a PEM key ----
counters_reset
ok "encrypt to sealed layers" "$CLOAKFS" encrypt --key "$KEY" --key "$WORK/rsa.pub" "$PLAIN" "oci:$WORK/gcm:latest"
matches 'encrypted +layer 2 ' "$(cat "$LOG")" "it says what became of each layer"
is 0 "$(counter hsm_release)" "and asks for no private key"
T=application/vnd.oci.image.layer.v1.tar
is "$(printf '%s\n' "$T+zstd+encrypted" "$T+zstd+encrypted" "$T+zstd+encrypted")" "$(types_of "$WORK/gcm")" \
	"every layer is zstd, encrypted"
is '{"cipher":"C2SP_CHUNKED_V1_AES_256_GCM","hmac":"","cipheroptions":{}}' \
	"$(annotation "$WORK/gcm" 0 pubopts | base64 -d)" "the public options name the cipher"
same "$(layout_config "$WORK/plain")" "$(layout_config "$WORK/gcm")" "the config is the very same"
matches 'C2SP_CHUNKED_V1_AES_256_GCM' "$("$CLOAKFS" inspect "oci:$WORK/gcm:latest")" "inspect names the cipher"
ok "a mount of it" mount_image "oci:$WORK/gcm:latest" "$WORK/mnt"
treedump "$WORK/mnt" >"$WORK/sealed.tree"
same <(sort <<<"greeting=good day
mode=real") <(sort "$WORK/mnt/app/config") "shows the files"
ok "umount" "$CLOAKFS" umount "$WORK/mnt"
is 1 "$(counter hsm_release)" "with one release for all layers"
tree_of "$PLAIN" >"$WORK/plain.tree"
same "$WORK/plain.tree" "$WORK/sealed.tree" "the tree is that of the plain image"
ok "the PEM key opens it as well" "$CLOAKFS" cat --key "$WORK/rsa.pem" "oci:$WORK/gcm:latest" /app/config
ok "verify reads all of it" "$CLOAKFS" verify --key "$WORK/rsa.pem" "oci:$WORK/gcm:latest"
if skopeo_copy --decryption-key "$WORK/rsa.pem" "oci:$WORK/gcm:latest" "oci:$WORK/no:latest"; then
	fail "skopeo does not know the cipher, and says so" "it decrypted"
else
	matches 'unsupported cipher type' "$(cat "$WORK/skopeo.log")" "skopeo does not know the cipher, and says so"
fi
ok "but carries it" skopeo_copy "oci:$WORK/gcm:latest" "oci:$WORK/carried:latest"
ok "and it mounts from there" "$CLOAKFS" ls --key "$WORK/rsa.pem" "oci:$WORK/carried:latest"

seektable() {
	"$E2E/unseal" --seektable <"$1"
}

# ---- an independent opener, and zstd itself ----
for i in 0 1 2; do
	annotation "$WORK/gcm" "$i" keys.provider.attestation-agent >"$WORK/packet"
	"$CLOAKFS" unwrap --in "$WORK/packet" --out "$WORK/opts" >"$LOG" 2>&1 || cat "$LOG"
	symkey=$(jq -r .symkey "$WORK/opts" | base64 -d | hex_of)
	"$E2E/unseal" "$symkey" "$T+zstd" <"$(layout_blob "$WORK/gcm" $i)" >"$WORK/stream" 2>"$LOG" || cat "$LOG"
	zstd -dqc "$WORK/stream" >"$WORK/stream.tar" 2>"$LOG"
	is "$(jq -r --argjson n $i '.rootfs.diff_ids[$n]' "$(layout_config "$WORK/plain")")" \
		"sha256:$(sha256_of "$WORK/stream.tar")" "layer $i: independently opened, zstd -dc gives the tar of the diff_id"
	ok "layer $i: its seek table is the zstd project's, and right" seektable "$WORK/stream"
	is "$(jq -r --argjson n $i '.layers[$n].annotations["io.cloakfs.index"] | fromjson | .offset' \
		"$(layout_manifest "$WORK/gcm")")" \
		"$(awk '{ at = $1 + 8 } END { print at }' "$LOG")" "layer $i: the index is where the annotation says"
done

# ---- back to a plain image ----
ok "decrypt" "$CLOAKFS" decrypt "oci:$WORK/gcm:latest" "oci:$WORK/back:latest"
is "$(tars_of "$WORK/plain")" "$(tars_of "$WORK/back")" "the tar streams are those of the plain image"
is "0" "$(jq '[.layers[].annotations // {} | keys[] | select(test("enc|cloakfs"))] | length' "$(layout_manifest "$WORK/back")")" \
	"no annotation of ours is left"
ok "umoci unpacks what skopeo makes of it" skopeo_copy --dest-compress-format gzip "oci:$WORK/back:latest" "dir:$WORK/back-dir"
ok "decrypt to a dir" "$CLOAKFS" decrypt "oci:$WORK/gcm:latest" "dir:$WORK/back-d"
tree_of "dir:$WORK/back-d" >"$WORK/back.tree"
same "$WORK/plain.tree" "$WORK/back.tree" "and it is the same tree"

# ---- kept bytes ----
ok "seal the bytes as they are" "$CLOAKFS" encrypt --compress keep --key "$KEY" "$PLAIN" "oci:$WORK/keep:latest"
is "$(jq -r '.layers[].mediaType + "+encrypted"' "$(layout_manifest "$WORK/plain")")" "$(types_of "$WORK/keep")" \
	"the media types keep their compression"
ok "decrypt them" "$CLOAKFS" decrypt "oci:$WORK/keep:latest" "oci:$WORK/kept:latest"
is "$(jq -c '[.layers[] | {digest, size, mediaType}]' "$(layout_manifest "$WORK/plain")")" \
	"$(jq -c '[.layers[] | {digest, size, mediaType}]' "$(layout_manifest "$WORK/kept")")" "and they are the very blobs"

# ---- ctr: skopeo's own ----
ok "encrypt as skopeo does" "$CLOAKFS" encrypt --cipher ctr --key "$WORK/rsa.pub" --key "$KEY" --key "$WORK/ec.pub" \
	"$PLAIN" "oci:$WORK/ctr:latest"
is "$(jq -r '.layers[].mediaType + "+encrypted"' "$(layout_manifest "$WORK/plain")")" "$(types_of "$WORK/ctr")" \
	"layers stay as compressed as they were"
is 193 "$("$CLOAKFS" unwrap --in <(annotation "$WORK/ctr" 0 keys.provider.attestation-agent) --out - | wc -c)" \
	"the private options have ocicrypt's very length"
skopeo_back() { # TEXT KEY
	rm -rf "$WORK/dec"
	if skopeo_copy --dest-oci-accept-uncompressed-layers --decryption-key "$2" "oci:$WORK/ctr:latest" "oci:$WORK/dec:latest"; then
		is "$(jq -c '[.layers[] | {digest, size, mediaType}]' "$(layout_manifest "$WORK/plain")")" \
			"$(jq -c '[.layers[] | {digest, size, mediaType}]' "$(layout_manifest "$WORK/dec")")" "$1"
	else
		fail "$1" "$(cat "$WORK/skopeo.log")"
	fi
}
skopeo_back "skopeo decrypts it with the RSA key" "$WORK/rsa.pem"
skopeo_back "and with the EC key, the second of two JWEs" "$WORK/ec.pem"
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
skopeo_back "and through the key provider" provider:attestation-agent:aasp
ok "a provider that OCICRYPT_KEYPROVIDER_CONFIG names is asked" \
	"$CLOAKFS" encrypt --cipher ctr --key "$KEY" "$PLAIN" "oci:$WORK/asked:latest"
unset OCICRYPT_KEYPROVIDER_CONFIG
ok "and what it wrapped opens" "$CLOAKFS" cat "oci:$WORK/asked:latest" /app/config

# ---- some layers; further recipients; what is encrypted passes ----
ok "only some layers" "$CLOAKFS" encrypt --layers 0,-1 --key "$KEY" "$PLAIN" "oci:$WORK/some:latest"
is "$(printf '%s\n' "$T+zstd+encrypted" "$T+zstd" "$T+zstd+encrypted")" "$(types_of "$WORK/some")" \
	"the first and the last are encrypted, the other is as it was"
is "$(layout_blob "$WORK/plain" 1 | xargs basename)" "$(layout_blob "$WORK/some" 1 | xargs basename)" "to the byte"
ok "the rest later, for another key" "$CLOAKFS" encrypt --key "$WORK/ec.pub" "oci:$WORK/some:latest" "oci:$WORK/rest:latest"
is "$(layout_blob "$WORK/some" 0 | xargs basename)" "$(layout_blob "$WORK/rest" 0 | xargs basename)" \
	"layers that are encrypted pass through"
fails_with 'no key fits' "they are not the new recipient's" "$CLOAKFS" cat --key "$WORK/ec.pem" "oci:$WORK/rest:latest" /app/config
cp -r "$WORK/rest" "$WORK/rest-bad"
printf 'x' | dd of="$(layout_blob "$WORK/rest-bad" 0)" bs=1 seek=3000 conv=notrunc status=none
fails_with 'layer 1 .*no key fits' "decrypt asks for every key before it reads any blob" \
	"$CLOAKFS" decrypt "oci:$WORK/rest-bad:latest" "oci:$WORK/none:latest"
ok "with --unwrap they become the recipient's too" \
	"$CLOAKFS" encrypt --key "$WORK/ec.pub" --unwrap hsm "oci:$WORK/some:latest" "oci:$WORK/both:latest"
ok "so that it opens the image" "$CLOAKFS" cat --key "$WORK/ec.pem" "oci:$WORK/both:latest" /app/config
encrypt "$WORK/plain" "$WORK/skopeo-enc" --dest-oci-accept-uncompressed-layers --encryption-key "jwe:$WORK/rsa.pub"
ok "a recipient more for an image of skopeo's" \
	"$CLOAKFS" encrypt --key "$WORK/ec.pub" --unwrap "$WORK/rsa.pem" "oci:$WORK/skopeo-enc:latest" "oci:$WORK/more:latest"
cp -r "$WORK/more" "$WORK/ctr.more"
rm -rf "$WORK/ctr" && mv "$WORK/ctr.more" "$WORK/ctr"
ok "or in the same layout" \
	"$CLOAKFS" encrypt --key "$WORK/ec.pub" --unwrap "$WORK/rsa.pem" "oci:$WORK/skopeo-enc:latest" "oci:$WORK/skopeo-enc:more"
is "" "$(grep note: "$LOG")" "which has no plain layers, so that there is nothing to say"
skopeo_back "skopeo opens it with the new key" "$WORK/ec.pem"
skopeo_back "and with the old one" "$WORK/rsa.pem"
fails_with 'encrypted already.*--unwrap' "nothing to encrypt is said" "$CLOAKFS" encrypt --key "$WORK/ec.pub" "oci:$WORK/gcm:latest" "oci:$WORK/none:latest"
fails_with 'no layer .*encrypted' "nothing to decrypt, too" "$CLOAKFS" decrypt "$PLAIN" "oci:$WORK/none:latest"
layout_new "$WORK/zero"
layout_finish "$WORK/zero" latest
fails_with 'has no layers' "no layers, also" "$CLOAKFS" encrypt --key "$WORK/ec.pub" "oci:$WORK/zero:latest" "oci:$WORK/none:latest"
cp -r "$WORK/some" "$WORK/other"
jq -c '.rootfs.diff_ids[1] = .rootfs.diff_ids[0]' "$(layout_config "$WORK/some")" >"$WORK/config"
layout_set_config "$WORK/other" "$WORK/config"
fails_with 'layer 1 .*diff_id' "a plain layer that is not the image's is not passed on by decrypt" \
	"$CLOAKFS" decrypt "oci:$WORK/other:latest" "oci:$WORK/none:latest"
config_edit '.require_encrypted = true'
fails_with 'layer 1 .*require_encrypted' "a plain layer is not decrypted where the configuration demands that there is none" \
	"$CLOAKFS" decrypt "oci:$WORK/some:latest" "oci:$WORK/none:latest"
ok "which is no matter to encrypt" "$CLOAKFS" encrypt --key "$WORK/ec.pub" "$PLAIN" "oci:$WORK/demanded:latest"
config_edit 'del(.require_encrypted)'
ok "none of them leaves anything" test ! -e "$WORK/none"

# ---- what is read of a sealed image ----
dd if=/dev/urandom of="$WORK/big" bs=1M count=60 status=none
layout_new "$WORK/large"
tar -C "$WORK" -cf "$WORK/large.tar" --format=posix big plain.tree
layout_add "$WORK/large" "$WORK/large.tar" raw
layout_finish "$WORK/large" latest
ok "a larger layer" "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$WORK/large:latest" "oci:$WORK/sealed:latest"
strace -f -y -e trace=pread64 -e signal=none -o "$WORK/trace" \
	"$CLOAKFS" cat --key "$WORK/rsa.pem" --cache-dir none "oci:$WORK/sealed:latest" /plain.tree >"$WORK/out" 2>"$LOG"
same "$WORK/plain.tree" "$WORK/out" "a small file of it"
n=$(awk '/pread64\(.*blobs\/sha256\// && / = [0-9]+$/ { n += $NF } END { print n + 0 }' "$WORK/trace")
if [ "$n" -gt 0 ] && [ "$n" -lt 3000000 ]; then
	pass "costs a few chunks of its 60 MB"
else
	fail "costs a few chunks of its 60 MB" "$n bytes were read"
fi

# ---- a byte changed ----
blob=$(layout_blob "$WORK/sealed" 0)
cp "$blob" "$WORK/good"
printf 'x' | dd of="$blob" bs=1 seek=30000000 conv=notrunc status=none
ok "a changed byte does not keep the image from being mounted" \
	mount_image "oci:$WORK/sealed:latest" "$WORK/mnt" --key "$WORK/rsa.pem" --cache-dir none
same "$WORK/plain.tree" "$WORK/mnt/plain.tree" "what is sound is served"
if cmp -s "$WORK/mnt/big" "$WORK/big" 2>"$LOG"; then
	fail "what is not is an I/O error" "it was read whole"
else
	matches 'Input/output error' "$(cat "$WORK/mnt/big" 2>&1 >/dev/null)" "what is not is an I/O error"
fi
head -c 20000000 "$WORK/big" >"$WORK/head"
same "$WORK/head" <(head -c 20000000 "$WORK/mnt/big") "and only there"
ok "umount" "$CLOAKFS" umount "$WORK/mnt"
matches 'failed +layer 0 .*(not authentic|digest check)' "$("$CLOAKFS" verify --key "$WORK/rsa.pem" "oci:$WORK/sealed:latest" 2>&1)" \
	"verify finds it"
fails_with 'layer 0 .*(not authentic|digest check)' "decrypt refuses it" \
	"$CLOAKFS" decrypt --key "$WORK/rsa.pem" "oci:$WORK/sealed:latest" "oci:$WORK/none:latest"
ok "and leaves nothing" test ! -e "$WORK/none"
fails_with 'layer 0 .*(not authentic|digest check)' "export writes nothing of it" \
	"$CLOAKFS" export --key "$WORK/rsa.pem" --layer 0 "oci:$WORK/sealed:latest"
cp "$WORK/good" "$blob"

# ---- killed, and in the way ----
for i in 1 2 3 4 5 6 7 8; do
	"$CLOAKFS" encrypt --level 12 --key "$WORK/rsa.pub" "oci:$WORK/large:latest" "oci:$WORK/killed:latest" >"$LOG" 2>&1 &
	pid=$!
	sleep "0.$((i * 11 % 9))"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	if [ -e "$WORK/killed/index.json" ]; then
		"$CLOAKFS" verify --key "$WORK/rsa.pem" "oci:$WORK/killed:latest" >"$LOG" 2>&1 || break
	fi
	for b in "$WORK"/killed/blobs/sha256/????????????????????????????????????????????????????????????????; do
		[ ! -e "$b" ] || [ "$(sha256_of "$b")" = "$(basename "$b")" ] || break 2
	done
	i=done
done
is done "$i" "killed at any time, no half image and no half blob is left"
ok "and the next run is none the worse" "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$WORK/large:latest" "oci:$WORK/killed:latest"
ok "with a whole image" "$CLOAKFS" verify --key "$WORK/rsa.pem" "oci:$WORK/killed:latest"
mkdir "$WORK/small-disk" && mount -t tmpfs -o size=10M tmpfs "$WORK/small-disk"
fails_with 'No space left' "a full disk" "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$WORK/large:latest" "oci:$WORK/small-disk/x:latest"
is "" "$(find "$WORK/small-disk" -mindepth 1)" "leaves nothing either"
umount "$WORK/small-disk"
fails_with 'nosuchkey' "a key that does not exist" "$CLOAKFS" encrypt --key "${KEY%:*}:nosuchkey" "$PLAIN" "oci:$WORK/none:latest"
fails_with 'public' "a private key as recipient" "$CLOAKFS" encrypt --key "$WORK/rsa.pem" "$PLAIN" "oci:$WORK/none:latest"
fails_with 'no layer 7' "a layer that is not there" "$CLOAKFS" encrypt --layers 7 --key "$WORK/rsa.pub" "$PLAIN" "oci:$WORK/none:latest"
ok "nothing is left of any" test ! -e "$WORK/none"
"$CLOAKFS" encrypt --compress keep --level 5 --key "$WORK/rsa.pub" "$PLAIN" "oci:$WORK/none:latest" >"$LOG" 2>&1
is "2 1" "$? $(grep -c -e '--level is for' "$LOG")" "a level for bytes that are kept is a mistake of usage"
cp -r "$WORK/plain" "$WORK/beside"
ok "encrypt beside the plain image" "$CLOAKFS" encrypt --key "$WORK/rsa.pub" "oci:$WORK/beside:latest" "oci:$WORK/beside:sealed"
matches 'note: .*as they were' "$(cat "$LOG")" "says that the plain layers are still there"
is "manifest layers" "$("$CLOAKFS" encrypt --json --key "$WORK/rsa.pub" "$PLAIN" "oci:$WORK/json:latest" | jq -r 'keys_unsorted | join(" ")')" \
	"--json"

finish
