#!/bin/bash
# Images whose documents or layers are malformed, properly encrypted ones included: a clear error that
# names what is wrong, never a crash, a hang or a partial tree.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
GOOD=$WORK/good
BAD=$WORK/bad
mkdir "$MNT"

# refuses REGEX TEXT [options]: $BAD is refused by mount, in one sentence, and nothing is left.
refuses() {
	local want=$1 text=$2
	shift 2
	fails_with "$want" "$text" "$CLOAKFS" mount "${KEY[@]}" "$@" "oci:$BAD:latest" "$MNT"
	if is_mounted "$MNT" || ! wait_until 5 no_processes_here mount; then
		fail "$text: nothing is left" "mounts: $(mounts_here)" "processes: $(processes_here mount)"
		umount -l "$MNT" 2>/dev/null
	fi
}

changed() {
	rm -rf "$BAD"
	cp -a "$GOOD" "$BAD"
}

# A key provider that remembers the key saves the time of a release for every check.
KEY=(--key provider:attestation-agent)
azure_start
provider_start "unix:$WORK/provider.sock"
ocicrypt_grpc "$PROVIDER"
layout_new "$GOOD"
for i in 0 1; do
	printf 'file file%s data=%s\nend\n' $i $i | "$E2E/mktar" >"$WORK/$i.tar"
	layout_add "$GOOD" "$WORK/$i.tar" gzip
done
layout_finish "$GOOD"
layout_encrypt_layer "$GOOD" 1
changed
mount_image "oci:$BAD:latest" "$MNT" "${KEY[@]}" || bail "the good image mounts" "$(cat "$LOG")"
is "01" "$(cat "$MNT/file0" "$MNT/file1")" "the good image mounts, one layer plain and one encrypted"
"$CLOAKFS" umount "$MNT"

# ---- what the config says of the layers ----
changed
layout_edit_config "$BAD" '.rootfs.diff_ids |= reverse'
refuses 'layer [01].*diff_id' "diff_ids in another order"
changed
layout_edit_config "$BAD" '.rootfs.diff_ids |= .[:1]'
refuses 'diff_id' "fewer diff_ids than layers"
changed
layout_edit_config "$BAD" '.rootfs.diff_ids += .rootfs.diff_ids'
refuses 'diff_id' "more diff_ids than layers"
changed
layout_edit_config "$BAD" '.rootfs.diff_ids[1] = .rootfs.diff_ids[0]'
refuses 'layer 1.*diff_id' "a diff_id that is another's"
changed
layout_edit_config "$BAD" '.rootfs.diff_ids[1] = "md5:00"'
refuses 'diff_id|md5' "a diff_id of another algorithm"
changed
layout_edit_config "$BAD" 'del(.rootfs)'
refuses 'rootfs|diff_ids' "a config without rootfs"
changed
layout_edit "$BAD" '.layers |= reverse'
refuses 'layer [01].*diff_id' "layers in another order"
changed
layout_edit "$BAD" '.layers += [.layers[0]]'
refuses 'diff_id' "one layer more"

# ---- documents that are none ----
document() { # TEXT REGEX WHAT(manifest|config|index) CONTENT
	local text=$1 want=$2 what=$3
	changed
	printf '%s' "$4" >"$WORK/doc"
	case $what in
	manifest) layout_set_manifest "$BAD" "$WORK/doc" latest ;;
	config) layout_set_config "$BAD" "$WORK/doc" ;;
	index) cp "$WORK/doc" "$BAD/index.json" ;;
	esac
	refuses "$want" "$text"
}
deep=$(printf '[%.0s' {1..5000})
for what in manifest config index; do
	document "$what: empty" "$what|JSON" $what ''
	document "$what: not JSON" "$what|JSON" $what 'this is {not} JSON'
	document "$what: cut off" "$what|JSON" $what '{"schemaVersion": 2, "layers": ['
	document "$what: another type" "$what|JSON" $what '[1, 2, 3]'
	document "$what: too deep" "$what|JSON" $what "{\"a\": $deep"
	document "$what: twice the same key" "$what|JSON" $what '{"schemaVersion": 2, "schemaVersion": 2}'
	document "$what: a NUL in a string" "$what|JSON|u0000" $what '{"schemaVersion": 2, "mediaType": "a\u0000b"}'
done
changed
layout_edit "$BAD" '.schemaVersion = 1'
refuses 'schema' "manifest of schema 1"
changed
layout_edit "$BAD" '.layers[0].digest = "sha256:../../../../etc/passwd"'
refuses 'digest' "a digest that is a path"
changed
layout_edit "$BAD" '.layers[0].digest = "sha512:" + .layers[0].digest[7:]'
refuses 'digest|sha512' "a digest of another algorithm"
changed
layout_edit "$BAD" '.layers[0].size = -5'
refuses 'size' "a negative size"
changed
layout_edit "$BAD" '.layers[0].size = 99999999999999999999'
refuses 'size|manifest' "a size beyond all bounds"
changed
layout_edit "$BAD" '.layers[0].size += 1'
refuses 'layer 0|size|bytes' "a size that is not the blob's"
changed
layout_edit "$BAD" '.layers = {}'
refuses 'layers' "layers that are no list"
changed
layout_edit "$BAD" '.layers[0] = "x"'
refuses 'layer' "a layer that is no object"
changed
jq -nc '{schemaVersion: 2, layers: [range(5000) | {mediaType: "x", digest: "sha256:\("0" * 64)", size: 1}]}' >"$WORK/doc"
layout_set_manifest "$BAD" "$WORK/doc" latest
refuses 'layers|config' "5000 layers"
changed
truncate -s 64M "$WORK/doc"
layout_set_manifest "$BAD" "$WORK/doc" latest
refuses 'manifest|large|size' "a manifest of 64 MiB"
changed
echo ' ' >>"$(layout_manifest "$BAD")"
refuses 'manifest.*bytes' "a manifest that is not what its digest says"
changed
echo ' ' >>"$(layout_config "$BAD")"
refuses 'config.*bytes' "a config that is not what its digest says"
changed
refuses 'riscv64' "an image for another platform than asked for" --platform linux/riscv64

# A multi-platform index, as the named entry of the layout.
changed
jq -c --arg t "$IMG_TYPE.index.v1+json" --arg a "$(machine_arch)" '{schemaVersion: 2, mediaType: $t, manifests: [
	(.manifests[0] | del(.annotations) | .platform = {os: "plan9", architecture: "mips"} | .size = 5),
	(.manifests[0] | del(.annotations) | .platform = {os: "linux", architecture: $a})]}' "$BAD/index.json" >"$WORK/doc"
sum=$(blob_put "$BAD" "$WORK/doc")
jq -c --arg t "$IMG_TYPE.index.v1+json" --arg d "sha256:$sum" --argjson s "$(stat -c %s "$WORK/doc")" \
	'.manifests[0] |= (.mediaType = $t | .digest = $d | .size = $s)' "$BAD/index.json" >"$WORK/doc"
cp "$WORK/doc" "$BAD/index.json"
if mount_image "oci:$BAD:latest" "$MNT" "${KEY[@]}"; then
	is 01 "$(cat "$MNT/file0" "$MNT/file1")" "of a multi-platform index, this platform's image is mounted"
	"$CLOAKFS" umount "$MNT"
else
	fail "of a multi-platform index, this platform's image is mounted" "$(cat "$LOG")"
fi
refuses 'linux/riscv64' "a multi-platform index without the platform asked for" --platform linux/riscv64
refuses 'manifest.*5' "--platform picks the other image, whose size is wrong" --platform plan9/mips

fails_with 'nosuchref' "a reference that is not there" "$CLOAKFS" ls "oci:$GOOD:nosuchref"
fails_with 'docker:|transport|oci:' "a transport that is none" "$CLOAKFS" ls "docker://x/y"
fails_with "No such file" "an image that is not there" "$CLOAKFS" ls "oci:$WORK/none:latest"

# ---- what is inside an encrypted layer ----
# inside TEXT REGEX FILE [FORM]: FILE, packed as FORM, encrypted, with the diff_id that fits it.
inside() {
	local text=$1 want=$2 file=$3 sum
	layout_new "$BAD"
	layout_add "$BAD" "$WORK/0.tar" gzip
	layout_add "$BAD" "$file" "${4:-raw}"
	layout_finish "$BAD"
	layout_encrypt_layer "$BAD" 1
	refuses "layer 1.*($want)" "$text"
	[ -n "${TREE_ONLY:-}" ] || # the tar stream itself is well
		fails_with "layer 1" "$text: export" "$CLOAKFS" export "${KEY[@]}" "oci:$BAD:latest" --layer 1
}
# packed TEXT REGEX FILE TAR: FILE is the packed blob as it is; the diff_id is TAR's.
packed() {
	local text=$1 want=$2
	layout_new "$BAD"
	layout_add "$BAD" "$WORK/0.tar" gzip
	layout_add "$BAD" "$4" gzip
	layout_finish "$BAD"
	layout_set_blob "$BAD" 1 "$3"
	layout_encrypt_layer "$BAD" 1
	refuses "layer 1.*($want)" "$text"
	fails_with "layer 1" "$text: export" "$CLOAKFS" export "${KEY[@]}" "oci:$BAD:latest" --layer 1
}
mk() {
	printf '%b' "$1" | "$E2E/mktar" >"$WORK/t.tar"
}

head -c 20000 /dev/urandom >"$WORK/noise"
inside "noise instead of a tar" 'tar|archive|header' "$WORK/noise"
mk 'file a data=x badsum=1\nend\n'
inside "tar: a wrong header checksum" 'tar|archive|header|checksum' "$WORK/t.tar"
mk 'file a data=x\nfile b data=y badsum=1\nend\n'
inside "tar: a wrong checksum later on" 'tar|archive|header|checksum' "$WORK/t.tar" gzip
mk 'file a size=100000 data=short\n'
inside "tar: cut inside a file" 'tar|trunc|short|archive' "$WORK/t.tar"
mk 'file a data=x\nfile b zeros=5000\nend\n'
head -c 3000 "$WORK/t.tar" >"$WORK/cut.tar"
inside "tar: cut, compressed whole" 'tar|trunc|archive' "$WORK/cut.tar" zstd
mk 'file a size=18446744073709551615 base256=1 data=x\nend\n'
inside "tar: a file of 2^64-1 bytes" 'tar|size|trunc|archive|header' "$WORK/t.tar"
mk 'file a size=9223372036854775807 base256=1 data=x\nend\n'
inside "tar: a file of 2^63-1 bytes" 'tar|size|trunc|archive|header' "$WORK/t.tar"
mk 'hardlink a link=nowhere\nend\n'
TREE_ONLY=1 inside "tar: a hard link to nothing" 'nowhere' "$WORK/t.tar"
mk 'dir d\nhardlink a link=d\nend\n'
TREE_ONLY=1 inside "tar: a hard link to a directory" 'directory' "$WORK/t.tar"
mk 'file f data=x\nfile f/below data=y\nend\n'
TREE_ONLY=1 inside "tar: a file below a file" 'f/below' "$WORK/t.tar"
mk 'symlink a link=b\nsymlink b link=a\nfile a/f data=x\nend\n'
TREE_ONLY=1 inside "tar: a file below links that go in a circle" 'a/f' "$WORK/t.tar"
mk "file $(printf 'n%.0s' {1..256}) data=x\\nend\\n"
TREE_ONLY=1 inside "tar: a name of 256 bytes" 'nnnn' "$WORK/t.tar"

# Names that climb or lead out are confined to the root, as in a container; odd whiteouts hide nothing.
echo outside >"$WORK/outside"
mk 'file ../../outside data=1\nfile a/../../b data=2\nsymlink up link=../../..\nfile up/c data=3\nfile /d data=4
symlink abs link=/dir\ndir dir\nfile abs/e data=5\nfile .wh. data=x\nfile .wh... data=x\nfile dir/.wh..wh.x data=x\nend\n'
layout_new "$BAD"
layout_add "$BAD" "$WORK/0.tar" gzip
layout_add "$BAD" "$WORK/t.tar" gzip
layout_finish "$BAD"
layout_encrypt_layer "$BAD" 1
if mount_image "oci:$BAD:latest" "$MNT" "${KEY[@]}"; then
	is "./b=2 ./c=3 ./d=4 ./dir/e=5 ./file0=0 ./outside=1" \
		"$(cd "$MNT" && find . -type f -exec sh -c 'echo "$1=$(cat "$1")"' sh {} \; | sort | xargs)" \
		"names that climb stay inside, odd whiteouts are not shown"
	"$CLOAKFS" umount "$MNT"
else
	fail "names that climb stay inside" "$(cat "$LOG")"
fi

mk 'file a data=x\nfile b zeros=200000\nfile c data=z\nend\n'
cp "$WORK/t.tar" "$WORK/good.tar"
gzip -nc "$WORK/good.tar" >"$WORK/good.gz"
zstd -qc --check "$WORK/good.tar" >"$WORK/good.zst"
n=$(stat -c %s "$WORK/good.gz")
head -c $((n - 4)) "$WORK/good.gz" >"$WORK/b" && printf '\0\0\0\1' >>"$WORK/b"
packed "gzip: a wrong length at the end" 'gzip|length|size' "$WORK/b" "$WORK/good.tar"
head -c $((n - 8)) "$WORK/good.gz" >"$WORK/b" && printf '\1\2\3\4' >>"$WORK/b" && tail -c 4 "$WORK/good.gz" >>"$WORK/b"
packed "gzip: a wrong checksum at the end" 'gzip|crc|CRC|checksum' "$WORK/b" "$WORK/good.tar"
head -c $((n - 20)) "$WORK/good.gz" >"$WORK/b"
packed "gzip: cut" 'gzip|trunc' "$WORK/b" "$WORK/good.tar"
{ head -c 12 "$WORK/good.gz"; head -c 300 "$WORK/noise"; } >"$WORK/b"
packed "gzip: noise in the stream" 'gzip' "$WORK/b" "$WORK/good.tar"
{ cat "$WORK/good.gz"; echo garbage; } >"$WORK/b"
packed "gzip: garbage after the end" 'gzip|garbage' "$WORK/b" "$WORK/good.tar"
head -c 5 "$WORK/good.gz" >"$WORK/b"
packed "gzip: half a header" 'gzip|trunc' "$WORK/b" "$WORK/good.tar"
n=$(stat -c %s "$WORK/good.zst")
head -c $((n - 4)) "$WORK/good.zst" >"$WORK/b" && printf '\1\2\3\4' >>"$WORK/b"
packed "zstd: a wrong checksum" 'zstd' "$WORK/b" "$WORK/good.tar"
head -c $((n - 9)) "$WORK/good.zst" >"$WORK/b"
packed "zstd: cut" 'zstd|trunc' "$WORK/b" "$WORK/good.tar"
{ head -c 6 "$WORK/good.zst"; head -c 300 "$WORK/noise"; } >"$WORK/b"
packed "zstd: noise in the stream" 'zstd' "$WORK/b" "$WORK/good.tar"
printf '\x28\xb5\x2f\xfd\xe4\xff\xff\xff\xff\xff\xff\xff\x7f\xf8' >"$WORK/b"
packed "zstd: a window beyond all bounds" 'zstd|memory|window' "$WORK/b" "$WORK/good.tar"
{ cat "$WORK/good.zst"; printf '\x50\x2a\x4d\x18\xff\xff\xff\x7f'; } >"$WORK/b"
packed "zstd: a skippable frame longer than the blob" 'zstd|trunc' "$WORK/b" "$WORK/good.tar"
# What is compressed to nothing must not become everything in memory: no more than the
# cache of units may hold, and what the program needs itself.
jq '.unit_cache_mib = 32' "$CLOAKFS_CONFIG" >"$WORK/small.json"
layout_new "$BAD"
{ printf 'file bomb zeros=314572800\nend\n'; } | "$E2E/mktar" >"$WORK/bomb.tar"
layout_add "$BAD" "$WORK/bomb.tar" zstd
layout_finish "$BAD"
rm "$WORK/bomb.tar"
layout_encrypt_layer "$BAD" 0
if mount_image "oci:$BAD:latest" "$MNT" --config "$WORK/small.json" "${KEY[@]}"; then
	pid=$(processes_here mount)
	cat "$MNT/bomb" >/dev/null
	rss=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status")
	# An address sanitizer's shadow is not ours to bound.
	if [ "$rss" -lt 98304 ] || [ "$BUILD" != "$SRC/build" ]; then
		pass "300 MB from a few KB take bounded memory"
	else
		fail "300 MB from a few KB take bounded memory" "resident: $rss KiB"
	fi
	"$CLOAKFS" umount "$MNT"
else
	fail "300 MB from a few KB mount" "$(cat "$LOG")"
fi

# ---- the configuration file ----
configuration() { # TEXT REGEX CONTENT
	printf '%s' "$3" >"$WORK/conf.json"
	fails_with "$2" "configuration: $1" "$CLOAKFS" ls --config "$WORK/conf.json" "oci:$GOOD:latest"
}
configuration "an unknown key" 'hsm_host\b' '{"hsm_host": ["a"]}'
configuration "an unknown key further in" 'tsmdir' '{"evidence": {"tsmdir": "/x"}}'
configuration "another type" 'hsm_hosts' '{"hsm_hosts": "a"}'
configuration "no JSON" 'conf\.json' '{"hsm_hosts": [}'
configuration "a host with a path" 'a/b' '{"hsm_hosts": ["a/b"]}'
configuration "an address that is none" 'addresses|nonsense' '{"addresses": {"a.example": "nonsense"}}'
configuration "the same key twice" 'conf\.json' '{"hsm_hosts": [], "hsm_hosts": []}'
fails_with 'none\.json' "configuration: a file that is not there" "$CLOAKFS" ls --config "$WORK/none.json" "oci:$GOOD:latest"
"$CLOAKFS" mount --nonsense >"$WORK/out" 2>"$LOG"
is 2 $? "an unknown option is exit status 2"
"$CLOAKFS" frobnicate >"$WORK/out" 2>"$LOG"
is 2 $? "an unknown command is exit status 2"

# ---- full disks ----
mkdir "$WORK/full"
mount -t tmpfs -o size=16k tmpfs "$WORK/full"
head -c 100 /dev/urandom >"$WORK/secret"
echo "what was there before" >"$WORK/full/out"
cat /dev/zero >"$WORK/full/fill" 2>/dev/null
fails_with 'No space left' "a full disk: wrap" \
	"$CLOAKFS" wrap --key-info "$KEYS/$KID" --in "$WORK/secret" --out "$WORK/full/out"
is "what was there before" "$(cat "$WORK/full/out")" "the old file is as it was"
is "fill out" "$(ls -A "$WORK/full" | xargs)" "and no half of a new one is left"
umount "$WORK/full"
"$CLOAKFS" export "oci:$GOOD:latest" --layer 0 >/dev/full 2>"$LOG"
is "1 No space left on device" "$? $(grep -o 'No space left on device' "$LOG")" "a full disk: export"
"$CLOAKFS" cat "oci:$GOOD:latest" file0 >/dev/full 2>"$LOG"
is "1 No space left on device" "$? $(grep -o 'No space left on device' "$LOG")" "a full disk: cat"
"$CLOAKFS" ls "oci:$GOOD:latest" >/dev/full 2>"$LOG"
is "1 No space left on device" "$? $(grep -o 'No space left on device' "$LOG")" "a full disk: ls"

finish
