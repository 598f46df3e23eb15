#!/bin/bash
# push.sh - images and index artifacts written to registries: Debian's, which has no referrers API
# and loses an upload that is cut, and one that goes wrong as it is told to.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

azure_start
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
KEY=provider:attestation-agent:aasp:$KID
CHUNK=$((8 << 20))

image_small "$WORK/plain" gzip zstd raw
# One layer that does not fit in one request.
mkdir -p "$WORK/big/data"
head -c 30000000 /dev/urandom >"$WORK/big/data/noise"
tar -C "$WORK/big" -cf "$WORK/big.tar" .
layout_new "$WORK/large"
layout_add "$WORK/large" "$WORK/big.tar" raw
layout_finish "$WORK/large"
rm -rf "$WORK/big" "$WORK/big.tar"

docker_registry dr "$(dr_plain)"
fr_start fr
DR=$(fr_at dr)
FR=$(fr_at fr)

# manifest_of NAME REPO REFERENCE: the bytes, or nothing and false.
manifest_of() {
	curl -sf -H "Accept: $IMG_TYPE.manifest.v1+json" -H "Accept: $IMG_TYPE.index.v1+json" \
		"http://$(fr_at "$1")/v2/$2/manifests/$3"
}
digest_said() {
	sed -n 's/^manifest *//p' "$LOG"
}
# What docker-registry was asked: "METHOD PATH STATUS" a line.
dr_log() {
	sed -n 's/.*"\([A-Z]*\) \(\/v2\/[^ ]*\) HTTP\/[0-9.]*" \([0-9]*\).*/\1 \2 \3/p' "$WORK/dr.err"
}
dr_count() { # REGEX
	dr_log | grep -cE -- "$1"
}
pull() { # IMAGE DIR [options]: by skopeo
	local image=$1 dir=$2
	shift 2
	rm -rf "$dir"
	skopeo_copy --src-tls-verify=false --dest-oci-accept-uncompressed-layers "$@" "$image" "oci:$dir:latest"
}
layers_of() {
	jq -c '[.layers[] | {digest, size, mediaType}], .config.digest' "$(layout_manifest "$1")"
}

# both NAME: what works with every registry.
both() {
	local name=$1 at
	at=$(fr_at "$name")
	ok "$name: encrypt" "$CLOAKFS" encrypt --key "$KEY" "oci:$WORK/plain:latest" "docker://$at/app/sealed:v1"
	is "$(digest_said)" "sha256:$(manifest_of "$name" app/sealed v1 | sha256sum | cut -d' ' -f1)" \
		"$name: the tag names the manifest that it says"
	ok "$name: skopeo pulls it" pull "docker://$at/app/sealed:v1" "$WORK/$name-sealed"
	ok "$name: and it is whole" "$CLOAKFS" verify "oci:$WORK/$name-sealed:latest"
	same "$(layout_config "$WORK/plain")" "$(layout_config "$WORK/$name-sealed")" "$name: with the very same config"

	ok "$name: encrypt --cipher ctr, without a tag" "$CLOAKFS" encrypt --cipher ctr --key "$KEY" \
		"oci:$WORK/plain:latest" "docker://$at/app/ctr"
	ok "$name: skopeo pulls and decrypts latest" pull "docker://$at/app/ctr:latest" "$WORK/$name-ctr" \
		--decryption-key "provider:attestation-agent:aasp"
	is "$(layers_of "$WORK/plain")" "$(layers_of "$WORK/$name-ctr")" "$name: the layers are the plain ones"

	ok "$name: encrypt, a large layer" "$CLOAKFS" encrypt --compress keep --key "$KEY" "oci:$WORK/large:latest" \
		"docker://$at/app/large:v1"
	ok "$name: skopeo pulls it" pull "docker://$at/app/large:v1" "$WORK/$name-large"
	ok "$name: and it is whole" "$CLOAKFS" verify "oci:$WORK/$name-large:latest"

	ok "$name: decrypt into a registry" "$CLOAKFS" decrypt "oci:$WORK/$name-sealed:latest" "docker://$at/app/open:v1"
	ok "$name: skopeo pulls it" pull "docker://$at/app/open:v1" "$WORK/$name-open"
	same "$(layout_config "$WORK/plain")" "$(layout_config "$WORK/$name-open")" "$name: that is the plain image"
	fails_with 'sha256-.*refers to an image' "$name: a tag that is not ours to give" "$CLOAKFS" encrypt --key "$KEY" \
		"oci:$WORK/plain:latest" "docker://$at/app/x:sha256-$(printf '0%.0s' {1..64})"
	fails_with 'cannot be asked for' "$name: nor is a digest" "$CLOAKFS" encrypt --key "$KEY" \
		"oci:$WORK/plain:latest" "docker://$at/app/x@sha256:$(printf '0%.0s' {1..64})"
}
both dr
both fr

# ---- what is there does not go again ----
n=$(dr_count '^(PATCH|PUT) /v2/app/open/blobs/uploads')
ok "decrypt once more, by another tag" "$CLOAKFS" decrypt "oci:$WORK/dr-sealed:latest" "docker://$DR/app/open:v2"
is "$n" "$(dr_count '^(PATCH|PUT) /v2/app/open/blobs/uploads')" "sends no blob again"
same <(manifest_of dr app/open v1) <(manifest_of dr app/open v2) "and the manifest is the same"

# ---- cut uploads ----
size=$(stat -c %s "$(layout_blob "$WORK/large" 0)")
n_chunks=$(((size + CHUNK - 1) / CHUNK))
encrypt_large() { # TAG
	"$CLOAKFS" encrypt --compress keep --cipher ctr --key "$KEY" "oci:$WORK/large:latest" "docker://$FR/app/large:$1"
}
for skip in $(seq 0 $((n_chunks - 1))); do
	fr fr clear >/dev/null
	fr_mark fr
	fr fr fault method=PATCH skip="$skip" times=1 eat=3000000 >/dev/null
	ok "a push of which piece $skip is cut" encrypt_large "cut$skip"
	is 1 "$(fr_count fr ' POST /v2/app/large/blobs/uploads/')" "goes on with the same upload"
	is $((n_chunks + 1)) "$(fr_count fr ' PATCH ')" "with one request more"
	ok "skopeo pulls and decrypts it" pull "docker://$FR/app/large:cut$skip" "$WORK/cut" \
		--decryption-key "provider:attestation-agent:aasp"
	same "$(layout_blob "$WORK/large" 0)" "$(layout_blob "$WORK/cut" 0)" "and nothing is missing"
done
fr fr clear >/dev/null
fr_mark fr
fr fr fault method=PATCH skip=2 times=2 status=503 >/dev/null
ok "a push through a registry's trouble" encrypt_large trouble
is 1 "$(fr_count fr ' POST /v2/app/large/blobs/uploads/')" "goes on with the same upload"
fr fr clear >/dev/null
fr_mark fr
fr fr fault method=PATCH skip=2 times=1 eat=100 >/dev/null
fr fr fault method=GET path=/blobs/uploads/ times=1 status=404 >/dev/null
ok "a push to a registry that loses an upload" encrypt_large lost
is 2 "$(fr_count fr ' POST /v2/app/large/blobs/uploads/')" "makes the layer anew"
ok "skopeo pulls and decrypts it" pull "docker://$FR/app/large:lost" "$WORK/cut" \
	--decryption-key "provider:attestation-agent:aasp"
same "$(layout_blob "$WORK/large" 0)" "$(layout_blob "$WORK/cut" 0)" "and nothing is missing"
fr fr clear >/dev/null
fr fr fault method=PATCH status=405 >/dev/null
fr_mark fr
ok "a push to a registry that takes no pieces" encrypt_large whole
is 1 "$(fr_count fr ' PATCH ')" "asks once"
ok "skopeo pulls it" pull "docker://$FR/app/large:whole" "$WORK/cut"
fr fr clear >/dev/null
fr fr fault method=PUT path=/manifests/ status=403 >/dev/null
fails_with '403' "a registry that refuses the manifest is said" "$CLOAKFS" encrypt --key "$KEY" \
	"oci:$WORK/plain:latest" "docker://$FR/app/large:refused"
ok "and the image is not there" eval '! manifest_of fr app/large refused'
fr fr clear >/dev/null

# ---- killed ----
fr fr fault method=PATCH skip=1 delay=60000 >/dev/null
fr_mark fr
start "$WORK/killed.log" "$CLOAKFS" encrypt --compress keep --key "$KEY" "oci:$WORK/large:latest" "docker://$FR/app/killed:v1"
pid=$!
# A request is logged once it is answered: the first piece is, the second waits.
one_piece() {
	grep -q 'PATCH /v2/app/killed/' "$WORK/fr.requests"
}
ok "a push is half-way" wait_until 20 one_piece
kill -9 $pid
wait $pid 2>/dev/null
fr fr clear >/dev/null
ok "killed there, it leaves no image" eval '! manifest_of fr app/killed v1'
ok "and is no obstacle to the next" "$CLOAKFS" encrypt --compress keep --key "$KEY" "oci:$WORK/large:latest" "docker://$FR/app/killed:v1"
ok "which is there" manifest_of fr app/killed v1

finish
