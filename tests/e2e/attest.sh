#!/bin/bash
# The cloud misbehaves: every fault that the local Azure can play, against a layer's key. An error
# that says who did what wrong, in bounded time; or, for a passing fault, the key all the same.
# Several local Azures work through the list side by side, with the same key in each HSM.
# shellcheck source=tests/e2e/lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

N_WORKERS=3
ENC=$WORK/enc
IMDS='managed identity.*IMDS|token of the managed identity|token for https://managedhsm'
MAA='attestation.*sharedeus'
HSM='[Rr]elease of key imagekey000.*hsm1'

# ENDPOINT MODE REGEX: the fault stays, and is an error. "-" for REGEX: it passes, or does not matter.
cat >"$WORK/faults" <<FAULTS
imds_token 400 IMDS.*400
imds_token 401 IMDS.*401
imds_token 404 IMDS.*404
imds_token 429 IMDS.*429
imds_token 503 IMDS.*503
imds_token 503*1 -
imds_token invalidtoken500*1 -
imds_token reset $IMDS
imds_token truncate $IMDS
imds_token oversize $IMDS
imds_token notjson $IMDS.*JSON
maa_discovery 403 $HSM.*signing key of https://sharedeus
maa_discovery notjson $HSM.*signing key of https://sharedeus
maa_certs 404 signing keys.*sharedeus.*404
maa_certs 503 signing keys.*sharedeus.*503
maa_certs 503*1 -
maa_certs truncate signing keys.*sharedeus
maa_certs oversize signing keys.*sharedeus
maa_certs notjson signing keys.*sharedeus.*JSON
maa_attest 400 $MAA.*400
maa_attest 401 $MAA.*401
maa_attest 500 $MAA.*500
maa_attest 500*1 -
maa_attest 429*1 -
maa_attest reset $MAA
maa_attest truncate $MAA
maa_attest oversize $MAA
maa_attest notjson $MAA.*JSON
maa_attest badsig $MAA.*signature
maa_attest algnone $MAA.*not accepted
maa_attest hs256 $MAA.*HS256
maa_attest wrongkid $MAA.*signing key
maa_attest expired $MAA.*expired
maa_attest future $MAA.*not valid for another
maa_attest wrongiss $MAA.*iss
maa_attest wrongkey $MAA.*another key
maa_attest wrongreportdata $MAA.*reportdata
maa_attest debuggable $MAA.*is-debuggable
maa_attest wrongnonce $MAA.*nonce
hsm_release 400 $HSM.*400
hsm_release 401 $HSM.*401
hsm_release 404 $HSM.*404
hsm_release 429 $HSM.*429
hsm_release 500 $HSM.*500
hsm_release 429*2 -
hsm_release 503*1 -
hsm_release reset $HSM
hsm_release truncate $HSM
hsm_release oversize $HSM
hsm_release notjson $HSM.*JSON
hsm_release badsig $HSM.*signature
hsm_release algnone $HSM.*not accepted
hsm_release algswap $HSM.*HS256
hsm_release wrongkid $HSM.*another|$HSM.*other-key
hsm_release expiredleaf $HSM.*expired
hsm_release sanmismatch $HSM.*not for host hsm1
hsm_release unknownroot $HSM.*not trusted
hsm_release nox5c $HSM.*x5c
hsm_release nononce $HSM.*nonce
hsm_release wrongnonce $HSM.*nonce
hsm_release shortct $HSM.*unwrapped
hsm_release badkwp $HSM.*unwrapped
hsm_release otherkey $HSM.*unwrapped
hsm_release keymismatch $HSM.*does not match
hsm_release notrsa $HSM.*RSA
tsm_report badsig SNP report.*signed
tsm_report ebusy configfs-tsm.*busy
tsm_report ebusy*2 -
tsm_report eio configfs-tsm.*Input/output
tsm_report wrongdata SNP report.*report data
imds_token hang $IMDS
maa_attest hang $MAA
hsm_release hang $HSM
FAULTS

# cloud NAME: an Azure of its own, with the key.
cloud() {
	AZ=$WORK/azure-$1
	KEYS=$WORK/keys-$1
	LOG=$WORK/log-$1
	export CLOAKFS_CONFIG=$WORK/cloakfs-$1.json
	mkdir -p "$KEYS"
	"$AZSIM" start --state "$AZ" 2>"$LOG" | jq --arg k "$KEYS" '. + {key_info_dir: $k}' >"$CLOAKFS_CONFIG" &&
		"$AZSIM" key-import --state "$AZ" --name "$KID" --pem "$WORK/kek.pem" --info-dir "$KEYS" >"$LOG" 2>&1
}

# worker N: takes every N_WORKERSth fault; a line for each, fields parted by byte 037.
worker() {
	local endpoint mode want from rc i=0
	cloud "$1" || { echo "no cloud: $(cat "$LOG")"; return; }
	while read -r endpoint mode want; do
		i=$((i + 1))
		[ $((i % N_WORKERS)) = "$1" ] || continue
		"$AZSIM" set --state "$AZ" "fault.$endpoint=$mode" >"$LOG" 2>&1 || echo "cannot set $endpoint $mode: $(cat "$LOG")"
		from=$(date +%s%N)
		timeout -k 5 100 "$CLOAKFS" cat "oci:$ENC:latest" file >"$WORK/out-$1" 2>"$LOG" </dev/null
		rc=$?
		printf '%s\037%s\037%s\037%s\037%s\037%s\037%s\n' $rc $((($(date +%s%N) - from) / 1000000)) "$endpoint" "$mode" \
			"$want" "$(cat "$WORK/out-$1")" "$(grep -v x-ms-request-id "$LOG" | tr '\n\037' '  ')"
		"$AZSIM" set --state "$AZ" "fault.$endpoint=off" >/dev/null
	done <"$WORK/faults"
	"$AZSIM" stop --state "$AZ"
}

openssl genrsa -out "$WORK/kek.pem" 3072 2>/dev/null
cloud main || bail "the local Azure starts, with an imported key" "$(cat "$LOG")"
layout_new "$ENC"
printf 'file file data=hello\nend\n' | "$E2E/mktar" >"$WORK/layer.tar"
layout_add "$ENC" "$WORK/layer.tar" gzip
layout_finish "$ENC"
layout_encrypt_layer "$ENC" 0
is hello "$("$CLOAKFS" cat "oci:$ENC:latest" file 2>&1)" "without a fault the layer opens"

workers=
for i in $(seq 0 $((N_WORKERS - 1))); do
	worker "$i" >"$WORK/results-$i" &
	workers="$workers $!"
done
# shellcheck disable=SC2086
wait $workers

while IFS=$'\037' read -r rc ms endpoint mode want out err; do
	text="$endpoint=$mode"
	if [ "$want" = - ]; then
		is "0 hello" "$rc $out" "$text: passes (${ms} ms) $err"
	elif [ "$rc" != 1 ] || [ -n "$out" ]; then
		fail "$text" "expected exit status 1 and nothing on stdout, got $rc and \"$out\" after $ms ms" "$err"
	elif [ "$ms" -gt 60000 ]; then
		fail "$text" "expected an error within a minute, it took $ms ms" "$err"
	else
		matches "layer 0.*($want)" "$err" "$text: $(sed 's/.*imagekey000): //' <<<"$err" | cut -c1-120)"
	fi
done < <(cat "$WORK"/results-*)
is "$(wc -l <"$WORK/faults")" "$(cat "$WORK"/results-* | wc -l)" "every fault was played"

# ---- the other identity: a federated token instead of the metadata service ----
echo "a.federated.token" >"$WORK/federated"
export AZURE_CLIENT_ID=11111111-2222-3333-4444-555555555555 AZURE_TENANT_ID=66666666-7777-8888-9999-000000000000
export AZURE_FEDERATED_TOKEN_FILE=$WORK/federated
counters_reset
is hello "$("$CLOAKFS" cat "oci:$ENC:latest" file 2>&1)" "workload identity: the layer opens"
is "1 0" "$(counter aad_token) $(counter imds_token)" "workload identity: the token came from the authority"
azure_set fault.aad_token=401
fails_with 'login.microsoftonline.com.*401' "workload identity: refused" "$CLOAKFS" cat "oci:$ENC:latest" file
azure_set fault.aad_token=off
rm "$WORK/federated"
fails_with 'federated' "workload identity: the token's file is gone" "$CLOAKFS" cat "oci:$ENC:latest" file

finish
