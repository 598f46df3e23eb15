#!/bin/bash
# Real skopeo encrypts and decrypts through us: over TCP, over a unix socket, as a command.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

PLAIN=$WORK/plain
AGENT=provider:attestation-agent:aasp

layer_types() {
	jq -r '.layers[].mediaType' "$(layout_manifest "$1")"
}
annotation() { # LAYOUT N NAME
	jq -r --argjson n "$2" --arg a "org.opencontainers.image.enc.$3" '.layers[$n].annotations[$a]' \
		"$(layout_manifest "$1")" | base64 -d
}
layers_of() { # what the layers are, less what encryption adds
	jq -c '[.layers[] | {digest, size, mediaType}], .config.digest' "$(layout_manifest "$1")"
}
skopeo_decrypt() { # SRC DST [options]
	local src=$1 dst=$2
	shift 2
	skopeo_copy --dest-oci-accept-uncompressed-layers --decryption-key "$AGENT" "$@" \
		"oci:$src:latest" "oci:$dst:latest"
}

# round_trip HOW: encrypts and decrypts all layers of $PLAIN, the way now set up.
round_trip() {
	local how=$1 enc=$WORK/enc-$1 dec=$WORK/dec-$1 i
	encrypt "$PLAIN" "$enc" --dest-oci-accept-uncompressed-layers --encryption-key "$AGENT:$KID"
	is "$(layer_types "$PLAIN" | sed 's/$/+encrypted/')" "$(layer_types "$enc")" \
		"$how: every layer is encrypted, gzip, zstd and raw"
	for i in 0 1 2; do
		is "$(stat -c %s "$(layout_blob "$PLAIN" $i)")" "$(stat -c %s "$(layout_blob "$enc" $i)")" \
			"$how: layer $i keeps its length"
	done
	is "[\"$KID\",\"rsa_3072\",\"$(jq -r '.hsm_hosts[0]' "$CLOAKFS_CONFIG")\",384]" \
		"$(annotation "$enc" 0 keys.provider.attestation-agent |
			jq -c '[.kid, .wrap_type, .kms_endpoint, (.wrapped_data | @base64d | utf8bytelength | if . > 300 then 384 else . end)]')" \
		"$how: the packet is AASP's"
	if ! ok "$how: skopeo decrypts" skopeo_decrypt "$enc" "$dec"; then
		note_file "skopeo wrote" "$WORK/skopeo.log"
		return
	fi
	is "$(layers_of "$PLAIN")" "$(layers_of "$dec")" "$how: the decrypted layers are the plain ones"
}

azure_start
image_small "$PLAIN" gzip zstd raw

# ---- gRPC over TCP ----
provider_start "127.0.0.1:$(free_port)"
ocicrypt_grpc "$PROVIDER"
counters_reset
round_trip tcp
is 1 "$(counter hsm_release)" "tcp: one release for three layers"
encrypt "$PLAIN" "$WORK/skr" --encryption-key "provider:attestation-agent:skr:$KID"
pass "the agent name skr is served too"

# Some layers only.
encrypt "$PLAIN" "$WORK/one" --dest-oci-accept-uncompressed-layers --encryption-key "$AGENT:$KID" --encrypt-layer 1
is "$(layer_types "$PLAIN" | sed '2s/$/+encrypted/')" "$(layer_types "$WORK/one")" "--encrypt-layer 1 encrypts only that"
ok "an image with one encrypted layer is decrypted" skopeo_decrypt "$WORK/one" "$WORK/one-dec"
is "$(layers_of "$PLAIN")" "$(layers_of "$WORK/one-dec")" "and is the plain one again"
encrypt "$PLAIN" "$WORK/last" --dest-oci-accept-uncompressed-layers --encryption-key "$AGENT:$KID" --encrypt-layer -1
is "$(layer_types "$PLAIN" | sed '3s/$/+encrypted/')" "$(layer_types "$WORK/last")" "--encrypt-layer -1 encrypts only the last"

# skopeo says what we say.
if skopeo_copy --encryption-key "$AGENT:nosuchkey" "oci:$PLAIN:latest" "oci:$WORK/none:latest"; then
	fail "a key that does not exist is refused" "skopeo encrypted with it"
else
	matches 'nosuchkey' "$(cat "$WORK/skopeo.log")" "a key that does not exist: skopeo shows our message, which names it"
fi
if skopeo_copy --encryption-key "provider:attestation-agent:kbs:x" "oci:$PLAIN:latest" "oci:$WORK/none:latest"; then
	fail "an agent that is not ours is refused" "skopeo encrypted with it"
else
	matches 'aasp' "$(cat "$WORK/skopeo.log")" "an agent that is not ours: skopeo shows our message, which names those we know"
fi
azure_set vmpl=2
provider_stop
provider_start "$PROVIDER"
if skopeo_decrypt "$WORK/enc-tcp" "$WORK/refused"; then
	fail "a release that policy refuses" "skopeo decrypted"
else
	matches 'vmpl' "$(cat "$WORK/skopeo.log")" "a release that policy refuses: skopeo shows our message, which names the claim"
fi
azure_set vmpl=0
provider_stop
ends_within 5 "$PROVIDER_PID" "the key provider ends on SIGTERM"

# ---- gRPC over a unix socket ----
provider_start "unix:$WORK/provider.sock"
ocicrypt_grpc "$PROVIDER"
is 600 "$(stat -c %a "$WORK/provider.sock")" "the socket is its owner's alone"
round_trip unix
kill -9 "$PROVIDER_PID"
wait "$PROVIDER_PID" 2>/dev/null
ok "the socket of a killed provider is left over" test -S "$WORK/provider.sock"
start "$WORK/provider.log" "$CLOAKFS" keyprovider --listen "$PROVIDER"
PROVIDER_PID=$!
if wait_until 10 skopeo_copy --encryption-key "$AGENT:$KID" "oci:$PLAIN:latest" "oci:$WORK/again:latest"; then
	pass "and is taken over by the next provider"
else
	fail "and is taken over by the next provider" "$(cat "$WORK/provider.log" "$WORK/skopeo.log")"
fi
provider_stop
ok "the socket is gone after an ordinary end" test ! -e "$WORK/provider.sock"

# ---- a command ----
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
round_trip exec

# ---- everybody understands everybody ----
provider_start "unix:$WORK/provider.sock"
ocicrypt_grpc "$PROVIDER"
ok "what the command wrapped, the server unwraps" skopeo_decrypt "$WORK/enc-exec" "$WORK/cross"
provider_stop

# ---- many at once, and the first of them not yet answered ----
provider_start "unix:$WORK/provider.sock"
counters_reset
pids=
for i in 1 2 3 4; do
	timeout 60 "$SKOPEO" copy --quiet --decryption-key "$AGENT" "oci:$WORK/enc-exec:latest" "oci:$WORK/many-$i:latest" \
		>"$WORK/many-$i.log" 2>&1 &
	pids="$pids $!"
done
bad=0
for i in $pids; do wait "$i" || bad=$((bad + 1)); done
is "0 failed, 1 release" "$bad failed, $(counter hsm_release) release" "four skopeos at once cost one release"
provider_stop

# ---- where it must not listen ----
fails_with 'loopback' "it does not listen on the network" "$CLOAKFS" keyprovider --listen 0.0.0.0:50000
fails_with 'nonsense' "nor on an address that is none" "$CLOAKFS" keyprovider --listen nonsense

# ---- one shot ----
head -c 190 /dev/urandom >"$WORK/secret"
ok "cloakfs wrap" "$CLOAKFS" wrap --key-info "$KEYS/$KID" --in "$WORK/secret" --out "$WORK/wrapped"
is "$KID" "$(base64 -d "$WORK/wrapped" | jq -r .kid)" "writes AASP's packet in base64"
ok "cloakfs unwrap" "$CLOAKFS" unwrap --in "$WORK/wrapped" --out "$WORK/unwrapped"
same "$WORK/secret" "$WORK/unwrapped" "gives back what was wrapped"

finish
