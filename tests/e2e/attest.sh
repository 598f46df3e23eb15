#!/bin/bash
# The cloud misbehaves while an image is mounted: one fault of each service and of the evidence device
# (the room's own tests play them all). An error that says who did what, in bounded time, and nothing
# left; or, for a passing fault, the mount all the same.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

ENC=$WORK/enc
MNT=$WORK/mnt
mkdir "$MNT"

# fault ENDPOINT=MODE REGEX: it stays, and is an error.
fault() {
	azure_set "fault.$1"
	fails_with "layer 0.*($2)" "$1" "$CLOAKFS" mount "oci:$ENC:latest" "$MNT"
	if is_mounted "$MNT" || ! wait_until 5 no_processes_here mount; then
		fail "$1: nothing is left" "mounts: $(mounts_here)" "processes: $(processes_here mount)"
	fi
	azure_set "fault.${1%%=*}=off"
}

# passing ENDPOINT=MODE*COUNT: it passes, and costs nothing but a little time.
passing() {
	azure_set "fault.$1"
	if mount_image "oci:$ENC:latest" "$MNT"; then
		is hello "$(cat "$MNT/file")" "$1: mounted all the same"
		"$CLOAKFS" umount "$MNT"
	else
		fail "$1: mounted all the same" "$(cat "$LOG")"
	fi
	azure_set "fault.${1%%=*}=off"
}

azure_start
layout_new "$ENC"
printf 'file file data=hello\nend\n' | "$E2E/mktar" >"$WORK/layer.tar"
layout_add "$ENC" "$WORK/layer.tar" gzip
layout_finish "$ENC"
layout_encrypt_layer "$ENC" 0

fault tsm_report=eio 'configfs-tsm.*Input/output'
fault imds_token=404 'managed identity.*IMDS.*404'
fault maa_certs=notjson 'signing keys.*sharedeus.*JSON'
fault maa_attest=badsig 'attestation token of sharedeus.*signature'
fault maa_attest=hang 'attestation.*sharedeus'
fault hsm_release=404 'Release of key imagekey000 refused by hsm1.*404'
fault hsm_release=sanmismatch 'release of key imagekey000 by hsm1.*not for host hsm1'
fault hsm_release=keymismatch 'release of key imagekey000 by hsm1.*does not match'
passing 'tsm_report=ebusy*1'
passing 'imds_token=429*1'
passing 'maa_attest=500*1'
passing 'hsm_release=429*1'
counters_reset
passing hsm_release=off
is "1 1 1 1" "$(counter imds_token) $(counter maa_attest) $(counter hsm_release) $(counter tsm_report)" \
	"undisturbed, each is asked once"

finish
