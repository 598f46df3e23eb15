#!/bin/bash
# What is mounted is what other programs unpack: skopeo-encrypted images against umoci, GNU tar and
# bsdtar. And the other ways to look in: views, ls, cat, export, verify, inspect.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt

# mount_or_bail LAYOUT DIR [options]
mount_or_bail() {
	local layout=$1 dir=$2
	shift 2
	if ! mount_image "oci:$layout:latest" "$dir" "$@"; then
		note_file "cloakfs mount wrote" "$LOG"
		bail "$(basename "$layout") mounts"
	fi
}

# same_tree EXPECTED GOT TEXT [treedump options]: but for the mtimes of directories, which
# unpackers set differently where a layer has no entry for one.
same_tree() {
	local want=$1 got=$2 text=$3
	shift 3
	treedump -d "$@" "$want" >"$WORK/want.dump" 2>"$WORK/want.err"
	if ! treedump -dc "$@" "$got" >"$WORK/got.dump" 2>"$WORK/got.err"; then
		fail "$text" "reading the mounted tree:" "$(head -n 20 "$WORK/got.err")"
		return
	fi
	if [ "$(wc -l <"$WORK/want.dump")" -lt 20 ]; then
		fail "$text" "the reference has only $(wc -l <"$WORK/want.dump") files: $(head -n 5 "$WORK/want.err")"
		return
	fi
	same "$WORK/want.dump" "$WORK/got.dump" "$text ($(wc -l <"$WORK/got.dump") files)"
}

unmount() {
	"$CLOAKFS" umount "$1" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
}

azure_start
ocicrypt_cmd "$CLOAKFS" keyprovider --exec

# ---- an ordinary image -----------------------------------------------------------------------
image_small "$WORK/small" gzip gzip gzip
encrypt "$WORK/small" "$WORK/small-enc"
layout_as_raw "$WORK/small" "$WORK/small-raw"
umoci unpack --image "$WORK/small-raw:latest" "$WORK/umoci" >"$LOG" 2>&1 || bail "umoci unpacks" "$(cat "$LOG")"
unpack_with tar "$WORK/small" "$WORK/gnu" || bail "GNU tar unpacks"
unpack_with bsdtar "$WORK/small" "$WORK/bsd" || bail "bsdtar unpacks"

counters_reset
mount_or_bail "$WORK/small-enc" "$MNT"
ok "the mount is ready when cloakfs mount returns" test -f "$MNT/app/config"
is 1 "$(counter hsm_release)" "three layers cost one release"
same_tree "$WORK/umoci/rootfs" "$MNT" "an ordinary image as umoci unpacks it"
same_tree "$WORK/gnu" "$MNT" "an ordinary image as GNU tar unpacks it"
same_tree "$WORK/bsd" "$MNT" "an ordinary image as bsdtar unpacks it"
is "fuse.cloakfs erofs " "$(awk -v m="$MNT" '$2 == m && $4 ~ /^ro,/ { printf "%s ", $3 }' /proc/self/mounts)" "EROFS lies over FUSE, both read-only"
if grep " $MNT " /proc/self/mounts | grep -qE 'nosuid|nodev'; then
	fail "suid and devices are honoured" "$(grep " $MNT " /proc/self/mounts)"
else
	pass "suid and devices are honoured"
fi
ok "a program of the image runs" "$MNT/usr/bin/sha256sum" /dev/null
matches 'Read-only' "$(touch "$MNT/new" 2>&1)" "nothing can be made in it"

# Everybody may look.
nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
ok "user nobody lists it" nobody ls -lR "$MNT/app"
is "good day" "$(nobody sed -n 's/greeting=//p' "$MNT/app/config")" "user nobody reads it"

# Four readers at once, at random places.
reader() { # SEED
	local i off
	RANDOM=$1
	for i in $(seq 150); do
		off=$(((RANDOM * 32768 + RANDOM) % 2900000))
		cmp -s <(tail -c +$((off + 1)) "$MNT/app/weights.bin" | head -c 5000) \
			<(tail -c +$((off + 1)) "$WORK/gnu/app/weights.bin" | head -c 5000) || return 1
	done
}
echo 1 >/proc/sys/vm/drop_caches
readers=
for i in 1 2 3 4; do
	reader $i &
	readers="$readers $!"
done
bad=0
for i in $readers; do
	wait "$i" || bad=$((bad + 1))
done
is 0 $bad "four readers at once read what they should"
statfs() { # files in use, and free space; EROFS says that 2^64 - 1 files would fit
	local total free space
	read -r total free space < <(stat -f -c '%c %d %a' "$MNT")
	echo $((total - free)) "$space"
}
is "$(find "$MNT" -printf '%i\n' | sort -u | wc -l) 0" "$(statfs)" "statfs counts the files, and no free space"
mount_or_bail "$WORK/small-enc" "$WORK/fuse" --mode fuse
is "$(statfs)" "$(MNT=$WORK/fuse statfs)" "so it does in FUSE mode"
same_tree "$WORK/gnu" "$WORK/fuse" "which shows the same as GNU tar unpacks"
"$CLOAKFS" umount "$WORK/fuse"

# ---- without mounting ------------------------------------------------------------------------
IMG=oci:$WORK/small-enc:latest
"$CLOAKFS" cat "$IMG" /app/weights.bin >"$WORK/out" 2>"$LOG" || note_file "cloakfs cat wrote" "$LOG"
same "$MNT/app/weights.bin" "$WORK/out" "cloakfs cat writes a file"
"$CLOAKFS" cat "$IMG" app/current >"$WORK/out" 2>"$LOG" || note_file "cloakfs cat wrote" "$LOG"
same "$MNT/app/config" "$WORK/out" "cloakfs cat follows a link"
is "$(ls "$MNT/app")" "$("$CLOAKFS" ls "$IMG" /app)" "cloakfs ls lists a directory"
is "$(ls "$MNT")" "$("$CLOAKFS" ls "$IMG")" "cloakfs ls lists the root"
matches '^lrwxrwxrwx .* current -> config$' "$("$CLOAKFS" ls -l "$IMG" /app)" "cloakfs ls -l shows modes and links"
fails_with 'nothing-here' "cloakfs cat names a file that is not there" "$CLOAKFS" cat "$IMG" /nothing-here
fails_with 'directory' "cloakfs cat does not write a directory" "$CLOAKFS" cat "$IMG" /app
for i in 0 1 2; do
	"$CLOAKFS" export "$IMG" --layer $i >"$WORK/out" 2>"$LOG" || note_file "cloakfs export wrote" "$LOG"
	blob_decompress "$(layout_blob "$WORK/small" $i)" >"$WORK/want"
	same "$WORK/want" "$WORK/out" "cloakfs export writes the tar of layer $i"
done
fails_with '3' "cloakfs export says which layers there are" "$CLOAKFS" export "$IMG" --layer 3
ok "cloakfs verify" "$CLOAKFS" verify "$IMG"
is 3 "$(grep -c '^ok *layer' "$LOG")" "verifies each layer"
counters_reset
ok "cloakfs inspect" env -u CLOAKFS_CONFIG "$CLOAKFS" inspect "$IMG"
matches "AES_256_CTR_HMAC_SHA256" "$(cat "$LOG")" "inspect shows the cipher"
matches "$KID.*managedhsm" "$(cat "$LOG")" "and who can unwrap"
is "3 true gzip $KID" "$("$CLOAKFS" inspect --json "$IMG" | jq -r '[(.layers | length), .layers[0].encrypted,
	.layers[0].compression, .layers[0].recipients[0].kid] | join(" ")')" "inspect --json says the same"
is 0 "$(counter hsm_release)" "inspect needs no key"
cp "$CLOAKFS" "$WORK/cloakfs" # where we are built, nobody may not be able to look
is 0 "$(nobody "$WORK/cloakfs" inspect "$IMG" >/dev/null 2>"$LOG"; echo $?)" "and no root"
openssl genrsa -out "$WORK/offline.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/offline.pem" -pubout -out "$WORK/offline-pub.pem"
chmod 644 "$WORK/offline.pem"
encrypt "$WORK/small" "$WORK/small-jwe" --encryption-key "jwe:$WORK/offline-pub.pem"
is "good day" "$(nobody "$WORK/cloakfs" cat --key "$WORK/offline.pem" "oci:$WORK/small-jwe:latest" app/config 2>"$LOG" |
	sed -n 's/greeting=//p')" "ls, cat, export and verify need no root"

# ---- by layers --------------------------------------------------------------------------------
mount_or_bail "$WORK/small-enc" "$WORK/layers" --view layers
same "$(layout_manifest "$WORK/small-enc")" "$WORK/layers/manifest.json" "view layers: manifest.json"
same "$(layout_config "$WORK/small-enc")" "$WORK/layers/config.json" "view layers: config.json"
is "0 0.tar 1 1.tar 2 2.tar config.json manifest.json" "$(cd "$WORK/layers" && echo *)" "view layers: the root"
for i in 0 1 2; do
	blob_decompress "$(layout_blob "$WORK/small" $i)" >"$WORK/want"
	same "$WORK/want" "$WORK/layers/$i.tar" "view layers: $i.tar is the tar stream"
	mkdir "$WORK/layer$i"
	tar -C "$WORK/layer$i" -xpf "$WORK/want" --numeric-owner
	treedump -d "$WORK/layer$i" >"$WORK/want.dump"
	treedump -dc "$WORK/layers/$i" >"$WORK/got.dump" 2>&1
	same "$WORK/want.dump" "$WORK/got.dump" "view layers: $i/ is that layer's own tree"
done
ok "view layers: whiteouts are visible" test -f "$WORK/layers/1/etc/.wh.debian_version"
is "$(tail -c 5000 "$WORK/want" | head -c 100 | sha256sum)" \
	"$(tail -c 5000 "$WORK/layers/2.tar" | head -c 100 | sha256sum)" "view layers: a tar is seekable"
unmount "$WORK/layers"
unmount "$MNT"
is "" "$(grep -F " $MNT " /proc/self/mounts)" "nothing is mounted after umount"

# ---- whatever tar allows -----------------------------------------------------------------------
torture_tree "$WORK/tree"
cp /usr/bin/id "$WORK/tree/modes/suid-id"
chmod 4755 "$WORK/tree/modes/suid-id"
image_torture "$WORK/torture" "$WORK/tree"
image_torture "$WORK/tame" "$WORK/tree" tame
encrypt "$WORK/torture" "$WORK/torture-enc" --dest-oci-accept-uncompressed-layers \
	--encryption-key "provider:attestation-agent:aasp:$KID"
layout_as_raw "$WORK/tame" "$WORK/tame-raw"
umoci unpack --image "$WORK/tame-raw:latest" "$WORK/umoci-t" >"$LOG" 2>&1 || bail "umoci unpacks" "$(cat "$LOG")"
unpack_with tar "$WORK/torture" "$WORK/gnu-t" || bail "GNU tar unpacks"
unpack_with bsdtar "$WORK/torture" "$WORK/bsd-t" || bail "bsdtar unpacks"
mount_or_bail "$WORK/torture-enc" "$MNT"
same_tree "$WORK/gnu-t" "$MNT" "the torture image as GNU tar unpacks it"
for what in security.capability= trusted.t= user.binary= user.empty= ' c 0644 ' ' b 0644 ' ' p 0622 ' ' 4755 ' '3=links/a' \
	'\\xe9' ' 3000000000:' 'sparse/old-gnu' ' -2\.0' '\.123456789 '; do
	grep -q -e "$what" "$WORK/want.dump" || fail "the torture image holds $what" "GNU tar unpacked no such thing"
done
# umoci drops empty attributes.
same_tree "$WORK/umoci-t/rootfs" "$MNT" "the torture image as umoci unpacks it" \
	-e contiguous -e sparse/old-gnu -e xattr/user
same_tree "$WORK/bsd-t" "$MNT" "the torture image as bsdtar unpacks it"
for d in .:1000000000 dir:1000000001 swap:1000000003 gonedir:1100000001; do
	is "${d#*:}" "$(stat -c %Y "$MNT/${d%:*}")" "the mtime of directory ${d%:*} is its last entry's"
done
is 0 "$(nobody "$MNT/modes/suid-id" -u 2>"$LOG")" "a setuid program of the image is one"
is 1 "$(nobody cat "$MNT/modes/0000" >/dev/null 2>&1; echo $?)" "nobody may not read a file of mode 0000"
is "" "$(cat "$MNT/dev/null" 2>&1)" "a device of the image is one"
ok "GNU tar archives the mount" tar -C "$MNT" --xattrs --xattrs-include='*' -cf "$WORK/again.tar" .
# The kernel forgets, we must not.
sync
echo 3 >/proc/sys/vm/drop_caches
same_tree "$WORK/gnu-t" "$MNT" "the same after the kernel dropped its caches"
unmount "$MNT"

# Every form of reference and of mixed image.
skopeo_copy --dest-oci-accept-uncompressed-layers --encryption-key "provider:attestation-agent:aasp:$KID" \
	--encrypt-layer 1 "oci:$WORK/small:latest" "dir:$WORK/mixed-dir" || bail "skopeo writes dir:" "$(cat "$WORK/skopeo.log")"
if mount_image "dir:$WORK/mixed-dir" "$MNT"; then
	same_tree "$WORK/gnu" "$MNT" "a dir: image of which one layer is encrypted"
	unmount "$MNT"
else
	fail "a dir: image of which one layer is encrypted" "$(cat "$LOG")"
fi
pinned=oci:$WORK/small-enc@$(jq -r '.manifests[0].digest' "$WORK/small-enc/index.json")
ok "an image pinned by digest" mount_image "$pinned" "$MNT"
unmount "$MNT"

# ---- many layers -------------------------------------------------------------------------------
image_many "$WORK/many" 40
encrypt "$WORK/many" "$WORK/many-enc"
counters_reset
mount_or_bail "$WORK/many-enc" "$MNT"
is 40 "$(find "$MNT" -name 'layer*' -exec cat {} + | grep -c 'this is layer')" "an image of 40 layers"
is 1 "$(counter hsm_release)" "40 layers cost one release"
is 1 "$(counter maa_attest)" "and one attestation"
unmount "$MNT"

finish
