#!/bin/bash
# push.sh - images and index artifacts written to registries: Debian's, which has no referrers API
# and loses an upload that is cut, and one that goes wrong as it is told to.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

export HOME=$WORK # nobody's credentials
unset XDG_RUNTIME_DIR REGISTRY_AUTH_FILE DOCKER_CONFIG
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

# ---- from one repository to another ----
ok "the plain image goes into a registry" skopeo_copy --preserve-digests --dest-tls-verify=false \
	"oci:$WORK/plain:latest" "docker://$DR/app/plain:v1"
ok "encrypt one layer of it, into another repository" "$CLOAKFS" encrypt --layers 1 --cipher ctr --key "$KEY" \
	"docker://$DR/app/plain:v1" "docker://$DR/app/part:v1"
is 2 "$(dr_count '^POST /v2/app/part/blobs/uploads/\?mount=.*&from=app/plain 201')" "mounts the layers that pass"
is 2 "$(dr_count '^PUT /v2/app/part/blobs/uploads')" "and sends the encrypted one and the config"
is 0 "$(dr_count '^GET /v2/app/plain/blobs/'"$(jq -r '.layers[0].digest' "$(layout_manifest "$WORK/plain")")")" "a mounted layer is not read"
ok "skopeo pulls and decrypts it" pull "docker://$DR/app/part:v1" "$WORK/part" --decryption-key "provider:attestation-agent:aasp"
is "$(layers_of "$WORK/plain")" "$(layers_of "$WORK/part")" "and the layers are the plain ones"
"$CLOAKFS" encrypt --layers 1 --cipher ctr --key "$KEY" "docker://$DR/app/plain:v1" "docker://$DR/app/plain:v2" >"$LOG" 2>&1
matches 'note: .*/app/plain holds the image.s layers as they were' "$(cat "$LOG")" "the same repository has the plain layers, too, which is said"
manifest_of dr app/part v1 >"$WORK/was"
fails_with 'would stand for the decrypted image' "an encrypted tag is not replaced by its plaintext" \
	"$CLOAKFS" decrypt "docker://$DR/app/part:v1" "docker://$DR/app/part:v1"
same "$WORK/was" <(manifest_of dr app/part v1) "and is what it was"
ok "decrypt from one registry into another" "$CLOAKFS" decrypt "docker://$DR/app/part:v1" "docker://$FR/app/back:v1"
ok "skopeo pulls it" pull "docker://$FR/app/back:v1" "$WORK/back"
is "$(layers_of "$WORK/plain")" "$(layers_of "$WORK/back")" "it is the plain image"

# ---- indexes that travel with an image ----
index_both() { # NAME REFERRERS: whether the registry lists what refers to an image
	local name=$1 at subject tag artifact n
	at=$(fr_at "$name")
	subject=sha256:$(manifest_of "$name" app/ctr latest | sha256sum | cut -d' ' -f1)
	tag=sha256-${subject#sha256:}
	fails_with 'registry: --push puts .* --out DIR' "$name: index wants to be told where" "$CLOAKFS" index "docker://$at/app/ctr"
	ok "$name: index --push" "$CLOAKFS" index --push "docker://$at/app/ctr"
	artifact=$(sed -n 's/^artifact *\(sha256:[0-9a-f]*\) in .*/\1/p' "$LOG")
	matches "artifact +sha256:[0-9a-f]{64} in $at/app/ctr" "$(cat "$LOG")" "$name: says what it made"
	# An index of each layer, and the windows of the one that needs any.
	is "$subject application/vnd.cloakfs.index.v1 4" "$(manifest_of "$name" app/ctr "$artifact" |
		jq -r '"\(.subject.digest) \(.artifactType) \(.layers | length)"')" "$name: the artifact refers to the image"
	if [ "$2" = api ]; then
		ok "$name: and the tag that would list it is not there" eval "! manifest_of $name app/ctr $tag"
		is "$artifact" "$(curl -sf "http://$at/v2/app/ctr/referrers/$subject" | jq -r '.manifests[].digest')" \
			"$name: the registry lists it"
	else
		is "$artifact" "$(manifest_of "$name" app/ctr "$tag" | jq -r '.manifests[].digest')" "$name: the tag lists it"
	fi
	ok "$name: once more" "$CLOAKFS" index --push "docker://$at/app/ctr"
	[ "$2" = api ] || is 1 "$(manifest_of "$name" app/ctr "$tag" | jq '.manifests | length')" "$name: is listed once"
	ok "$name: ls" "$CLOAKFS" ls --cache-dir none "docker://$at/app/ctr" /app
	matches 'weights.bin' "$(cat "$LOG")" "$name: has the files"
}
index_both dr tag
index_both fr api
ok "--out DIR, of an image in a registry" "$CLOAKFS" index --out "$WORK/indexes" "docker://$FR/app/ctr"
fails_with 'one or the other' "--out and --push" "$CLOAKFS" index --out "$WORK/indexes" --push "docker://$FR/app/ctr"
"$CLOAKFS" encrypt --cipher ctr --key "$KEY" "oci:$WORK/plain:latest" "oci:$WORK/ctr:latest" >"$LOG" 2>&1
fails_with 'is for an image in a registry' "--push of a layout's image" "$CLOAKFS" index --push "oci:$WORK/ctr:latest"

# Lazy: mounted by the pushed index, an image of skopeo's form is not read through.
ok "an image of the large layer, as skopeo encrypts" "$CLOAKFS" encrypt --cipher ctr --key "$KEY" \
	"oci:$WORK/large:latest" "docker://$FR/app/lazy:v1"
ok "index --push" "$CLOAKFS" index --push "docker://$FR/app/lazy:v1"
fr_mark fr
ok "a mount" mount_image "docker://$FR/app/lazy:v1" "$WORK/mnt" --cache-dir none --prefetch none
n=$(fr_bytes fr)
ok "has read less than a fiftieth of it ($n bytes)" test "$n" -lt 600000
ok "a file of it" cmp <(head -c 100000 "$WORK/mnt/data/noise") <(tar -xOf "$(layout_blob "$WORK/large" 0)" ./data/noise | head -c 100000)
ok "umount" "$CLOAKFS" umount "$WORK/mnt"

# ---- who may not push ----
fr_start closed --layout "app/ctr=$WORK/ctr" --bearer --user me:secret --anonymous
CL=$(fr_at closed)
fails_with 'unauthorized|denied|credentials|forbidden' "nobody may push" "$CLOAKFS" encrypt --key "$KEY" "oci:$WORK/plain:latest" "docker://$CL/app/new:v1"
fr_mark closed
fails_with 'unauthorized|denied|credentials|forbidden' "nor index --push" "$CLOAKFS" index --push "docker://$CL/app/ctr:latest"
is 0 "$(fr_count closed " GET /v2/app/ctr/blobs/$(jq -r '.layers[0].digest' "$(layout_manifest "$WORK/ctr")")")" "which is known before the image is read through"
printf '{"auths": {"%s": {"auth": "%s"}}}' "$CL" "$(printf me:secret | base64)" >"$WORK/auth.json"
ok "with credentials one may" "$CLOAKFS" encrypt --authfile "$WORK/auth.json" --key "$KEY" "oci:$WORK/plain:latest" "docker://$CL/app/new:v1"
ok "index --push, too" "$CLOAKFS" index --authfile "$WORK/auth.json" --push "docker://$CL/app/ctr:latest"
ok "mounts take two rights" "$CLOAKFS" encrypt --authfile "$WORK/auth.json" --layers 0 --unwrap "$KEY" --key "$KEY" "docker://$CL/app/ctr:latest" "docker://$CL/app/more:v1"

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

# A registry may be silent for longer than one that reads would wait.
config_edit '.registry.timeout_ms = 4000'
fr fr fault method=PATCH delay=3000 times=1 >/dev/null
fr fr fault method=PUT path=/blobs/uploads/ delay=4500 times=1 >/dev/null
fr_mark fr
ok "a push to a slow registry" encrypt_large slow
is "$n_chunks 1" "$(fr_count fr ' PATCH ') $(fr_count fr ' PUT /v2/app/large/blobs/uploads/')" "sends nothing twice"
fr fr clear >/dev/null
config_edit 'del(.registry)'

# ---- over TLS ----
pki_make localhost
cat "$PKI/ca.pem" "$(jq -r .ca_file "$CLOAKFS_CONFIG")" >"$WORK/roots.pem"
config_edit --arg f "$WORK/roots.pem" '.ca_file = $f'
docker_registry tls "$(dr_tls)"
ok "encrypt to a registry with TLS" "$CLOAKFS" encrypt --compress keep --key "$KEY" "oci:$WORK/large:latest" \
	"docker://$(fr_at tls)/app/large:v1"
docker_registry astray "$(dr_tls | sed 's|{addr|{host: "http://127.0.0.1:1", addr|')"
fails_with 'without TLS' "what goes to such a registry goes nowhere without" "$CLOAKFS" encrypt --key "$KEY" \
	"oci:$WORK/plain:latest" "docker://$(fr_at astray)/app/large:v1"

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
