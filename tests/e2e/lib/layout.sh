# layout.sh - OCI image layouts made and changed by hand, so that every layer's bytes are known,
# and encrypted as ocicrypt does it. Sourced. Needs jq, gzip, pigz, zstd, openssl, sha256sum.
# shellcheck shell=bash

IMG_TYPE=application/vnd.oci.image

sha256_of() {
	sha256sum "$1" | cut -d' ' -f1
}

# blob_put LAYOUT FILE: copies FILE among the blobs, prints its hex digest.
blob_put() {
	local sum
	sum=$(sha256_of "$2")
	cp "$2" "$1/blobs/sha256/$sum"
	echo "$sum"
}

layout_new() {
	rm -rf "$1" "$1.layers"
	mkdir -p "$1/blobs/sha256"
	: >"$1.layers"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
}

# Prints a skippable zstd frame (RFC 8878, 3.1.2) with 5 bytes in it.
zstd_skippable() {
	printf '\x50\x2a\x4d\x18\x05\x00\x00\x00hello'
}

# cut_in_3 FILE COMMAND...: the command's output for each third of FILE, one after another.
cut_in_3() {
	local file=$1 size third
	shift
	size=$(stat -c %s "$file")
	third=$((size / 3 + 7)) # not at a block's end
	head -c "$third" "$file" | "$@"
	tail -c "+$((third + 1))" "$file" | head -c "$third" | "$@"
	tail -c "+$((2 * third + 1))" "$file" | "$@"
}

# compress FILE FORM: gzip gzip-multi pigz zstd zstd-multi zstd-skip raw, to stdout.
compress() {
	case $2 in
	raw) cat "$1" ;;
	gzip) gzip -nc "$1" ;;
	gzip-multi) cut_in_3 "$1" gzip -nc ;;
	pigz) pigz -nc -i -p 4 "$1" ;;
	zstd) zstd -qc "$1" ;;
	zstd-multi) cut_in_3 "$1" zstd -qc ;;
	zstd-skip)
		zstd_skippable
		zstd -qc --check "$1"
		zstd_skippable
		;;
	*) echo "compress: no form $2" >&2; return 1 ;;
	esac
}

# layout_add LAYOUT TAR FORM: adds a layer on top.
layout_add() {
	local suffix tmp sum
	case $3 in
	raw) suffix= ;;
	zstd*) suffix=+zstd ;;
	*) suffix=+gzip ;;
	esac
	tmp=$(mktemp "$1.XXXXXX")
	compress "$2" "$3" >"$tmp" || return 1
	sum=$(blob_put "$1" "$tmp")
	printf '{"mediaType": "%s", "digest": "sha256:%s", "size": %d, "diff_id": "sha256:%s"}\n' \
		"$IMG_TYPE.layer.v1.tar$suffix" "$sum" "$(stat -c %s "$tmp")" "$(sha256_of "$2")" >>"$1.layers"
	rm -f "$tmp"
}

machine_arch() {
	dpkg --print-architecture
}

# layout_finish LAYOUT [REF]: writes config, manifest and index.
layout_finish() {
	local tmp
	tmp=$(mktemp "$1.XXXXXX")
	jq -sc --arg a "$(machine_arch)" '{architecture: $a, os: "linux", config: {Cmd: ["/bin/sh"]},
		rootfs: {type: "layers", diff_ids: map(.diff_id)}}' "$1.layers" >"$tmp"
	local config size
	config=$(blob_put "$1" "$tmp")
	size=$(stat -c %s "$tmp")
	jq -sc --arg c "sha256:$config" --argjson s "$size" --arg t "$IMG_TYPE" '{schemaVersion: 2,
		mediaType: ($t + ".manifest.v1+json"),
		config: {mediaType: ($t + ".config.v1+json"), digest: $c, size: $s},
		layers: map(del(.diff_id))}' "$1.layers" >"$tmp"
	layout_set_manifest "$1" "$tmp" "${2:-latest}"
	rm -f "$tmp" "$1.layers"
}

# layout_set_manifest LAYOUT FILE REF: FILE becomes the only manifest.
layout_set_manifest() {
	local sum
	sum=$(blob_put "$1" "$2")
	jq -nc --arg d "sha256:$sum" --argjson s "$(stat -c %s "$2")" --arg t "$IMG_TYPE" --arg r "$3" \
		'{schemaVersion: 2, mediaType: ($t + ".index.v1+json"), manifests: [{mediaType: ($t + ".manifest.v1+json"),
		digest: $d, size: $s, annotations: {"org.opencontainers.image.ref.name": $r}}]}' >"$1/index.json"
}

# layout_manifest LAYOUT, layout_config LAYOUT, layout_blob LAYOUT N: a blob's path.
layout_manifest() {
	echo "$1/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' "$1/index.json")"
}
layout_config() {
	echo "$1/blobs/sha256/$(jq -r '.config.digest[7:]' "$(layout_manifest "$1")")"
}
layout_blob() {
	echo "$1/blobs/sha256/$(jq -r --argjson n "$2" '.layers[$n].digest[7:]' "$(layout_manifest "$1")")"
}
layout_n_layers() {
	jq '.layers | length' "$(layout_manifest "$1")"
}

layout_ref() {
	jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"] // "latest"' "$1/index.json"
}

# layout_edit LAYOUT JQ-ARGS...: changes the manifest, digests put right again.
layout_edit() {
	local dir=$1 tmp
	shift
	tmp=$(mktemp "$dir.XXXXXX")
	jq -c "$@" "$(layout_manifest "$dir")" >"$tmp" || return 1
	layout_set_manifest "$dir" "$tmp" "$(layout_ref "$dir")"
	rm -f "$tmp"
}

# layout_set_config LAYOUT FILE: FILE becomes the config; manifest and index follow.
layout_set_config() {
	local sum
	sum=$(blob_put "$1" "$2")
	layout_edit "$1" --arg d "sha256:$sum" --argjson s "$(stat -c %s "$2")" \
		'.config.digest = $d | .config.size = $s'
}

layout_edit_config() {
	local dir=$1 tmp
	shift
	tmp=$(mktemp "$dir.XXXXXX")
	jq -c "$@" "$(layout_config "$dir")" >"$tmp" || return 1
	layout_set_config "$dir" "$tmp"
	rm -f "$tmp"
}

# layout_set_blob LAYOUT N FILE: FILE becomes layer N's blob, digest and size follow.
layout_set_blob() {
	local sum
	sum=$(blob_put "$1" "$3")
	layout_edit "$1" --argjson n "$2" --arg d "sha256:$sum" --argjson s "$(stat -c %s "$3")" \
		'.layers[$n].digest = $d | .layers[$n].size = $s'
}

# blob_decompress FILE: the tar stream in a blob, whatever packs it.
blob_decompress() {
	case $(head -c 4 "$1" | od -An -tx1 | tr -d ' \n') in
	1f8b*) gzip -dc "$1" ;;
	28b52ffd | 502a4d18) zstd -dqc "$1" ;;
	*) cat "$1" ;;
	esac
}

# layout_as_raw SRC DST: the same image with uncompressed layers (umoci knows no zstd).
layout_as_raw() {
	local i
	layout_new "$2"
	for i in $(seq 0 $(($(layout_n_layers "$1") - 1))); do
		blob_decompress "$(layout_blob "$1" "$i")" >"$2.tar"
		layout_add "$2" "$2.tar" raw
	done
	rm -f "$2.tar"
	layout_finish "$2"
}

# ---- encryption as ocicrypt does it, by openssl alone -------------------------------------

hex_of() {
	od -An -v -tx1 | tr -d ' \n'
}
b64_of_hex() {
	printf '%s' "$1" | xxd -r -p | base64 -w0
}

# blob_encrypt IN OUT SYMKEY-HEX NONCE-HEX: AES-256-CTR; prints the HMAC, hex.
blob_encrypt() {
	openssl enc -aes-256-ctr -K "$3" -iv "$4" -in "$1" -out "$2" || return 1
	openssl dgst -sha256 -mac HMAC -macopt "hexkey:$3" -r "$2" | cut -d' ' -f1
}

# optsdata SYMKEY-HEX NONCE-HEX DIGEST-HEX: the private options, as ocicrypt writes them.
optsdata() {
	printf '{"symkey":"%s","digest":"sha256:%s","cipheroptions":{"nonce":"%s"}}' \
		"$(b64_of_hex "$1")" "$3" "$(b64_of_hex "$2")"
}

# keywrap_exec FILE: private options in FILE -> base64 packet, by `cloakfs keyprovider --exec`
# for the agent and key id in $KEK (default aasp:imagekey000).
keywrap_exec() {
	jq -nc --arg k "$(printf '%s' "${KEK:-aasp:imagekey000}" | base64 -w0)" \
		--arg o "$(base64 -w0 <"$1")" '{op: "keywrap",
		keywrapparams: {ec: {Parameters: {"attestation-agent": [$k]}, DecryptConfig: {Parameters: {}}},
		optsdata: $o}, keyunwrapparams: {dc: null, annotation: null}}' |
		"$CLOAKFS" keyprovider --exec |
		jq -r '.keywrapresults.annotation | if type == "array" then implode else @base64d end' | base64 -w0
}

# layout_encrypt_layer LAYOUT N: encrypts layer N in place. Variables override what is written:
# E_SYMKEY E_NONCE (hex), E_HMAC (hex), E_CIPHER, E_OPTS (whole private options), E_PUBOPTS.
layout_encrypt_layer() {
	local dir=$1 n=$2 plain cipher opts key nonce hmac packet pub sum
	plain=$(layout_blob "$dir" "$n")
	key=${E_SYMKEY:-$(openssl rand -hex 32)}
	nonce=${E_NONCE:-$(openssl rand -hex 16)}
	cipher=$(mktemp "$dir.XXXXXX")
	opts=$(mktemp "$dir.XXXXXX")
	hmac=$(blob_encrypt "$plain" "$cipher" "$key" "$nonce") || return 1
	sum=$(sha256_of "$plain")
	if [ -n "${E_OPTS:-}" ]; then
		printf '%s' "$E_OPTS" >"$opts"
	else
		optsdata "$key" "$nonce" "$sum" >"$opts"
	fi
	packet=$(keywrap_exec "$opts") || return 1
	pub=${E_PUBOPTS:-$(printf '{"cipher":"%s","hmac":"%s","cipheroptions":{}}' \
		"${E_CIPHER:-AES_256_CTR_HMAC_SHA256}" "$(b64_of_hex "${E_HMAC:-$hmac}")")}
	layout_set_blob "$dir" "$n" "$cipher"
	layout_edit "$dir" --argjson n "$n" --arg p "$packet" --arg o "$(printf '%s' "$pub" | base64 -w0)" \
		'.layers[$n].mediaType += "+encrypted" | .layers[$n].annotations += {
		"org.opencontainers.image.enc.keys.provider.attestation-agent": $p,
		"org.opencontainers.image.enc.pubopts": $o}'
	rm -f "$cipher" "$opts"
}
