#!/bin/bash
# --key provider:NAME[:VALUE]: another key provider is asked, as OCICRYPT_KEYPROVIDER_CONFIG says;
# and what happens when it is dead, silent, or says nonsense.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

ENC=$WORK/enc
IMG=oci:$ENC:latest
NAME_KEY=provider:attestation-agent

# The one that asks has no configuration and no cloud of its own.
ASK=(env -u CLOAKFS_CONFIG "$CLOAKFS")
# reads TEXT KEY
reads() {
	if "${ASK[@]}" cat --key "$2" "$IMG" /app/config >"$WORK/out" 2>"$LOG"; then
		is "good day" "$(sed -n 's/greeting=//p' "$WORK/out")" "$1"
	else
		fail "$1" "$(cat "$LOG")"
	fi
}

azure_start
image_small "$WORK/plain" gzip zstd gzip
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
encrypt "$WORK/plain" "$ENC"

# ---- a live one ----
provider_start "127.0.0.1:$(free_port)"
ocicrypt_grpc "$PROVIDER"
counters_reset
reads "gRPC over TCP, named alone" $NAME_KEY
reads "gRPC over TCP, with a value" $NAME_KEY:aasp
is 1 "$(counter hsm_release)" "the other provider needed one release for all of it"
mkdir "$WORK/mnt"
if timeout 60 "${ASK[@]}" mount --key $NAME_KEY "$IMG" "$WORK/mnt" >"$LOG" 2>&1; then
	is "good day" "$(sed -n 's/greeting=//p' "$WORK/mnt/app/config")" "a mount asks it too"
	"$CLOAKFS" umount "$WORK/mnt"
else
	fail "a mount asks it too" "$(cat "$LOG")"
fi
# Strangers at its door: noise, a browser, a preface without more, a peer that stays and says nothing.
stranger() { # sends stdin, reads what comes until the provider closes or a second has passed
	exec 4<>"/dev/tcp/${PROVIDER%:*}/${PROVIDER##*:}" || return
	cat >&4 2>/dev/null
	timeout 1 cat <&4 >/dev/null
	exec 4>&-
}
head -c 300000 /dev/urandom | stranger
printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' | stranger
printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' | stranger
{ printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'; head -c 100000 /dev/urandom; } | stranger
exec 5<>"/dev/tcp/${PROVIDER%:*}/${PROVIDER##*:}"
reads "strangers do not keep it from serving" $NAME_KEY
exec 5>&-
kill -0 "$PROVIDER_PID" 2>/dev/null || fail "it outlives them" "$(cat "$WORK/provider.log")"

azure_set vmpl=3
provider_stop
provider_start "$PROVIDER"
fails_with 'layer [0-9].*vmpl' "its refusal is passed on, claim and all" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
azure_set vmpl=0
provider_stop
provider_start "unix:$WORK/provider.sock"
ocicrypt_grpc "$PROVIDER"
reads "gRPC over a unix socket" $NAME_KEY
jq -n --arg a "unix:$WORK/provider.sock" '{"key-providers": {"attestation-agent": {grpc: $a}}}' >"$OCICRYPT_KEYPROVIDER_CONFIG"
reads "the socket written with one colon" $NAME_KEY
provider_stop
ocicrypt_cmd /usr/bin/env "CLOAKFS_CONFIG=$CLOAKFS_CONFIG" "$CLOAKFS" keyprovider --exec
reads "a command" $NAME_KEY
is "" "$(processes_here keyprovider)" "no process of a command is left"
ASK=(env --ignore-signal=CHLD "${ASK[@]}")
reads "a command, started by who ignores SIGCHLD" $NAME_KEY
ASK=("${ASK[@]:2}")

# ---- ones that cannot be asked ----
fails_with 'other' "a provider that the file does not name" "${ASK[@]}" cat --key provider:other "$IMG" /app/config
cp "$OCICRYPT_KEYPROVIDER_CONFIG" "$WORK/keep.json"
echo '{"key-providers": ' >"$OCICRYPT_KEYPROVIDER_CONFIG"
fails_with 'ocicrypt\.json' "a provider file that is no JSON" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
rm "$OCICRYPT_KEYPROVIDER_CONFIG"
fails_with 'ocicrypt\.json' "a provider file that is not there" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
(
	unset OCICRYPT_KEYPROVIDER_CONFIG
	fails_with 'OCICRYPT_KEYPROVIDER_CONFIG' "no provider file at all" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
) >"$WORK/sub"
if grep -q '^ok' "$WORK/sub"; then pass "no provider file at all"; else fail "no provider file at all" "$(cat "$WORK/sub")"; fi
ocicrypt_cmd /bin/sh -c 'echo "the disk is on fire" >&2; exit 3'
fails_with '3.*the disk is on fire|the disk is on fire.*3' "a command that fails: its words are passed on" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
ocicrypt_cmd /bin/sh -c 'cat >/dev/null; echo "{}"'
fails_with 'layer' "a command that answers nothing" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
ocicrypt_cmd /bin/sh -c 'cat >/dev/null; echo nonsense'
fails_with 'layer' "a command that answers nonsense" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
ocicrypt_cmd /bin/sh -c 'cat >/dev/null; exec cat /dev/zero'
fails_with 'layer' "a command that never stops talking" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
ocicrypt_cmd /nonexistent/program
fails_with '/nonexistent/program' "a command that is not there" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
ocicrypt_grpc "127.0.0.1:$(free_port)"
fails_with 'refused' "a port where nobody listens" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config
ocicrypt_grpc "unix:$WORK/nobody.sock"
fails_with 'nobody\.sock' "a socket that is not there" "${ASK[@]}" cat --key $NAME_KEY "$IMG" /app/config

# ---- ones that say nothing: bounded time. All at once, since each takes its deadline. ----
mount_asking() { # MODE CONFIG
	mkdir "$WORK/mnt-$1"
	OCICRYPT_KEYPROVIDER_CONFIG=$2 timeout -k 5 90 "$CLOAKFS" mount --key $NAME_KEY "$IMG" "$WORK/mnt-$1" \
		>"$WORK/$1.out" 2>"$WORK/$1.err" </dev/null
	echo $? >"$WORK/$1.status"
}
for mode in silent settings garbage http1 close drip; do
	start "$WORK/$mode.addr" "$E2E/mute" $mode
	wait_until 5 test -s "$WORK/$mode.addr"
	jq -n --arg a "$(cat "$WORK/$mode.addr")" '{"key-providers": {"attestation-agent": {grpc: $a}}}' >"$WORK/$mode.json"
	mount_asking $mode "$WORK/$mode.json" &
done
jq -n '{"key-providers": {"attestation-agent": {cmd: {path: "/bin/sh", args: ["-c", "exec sleep 1000"]}}}}' >"$WORK/hang.json"
mount_asking hang "$WORK/hang.json" &
for mode in silent settings garbage http1 close drip hang; do
	wait_until 100 test -s "$WORK/$mode.status"
	status=$(cat "$WORK/$mode.status" 2>/dev/null)
	if [ "$status" != 1 ]; then
		fail "a provider that is $mode" "expected exit status 1 within 90 s, got ${status:-none}" "$(cat "$WORK/$mode.err")"
	elif ! grep -q 'layer 0' "$WORK/$mode.err" || ! grep -q 'attestation-agent\|127.0.0.1\|/bin/sh' "$WORK/$mode.err"; then
		fail "a provider that is $mode" "expected layer and provider to be named, got: $(cat "$WORK/$mode.err")"
	elif is_mounted "$WORK/mnt-$mode" || [ -s "$WORK/$mode.out" ]; then
		fail "a provider that is $mode" "something is mounted, or stdout is not empty"
	else
		pass "a provider that is $mode: $(grep -o 'provider.*' "$WORK/$mode.err" | head -n 1 | cut -c1-100)"
	fi
done
wait_until 5 no_processes_here mount
is "" "$(processes_here mount)" "no process is left of any"

# ---- what is sent to a provider ----
# A private key file given beside it is not its business (ocicrypt's own tools send it along).
openssl genrsa -out "$WORK/private.pem" 2048 2>/dev/null
# shellcheck disable=SC2016
ocicrypt_cmd /bin/sh -c 'tee "$1" | env CLOAKFS_CONFIG="$2" "$3" keyprovider --exec' sh "$WORK/asked" "$CLOAKFS_CONFIG" "$CLOAKFS"
"${ASK[@]}" cat --key "$WORK/private.pem" --key $NAME_KEY "$IMG" /app/config >"$WORK/out" 2>"$LOG"
matches '"keyunwrap"' "$(cat "$WORK/asked" 2>/dev/null)" "the provider was asked"
if grep -q "$(sed -n 3p "$WORK/private.pem" | cut -c1-40)" "$WORK/asked" ||
	grep -q "$(base64 -w0 <"$WORK/private.pem" | cut -c60-100)" "$WORK/asked"; then
	fail "a private key given beside it is not sent to it" "it was"
else
	pass "a private key given beside it is not sent to it"
fi

finish
