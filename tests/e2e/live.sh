#!/bin/bash
# live.sh - cloakfs status: what daemons tell of themselves while they serve, who is told, what is
# said of a dead one, and that nobody who asks can hold one up.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

MNT=$WORK/mnt
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"
image_small "$WORK/plain" gzip zstd raw
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "sealing" "$(cat "$LOG")"
SEALED=oci:$WORK/sealed:latest
install -m 755 "$CLOAKFS" "$WORK/cloakfs" # where everybody may run it

up() { # [options]
	mount_image "$SEALED" "$MNT" --key "$WORK/key.pem" --cache-dir none "$@" ||
		bail "mounts $*" "$(cat "$LOG")"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
}
nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
# show FILTER: of the one mount, as jq has it.
show() {
	"$CLOAKFS" status --json "$MNT" 2>"$LOG" | jq -c ".mounts[0] | $1" 2>&1
}
# times_listed: how often the mount is among all. Other people's may be there, too.
times_listed() {
	"$CLOAKFS" status --json 2>"$LOG" | jq -c --arg m "$MNT" '[.mounts[] | select(.mount_point == $m)] | length'
}
device() { # of FUSE's mount, whatever lies over it
	awk -v m="$MNT" '$5 == m && / - fuse.cloakfs / { print $3 }' /proc/self/mountinfo
}

fails_with "no cloakfs is mounted at $WORK" "a directory where nothing is mounted" "$CLOAKFS" status "$WORK"
fails_with 'nowhere.*No such' "a directory that is not there" "$CLOAKFS" status "$WORK/nowhere"
"$CLOAKFS" status a b >"$LOG" 2>&1
is 2 $? "two directories are one too many"
is 0 "$(times_listed)" "nothing of ours is listed yet"

# ---- numbers, in both modes -----------------------------------------------------------------------
for mode in fuse erofs; do
	up --mode $mode
	is "[\"$MNT\",\"$SEALED\",\"$mode\",\"rootfs\",\"serving\",0,null]" \
		"$(show '[.mount_point, .image, .mode, .view, .state, .user, .problem]')" "$mode: what is mounted"
	is "$(processes_here mount)" "$(show .pid)" "$mode: the process that serves it"
	is 1 "$(times_listed)" "$mode: listed once among all"
	is true "$(show '(now - .mounted_at < 60) and .uptime_s < 60')" "$mode: since when"
	is null "$(show .key_age_s)" "$mode: a key of a file has no age"
	is "$(jq -c '[.layers[] | [.digest, .size, .mediaType]]' "$(layout_manifest "$WORK/sealed")")" \
		"$(show '[.layers[] | [.digest, .blob_size, .media_type]]')" "$mode: the layers of the manifest"
	is "[$(for i in 0 1 2; do blob_decompress "$(layout_blob "$WORK/plain" $i)" | wc -c; done | paste -sd,)]" \
		"$(show '[.layers[].tar_size]')" "$mode: the length of their tars"
	is '["zstd",true,true,"chunks","embedded"]' \
		"$(show '.layers | map([.compression, .sealed, .encrypted, .verified, .index]) | unique[]')" "$mode: each chunk is verified, by its own index"
	before=$(show '[.reads, .bytes_served, .bytes_fetched, .unit_cache.misses]')
	is true "$(show '.bytes_fetched < 1000000 and .bytes_served < 1000000')" "$mode: little is read until somebody reads"
	cat "$MNT/app/weights.bin" >/dev/null
	is true "$(show "[.reads, .bytes_served, .bytes_fetched, .unit_cache.misses] as \$n | $before | .[0] < \$n[0] and
		.[1] + 3000000 <= \$n[1] and .[1] + 3100000 > \$n[1] and .[2] + 2500000 < \$n[2] and .[3] < \$n[3]")" \
		"$mode: reading a file counts ($before, then $(show '[.reads, .bytes_served, .bytes_fetched, .unit_cache.misses]'))"
	is true "$(show '([.layers[].bytes_fetched] | add) == .bytes_fetched and .layers[2].bytes_fetched > 2500000 and .layers[0].bytes_fetched < 1000000')" \
		"$mode: of its own layer"
	is true "$(show '.unit_cache | .bytes > 2900000 and .bytes < .limit and .limit >= 67108864 and .evictions == 0')" "$mode: its units are in the cache"
	after=$(show .bytes_fetched)
	cat "$MNT/app/weights.bin" >/dev/null
	is "$after" "$(show .bytes_fetched)" "$mode: a second time nothing is fetched"
	is '[0,null,null]' "$(show '[.reads_failed, .last_error, .last_error_at]')" "$mode: nothing failed"

	"$CLOAKFS" status "$MNT" >"$WORK/human" 2>"$LOG"
	is "$MNT" "$(head -n 1 "$WORK/human")" "$mode: people see where"
	matches "^  image       $SEALED\$" "$(cat "$WORK/human")" "$mode: and what"
	matches "^  mode        ${mode^^}\$" "$(cat "$WORK/human")" "$mode: and how"
	matches "^  daemon      process $(processes_here mount), since 20.* UTC \([0-9]+ s\)\$" "$(cat "$WORK/human")" "$mode: and by whom"
	matches '^  keys        -$' "$(cat "$WORK/human")" "$mode: and of what age the keys are"
	matches '^    2 +zstd +sealed +blob +2\.9 MiB, tar +2\.9 MiB, fetched +[23]\.[0-9] MiB; verified chunk by chunk, index embedded$' \
		"$(cat "$WORK/human")" "$mode: and each layer"

	# ---- a daemon that died ----
	kill -9 "$(processes_here mount)"
	wait_until 5 no_processes_here mount
	is '["gone","'"$mode"'","'"$SEALED"'",false]' "$(show '[.state, .mode, .image, has("pid")]')" "$mode: a killed daemon's mount is shown"
	"$CLOAKFS" status "$MNT" >"$WORK/human" 2>"$LOG"
	is 0 $? "$mode: which is no error"
	matches "^  PROBLEM     its daemon is gone; clean up with: cloakfs umount $MNT\$" "$(cat "$WORK/human")" "$mode: and says what to do"
	ok "$mode: which helps" "$CLOAKFS" umount "$MNT"
	is 0 "$(times_listed)" "$mode: then it is listed no more"
done

# ---- a read that fails ---------------------------------------------------------------------------
up --mode fuse --view layers
is '"layers"' "$(show .view)" "the view of layers"
down
up --mode fuse
blob=$(layout_blob "$WORK/sealed" 2)
cp "$blob" "$WORK/good"
printf 'damage' | dd of="$blob" bs=1 seek=1000000 conv=notrunc status=none
cat "$MNT/app/weights.bin" >/dev/null 2>&1 && fail "a damaged layer does not read"
is true "$(show '.reads_failed > 0 and (.last_error | test("of /app/weights.bin failed")) and now - .last_error_at < 60')" \
	"a read that failed is counted, and told of ($(show .last_error))"
matches '^  served .* [1-9][0-9]* failed$' "$("$CLOAKFS" status "$MNT")" "people see how many"
matches '^  last error  20.* UTC: layer 2: read of .*weights' "$("$CLOAKFS" status "$MNT")" "and which was the last"
cp "$WORK/good" "$blob"
down

# ---- keys from the HSM, and an image as skopeo encrypts it ---------------------------------------------
# shellcheck disable=SC2119
azure_start
cp -r "$WORK/plain" "$WORK/ctr"
layout_encrypt_layer "$WORK/ctr" 0
layout_encrypt_layer "$WORK/ctr" 1
for verified in '"full",null' '"chunks","kept"'; do
	mount_image "oci:$WORK/ctr:latest" "$MNT" --cache-dir "$WORK/cache" || bail "mounts" "$(cat "$LOG")"
	is "[[\"gzip\",true,false,$verified],[\"zstd\",true,false,$verified],[\"none\",false,false,\"full\",null]]" \
		"$(show '[.layers[] | [.compression, .encrypted, .sealed, .verified, .index]]')" "a mixed image, verified $verified"
	is true "$(show '.key_age_s >= 0 and .key_age_s < 60')" "a released key has an age"
	matches '^  keys        obtained [0-9]+ s ago$' "$("$CLOAKFS" status "$MNT")" "which people see"
	down
done
azure_stop

# ---- who may ask ---------------------------------------------------------------------------------
up --mode fuse
fails_with 'only root and who mounted it may ask' "another user is refused" \
	setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/cloakfs" status "$MNT"
is "0 " "$(nobody "$WORK/cloakfs" status 2>&1 | grep -cF "$MNT") $(nobody "$E2E/pester" "cloakfs/$(device)/" 1 read)" \
	"sees nothing of it, and is not answered"
is "$(show .pid)" "$("$E2E/pester" "cloakfs/$(device)/" 1 read | jq .pid)" "as root is, who asks the same way"
is '"unseen"' "$(unshare -n "$CLOAKFS" status --json "$MNT" | jq '.mounts[0].state')" "in another network namespace it is not seen"
is '"serving"' "$(show .state)" "which means nothing"

# A user's own mount, where users may open /dev/fuse, as they usually may.
mkdir -p "$WORK/own/mnt"
cp -r "$WORK/sealed" "$WORK/key.pem" "$WORK/own/"
chown -R 65534:65534 "$WORK/own"
mknod -m 666 "$WORK/fuse" c 10 229
cat >"$WORK/own.sh" <<'SH'
nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
cd "$1" && mount --bind fuse /dev/fuse || exit
trap 'umount -l own/mnt 2>/dev/null' EXIT
nobody ./cloakfs mount --key own/key.pem --cache-dir none oci:own/sealed:latest own/mnt || exit
nobody ./cloakfs status --json own/mnt >user.json
nobody ./cloakfs status --json >user-all.json
./cloakfs status --json own/mnt >root.json
nobody ./cloakfs umount own/mnt || exit
SH
ok "a user mounts and unmounts" unshare -m bash "$WORK/own.sh" "$WORK"
is '["serving",65534]' "$(jq -c '.mounts[0] | [.state, .user]' "$WORK/user.json")" "a user is told of the own mount"
is '["'"$WORK/own/mnt"'"]' "$(jq -c '[.mounts[].mount_point]' "$WORK/user-all.json")" "and of no others'"
is '["serving",65534,"fuse"]' "$(jq -c '.mounts[0] | [.state, .user, .mode]' "$WORK/root.json")" "root is told of both"
down

# ---- hostile clients -----------------------------------------------------------------------------
for how in silent garbage ask; do
	up --mode fuse
	start "$WORK/pester.out" "$E2E/pester" "cloakfs/$(device)/" 200 $how
	pest=$!
	wait_until 10 test -s "$WORK/pester.out"
	is 3000000 "$(wc -c <"$MNT/app/weights.bin")" "200 clients, $how: it serves on"
	[ $how = silent ] || is '"serving"' "$(show .state)" "200 clients, $how: and answers"
	[ $how != silent ] || matches '^"(silent|serving)"$' "$(show .state)" "200 clients, $how: status does not hang"
	from=$(date +%s%N)
	ok "200 clients, $how: it unmounts" "$CLOAKFS" umount "$MNT"
	took=$((($(date +%s%N) - from) / 1000000))
	is true "$([ $took -lt 20000 ] && echo true || echo "$took ms")" "200 clients, $how: in less than 20 s"
	ok "200 clients, $how: and its process ends" wait_until 20 no_processes_here mount
	kill $pest
	wait $pest 2>/dev/null
done
up --mode erofs
start "$WORK/pester.out" "$E2E/pester" "cloakfs/$(device)/" 200 silent
pest=$!
kill -TERM "$(processes_here mount)"
ok "200 clients: SIGTERM ends it all the same" wait_until 20 no_processes_here mount
kill $pest
wait $pest 2>/dev/null

# Those who are gone leave room.
up --mode fuse
start "$WORK/pester.out" "$E2E/pester" "cloakfs/$(device)/" 200 silent
pest=$!
wait_until 10 test -s "$WORK/pester.out"
kill $pest
wait $pest 2>/dev/null
is '"serving"' "$(show .state)" "200 clients have gone: it answers again"
down
ok "nothing is left" no_processes_here mount

finish
