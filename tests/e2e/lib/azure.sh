# azure.sh - the local Azure, keys in it, key providers, and skopeo. Sourced by tap.sh.
# shellcheck shell=bash

AZ=$WORK/azure # azsim's state
KEYS=$WORK/keys # key-info files
KID=imagekey000

# azure_start [azsim options]: starts azsim with key imagekey000 and points cloakfs at it.
azure_start() {
	mkdir -p "$KEYS"
	if ! "$AZSIM" start --state "$AZ" "$@" >"$WORK/azsim.json" 2>"$WORK/azsim.err"; then
		note_file "azsim start wrote" "$WORK/azsim.err"
		bail "the local Azure starts"
	fi
	jq --arg k "$KEYS" '. + {key_info_dir: $k, cache_dir: "none"}' "$WORK/azsim.json" >"$WORK/cloakfs.json" ||
		bail "azsim prints a configuration"
	export CLOAKFS_CONFIG=$WORK/cloakfs.json
	azure_key "$KID"
}

# azure_key KID [options]: a new key in the HSM, its info files in $KEYS.
azure_key() {
	local kid=$1
	shift
	if ! "$AZSIM" key-create --state "$AZ" --name "$kid" --info-dir "$KEYS" "$@" >"$LOG" 2>&1; then
		note_file "azsim key-create wrote" "$LOG"
		bail "key $kid is made in the local HSM"
	fi
}

azure_stop() {
	"$AZSIM" stop --state "$AZ"
}

azure_set() {
	"$AZSIM" set --state "$AZ" "$@" >"$LOG" 2>&1 || bail "azsim set $*" "$(cat "$LOG")"
}

# counter NAME: requests served so far; counters_reset starts over.
counter() {
	"$AZSIM" counters --state "$AZ" | jq --arg n "$1" '.[$n] // 0'
}
counters_reset() {
	"$AZSIM" counters --state "$AZ" --reset >/dev/null
}

# config_edit JQ-ARGS...: changes the configuration in use.
config_edit() {
	jq "$@" "$CLOAKFS_CONFIG" >"$WORK/config.new" && mv "$WORK/config.new" "$CLOAKFS_CONFIG"
}

listens_tcp() {
	(exec 3<>"/dev/tcp/${1%:*}/${1##*:}")
}

free_port() {
	local p
	while :; do
		p=$((20000 + RANDOM % 12000))
		listens_tcp "127.0.0.1:$p" 2>/dev/null || break
	done
	echo "$p"
}

# provider_start LISTEN [options]: a key provider of ours; $PROVIDER_PID, $PROVIDER (its address).
provider_start() {
	PROVIDER=$1
	shift
	start "$WORK/provider.log" "$CLOAKFS" keyprovider --listen "$PROVIDER" "$@"
	PROVIDER_PID=$!
	if ! wait_until 20 provider_ready; then
		note_file "cloakfs keyprovider wrote" "$WORK/provider.log"
		bail "the key provider listens on $PROVIDER"
	fi
}

provider_ready() {
	case $PROVIDER in
	unix:*) [ -S "${PROVIDER#unix:}" ] ;;
	*) listens_tcp "$PROVIDER" ;;
	esac
}

provider_stop() {
	kill "$PROVIDER_PID" 2>/dev/null
	wait "$PROVIDER_PID" 2>/dev/null
}

# ocicrypt_grpc ADDRESS, ocicrypt_cmd COMMAND ARG...: what ocicrypt clients ask from now on.
ocicrypt_grpc() {
	case $1 in
	unix:/*) set -- "unix://${1#unix:}" ;; # the form grpc-go and ocicrypt document
	esac
	jq -n --arg a "$1" '{"key-providers": {"attestation-agent": {grpc: $a}}}' >"$WORK/ocicrypt.json"
	export OCICRYPT_KEYPROVIDER_CONFIG=$WORK/ocicrypt.json
}
ocicrypt_cmd() {
	local path=$1
	shift
	printf '%s\n' "$@" | jq -Rn --arg p "$path" '{"key-providers": {"attestation-agent": {cmd: {path: $p,
		args: [inputs]}}}}' >"$WORK/ocicrypt.json"
	export OCICRYPT_KEYPROVIDER_CONFIG=$WORK/ocicrypt.json
}

# skopeo_copy ARGS...: real skopeo; its words in $WORK/skopeo.log.
skopeo_copy() {
	timeout 120 "$SKOPEO" copy --quiet "$@" >"$WORK/skopeo.log" 2>&1
}

# encrypt SRC DST [skopeo options]: both layouts; bails out when skopeo cannot.
encrypt() {
	local src=$1 dst=$2
	shift 2
	[ $# -gt 0 ] || set -- --encryption-key "provider:attestation-agent:aasp:$KID"
	rm -rf "$dst"
	if ! skopeo_copy "$@" "oci:$src:latest" "oci:$dst:latest"; then
		note_file "skopeo wrote" "$WORK/skopeo.log"
		bail "skopeo encrypts $(basename "$src")"
	fi
}

# mount_image IMAGE DIR [options]: 0 when `cloakfs mount` says so.
mount_image() {
	local image=$1 dir=$2
	shift 2
	mkdir -p "$dir"
	timeout 120 "$CLOAKFS" mount "$@" "$image" "$dir" >"$LOG" 2>&1 </dev/null
}

treedump() {
	"$E2E/treedump" "$@"
}
