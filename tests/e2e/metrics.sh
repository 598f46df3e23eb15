#!/bin/bash
# metrics.sh - cloakfs mount --metrics: what is told at a socket while a mount serves, by whom it is
# heard, and that nothing of it is left behind.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=tests/e2e/lib/registry.sh
. "$LIB/registry.sh"

MNT=$WORK/mnt
SOCK=$WORK/m.sock
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
openssl pkey -in "$WORK/key.pem" -pubout -out "$WORK/pub.pem"
image_small "$WORK/plain" gzip zstd raw
"$CLOAKFS" encrypt --key "$WORK/pub.pem" "oci:$WORK/plain:latest" "oci:$WORK/sealed:latest" >"$LOG" 2>&1 ||
	bail "sealing" "$(cat "$LOG")"
SEALED=oci:$WORK/sealed:latest

up() { # [options]
	mount_image "$SEALED" "$MNT" --key "$WORK/key.pem" --cache-dir none "$@" ||
		bail "mounts $*" "$(cat "$LOG")"
}
down() {
	"$CLOAKFS" umount "$MNT" >"$LOG" 2>&1 || bail "unmounting" "$(cat "$LOG")"
}
# ask CURL-ARGS...: over the unix socket.
ask() {
	curl -sS --max-time 20 --unix-socket "$SOCK" "$@" 2>&1
}
# scrape: into $WORK/text.
scrape() {
	ask http://localhost/metrics >"$WORK/text"
}
# value SERIES: in the last text; a name, or one with labels.
value() {
	awk -v s="$1" 'index($0, s " ") == 1 { print substr($0, length(s) + 2) }' "$WORK/text"
}
moved() { # SERIES BEFORE LEAST MOST: it grew by so much
	local now
	now=$(value "$1")
	[ $((now - $2)) -ge "$3" ] && [ $((now - $2)) -le "$4" ]
}
series() {
	grep -v '^#' "$WORK/text" | sed 's/[{ ].*//' | sort -u
}

# ---- what there is, in both modes -----------------------------------------------------------------
for mode in fuse erofs; do
	up --mode $mode --metrics "unix:$SOCK"
	is "socket 600" "$(stat -c '%F %a' "$SOCK")" "$mode: a socket for its owner"
	ask -D - -o "$WORK/text" http://localhost/metrics | tr -d '\r' >"$WORK/head"
	is "HTTP/1.1 200 OK" "$(head -n 1 "$WORK/head")" "$mode: it is served"
	matches '^Content-Type: text/plain; version=0.0.4; charset=utf-8$' "$(cat "$WORK/head")" "$mode: by its type"
	is "" "$(grep -vE '^# (HELP|TYPE) cloakfs_[a-z_]+ .+$|^cloakfs_[a-z_]+(\{([a-z_]+="[^"\\]*",?)+\})? [0-9]+(\.[0-9]+)?$' "$WORK/text")" \
		"$mode: each line is one of the format"
	is "$(series)" "$(sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$WORK/text" | sort)" "$mode: each with a type, once"
	is "$(series)" "$(sed -n 's/^# HELP \([a-z_]*\) .*/\1/p' "$WORK/text" | sort)" "$mode: and a help"
	digest=$(sha256sum <"$(layout_manifest "$WORK/sealed")" | cut -c-64)
	is 1 "$(value "cloakfs_mount_info{image=\"$SEALED\",manifest=\"sha256:$digest\",mode=\"$mode\",mount_point=\"$MNT\",version=\"$("$CLOAKFS" --version | sed 's/.* //')\",view=\"rootfs\",writable=\"false\"}")" \
		"$mode: what is mounted ($(grep '^cloakfs_mount_info' "$WORK/text"))"
	ok "$mode: since when" [ $(($(date +%s) - $(value cloakfs_start_time_seconds))) -le 60 ]
	for i in 0 1 2; do
		blob=$(layout_blob "$WORK/sealed" $i)
		is "$(stat -c %s "$blob")" "$(value "cloakfs_layer_blob_size_bytes{layer=\"$i\",digest=\"sha256:$(basename "$blob")\"}")" "$mode: the blob of layer $i"
	done
	is "" "$(series | grep -E 'network|fetch|_requests|retries|prefetch|kept')" "$mode: a local image has nothing of a network"

	# ---- what moves ---------------------------------------------------------------------------
	top="cloakfs_layer_blob_read_bytes_total{layer=\"2\",digest=\"sha256:$(basename "$blob")\"}"
	served=$(value cloakfs_served_bytes_total) reads=$(value cloakfs_reads_total) layer=$(value "$top")
	read=$(value cloakfs_blob_read_bytes_total) misses=$(value cloakfs_unit_cache_misses_total)
	cat "$MNT/app/weights.bin" >/dev/null
	scrape
	ok "$mode: reading a file moves bytes served" moved cloakfs_served_bytes_total "$served" 3000000 3100000
	ok "$mode: reads" moved cloakfs_reads_total "$reads" 1 1000
	ok "$mode: bytes read from blobs" moved cloakfs_blob_read_bytes_total "$read" 2500000 4000000
	ok "$mode: of the layer" moved "$top" "$layer" 2500000 4000000
	ok "$mode: misses of the unit cache" moved cloakfs_unit_cache_misses_total "$misses" 1 1000
	ok "$mode: and its bytes" [ "$(value cloakfs_unit_cache_bytes)" -gt 2900000 ]
	ok "$mode: below its limit" [ "$(value cloakfs_unit_cache_limit_bytes)" -ge 67108864 ]
	is "0 0 0" "$(value cloakfs_reads_failed_total) $(value cloakfs_verification_failures_total) $(value cloakfs_key_releases_total)" "$mode: nothing failed, nothing was released"
	read=$(value cloakfs_blob_read_bytes_total)
	cat "$MNT/app/weights.bin" >/dev/null
	scrape
	ok "$mode: a second time nothing is read from the blob" moved cloakfs_blob_read_bytes_total "$read" 0 0
	is "[null,[null,null],0,0]" "$("$CLOAKFS" status --json "$MNT" | jq -c '.mounts[0] | [.network, (.layers[0] | [.bytes_moved, .bytes_kept]), .verification_failures, .key_releases]')" \
		"$mode: status has no network either"
	is "" "$("$CLOAKFS" status "$MNT" | grep -E 'network|^  cache|prefetch|damage|over the')" "$mode: nor do people see any"
	down
	is "gone" "$([ -e "$SOCK" ] || echo gone)" "$mode: the socket goes with the mount"
done

# ---- damage ---------------------------------------------------------------------------------------
up --mode fuse --metrics "unix:$SOCK"
blob=$(layout_blob "$WORK/sealed" 2)
cp "$blob" "$WORK/good"
printf 'damage' | dd of="$blob" bs=1 seek=1000000 conv=notrunc status=none
cat "$MNT/app/weights.bin" >/dev/null 2>&1 && fail "a damaged layer does not read"
scrape
ok "a read that fails counts" [ "$(value cloakfs_reads_failed_total)" -ge 1 ]
ok "what did not verify, too, each try" [ "$(value cloakfs_verification_failures_total)" -ge 2 ]
matches '^  damage      bytes of blobs failed to verify [0-9]+ times$' "$("$CLOAKFS" status "$MNT")" "people see it"
cp "$WORK/good" "$blob"

# ---- who asks badly -------------------------------------------------------------------------------
status() {
	ask -o /dev/null -w '%{http_code}' "$@"
}
is "404 404 405 405 431 200 200" "$(status http://x/) $(status http://x/metrics/x) $(status -d a=b http://x/metrics) $(status -X DELETE http://x/metrics) $(status -H "A: $(printf %09000d 0)" http://x/metrics) $(status --http1.0 'http://x/metrics?a') $(status -I http://x/metrics)" \
	"other paths, other methods, too long a head, an old client, a head alone"
fails_with 'is in use' "a second mount does not take the socket" \
	"$CLOAKFS" mount --metrics "unix:$SOCK" --key "$WORK/key.pem" --cache-dir none "$SEALED" "$WORK"
ok "and the first one still serves" scrape
down

port=$(free_port)
up --metrics "127.0.0.1:$port"
curl -sS --max-time 20 "http://127.0.0.1:$port/metrics" >"$WORK/text"
is 1 "$(grep -c '^cloakfs_mount_info{' "$WORK/text")" "over TCP, too"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /metrics HTTP/1.1\r\n\r\n' >&3
is "400 Bad Request" "$(timeout 20 cat <&3 | tail -n 1)" "a request that is none"
exec 3>&-
crowd=
for _ in $(seq 40); do # they say nothing, and stay
	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	crowd="$crowd $fd"
done
ok "a crowd of silent clients holds nobody up" curl -sSf --max-time 20 "http://127.0.0.1:$port/metrics"
ok "nor the mount" timeout 20 cat "$MNT/app/weights.bin"
fails_with 'metrics: cannot listen on .*in use' "the port of another" \
	"$CLOAKFS" mount --metrics "127.0.0.1:$port" --key "$WORK/key.pem" --cache-dir none "$SEALED" "$WORK"
started=$(date +%s)
down
ok "nor unmounting" [ $(($(date +%s) - started)) -le 20 ]
for fd in $crowd; do
	exec {fd}>&-
done

# ---- addresses ------------------------------------------------------------------------------------
up --metrics 127.0.0.1:0
address=$(sed -n 's/.*note: metrics at //p' "$LOG")
matches '^127\.0\.0\.1:[1-9][0-9]+$' "$address" "any port is told"
is 200 "$(curl -sS -o /dev/null -w '%{http_code}' "http://$address/metrics")" "and answers"
down
mkdir "$WORK/other"
for bad in 0.0.0.0:9100 '[::]:9100' 192.0.2.1:9100; do
	fails_with 'metrics: .* is not a loopback address' "not to the network: $bad" \
		"$CLOAKFS" mount --metrics "$bad" --key "$WORK/key.pem" "$SEALED" "$WORK/other"
done
fails_with 'metrics: .*neither unix:PATH nor HOST:PORT' "no address" "$CLOAKFS" mount --metrics here --key "$WORK/key.pem" "$SEALED" "$WORK/other"
fails_with 'metrics: cannot open .*No such' "no such directory" "$CLOAKFS" mount --metrics "unix:$WORK/no/m" --key "$WORK/key.pem" "$SEALED" "$WORK/other"
echo data >"$WORK/file"
fails_with 'in use by another server, or no socket' "a file that is no socket" "$CLOAKFS" mount --metrics "unix:$WORK/file" --key "$WORK/key.pem" "$SEALED" "$WORK/other"
is data "$(cat "$WORK/file")" "which stays as it is"
fails_with 'is-no-key' "a mount that fails for another reason" "$CLOAKFS" mount --metrics "unix:$SOCK" --key "$WORK/is-no-key" "$SEALED" "$WORK/other"
is "gone" "$([ -e "$SOCK" ] || echo gone)" "leaves no socket"

# A relative path, though the daemon lives in /; one that a killed daemon left; the configuration.
mkdir "$WORK/rel"
(cd "$WORK/rel" && "$CLOAKFS" mount --metrics unix:r.sock --key "$WORK/key.pem" --cache-dir none "$SEALED" "$MNT") >"$LOG" 2>&1 ||
	bail "mounts with a relative path" "$(cat "$LOG")"
SOCK=$WORK/rel/r.sock
ok "a relative path" scrape
kill -9 "$(processes_here mount)"
wait_until 10 no_processes_here mount
down
ok "what a killed daemon leaves" [ -S "$SOCK" ]
echo '{"metrics":"unix:rel/r.sock"}' >"$WORK/c.json"
up --config "$WORK/c.json"
scrape
is 1 "$(grep -c '^cloakfs_mount_info{' "$WORK/text")" "is taken over; the configuration says where"
down
is "gone" "$([ -e "$SOCK" ] || echo gone)" "and is removed"
up --config "$WORK/c.json" --metrics none
is "gone" "$([ -e "$SOCK" ] || echo gone)" "the command line takes it back"
down

# In the foreground, ended by a signal.
start "$WORK/fg" "$CLOAKFS" mount --foreground --metrics "unix:$SOCK" --key "$WORK/key.pem" --cache-dir none "$SEALED" "$MNT"
fg=$!
wait_until 20 is_mounted "$MNT"
ok "in the foreground" scrape
kill -TERM $fg
ends_within 20 $fg "which a signal ends"
is "gone" "$([ -e "$SOCK" ] || echo gone)" "with its socket"

# ---- keys from the HSM ----------------------------------------------------------------------------
# shellcheck disable=SC2119
azure_start
cp -r "$WORK/plain" "$WORK/ctr"
layout_encrypt_layer "$WORK/ctr" 0
layout_encrypt_layer "$WORK/ctr" 1
mount_image "oci:$WORK/ctr:latest" "$MNT" --cache-dir none --metrics "unix:$SOCK" || bail "mounts" "$(cat "$LOG")"
scrape
is 1 "$(value cloakfs_key_releases_total)" "one release, for all layers"
is 1 "$("$CLOAKFS" status --json "$MNT" | jq '.mounts[0].key_releases')" "which status has, too"
down
azure_stop

# ---- an image in a registry ---------------------------------------------------------------------
fr_start plain --layout "test/sealed=$WORK/sealed"
fr_mark plain
SEALED=docker://$(fr_at plain)/test/sealed:latest
export CLOAKFS_CONFIG=$WORK/c.json
echo '{}' >"$WORK/c.json"
digest=$(basename "$blob")
pull() { # [options]
	mount_image "$SEALED" "$MNT" --key "$WORK/key.pem" --cache-dir "$WORK/cache" --metrics "unix:$SOCK" "$@" ||
		bail "mounts $*" "$(cat "$LOG")"
	cat "$MNT/app/weights.bin" >/dev/null
	scrape
}
sum() { # NAME: of all layers
	awk -v s="$1{" 'index($0, s) == 1 { n += $2 } END { print n + 0 }' "$WORK/text"
}
pull
top="{layer=\"2\",digest=\"sha256:$digest\"}"
size=$(value "cloakfs_layer_blob_size_bytes$top")
config=$(jq .config.size "$(layout_manifest "$WORK/sealed")")
is $(($(fr_bytes plain) - config)) "$(value cloakfs_fetched_bytes_total)" "as many bytes of layers were fetched as the registry gave"
is "$(value cloakfs_fetched_bytes_total)" "$(sum cloakfs_layer_fetched_bytes_total)" "by the layers together"
is "$(fr_count plain 'GET .*/blobs/.* 206 ')" "$(value cloakfs_requests_total)" "in as many requests"
ok "they are kept" [ "$(value cloakfs_cache_kept_bytes)" -ge 2900000 ]
is "$(value cloakfs_cache_kept_bytes)" "$(sum cloakfs_layer_cache_kept_bytes)" "of the layers together"
ok "the layer that was read is there" awk -v r="$(value "cloakfs_layer_cache_kept_ratio$top")" 'BEGIN { exit !(r > 0.9 && r <= 1) }'
ok "and was fetched once" [ "$(value "cloakfs_layer_fetched_bytes_total$top")" -le "$size" ]
ok "the round trip was measured" awk -v r="$(value cloakfs_round_trip_seconds)" 'BEGIN { exit !(r > 0 && r < 5) }'
is "0 0 0" "$(value cloakfs_retries_total) $(value cloakfs_refetches_total) $(value cloakfs_fetches_failed_total)" "nothing went wrong"
is true "$("$CLOAKFS" status --json "$MNT" | jq --argjson f "$(value cloakfs_fetched_bytes_total)" --argjson k "$(value "cloakfs_layer_cache_kept_bytes$top")" \
	'.mounts[0] | .network.bytes_fetched == $f and .layers[2].bytes_kept == $k and .layers[2].bytes_moved > 2500000')" "status says the same"
matches '^  network     [0-9.]+ MiB in [0-9]+ requests, 0 retries, 0 refetches, 0 failed; round trip [0-9.]+ ms' "$("$CLOAKFS" status "$MNT")" "in words, too"
matches '^    2 .*; over the network [0-9.]+ MiB, kept [0-9.]+ MiB$' "$("$CLOAKFS" status "$MNT")" "of each layer"
down
pull
is 0 "$(value cloakfs_fetched_bytes_total)" "a second mount fetches nothing of it"
ok "it reads the cache" [ "$(value cloakfs_cache_read_bytes_total)" -ge 2900000 ]
down
pull --prefetch all
wanted=$(value cloakfs_prefetch_bytes)
is "$(sum cloakfs_layer_blob_size_bytes)" "$wanted" "all of it is to be prefetched"
prefetched() {
	scrape
	[ "$(value cloakfs_prefetch_done_bytes)" = "$wanted" ] && [ "$(value cloakfs_cache_kept_bytes)" = "$wanted" ]
}
ok "and is, in the end" wait_until 20 prefetched
is "1.000000 1.000000 1.000000" "$(sed -n 's/^cloakfs_layer_cache_kept_ratio{.*} //p' "$WORK/text" | xargs)" "all of each layer"
down
fr_stop plain

finish
