#!/bin/bash
# bench.sh - measures cloakfs beside named yardsticks, in turn in one run; called by `make bench`.
#
#   tests/bench.sh [TOPIC]...   core cache pass encrypt open reads growth pull; all of them when none is named
#   ROUNDS=5                    pairs measured
#   TREE="/usr/include ..."     what the layer of pass, encrypt and open is made of
# Prints medians, the spread, and the ratio pair by pair. Needs a machine at rest.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/e2e/lib/tap.sh
. tests/e2e/lib/tap.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh

ROUNDS=${ROUNDS:-5}
TREE=${TREE:-/usr/include /usr/share /usr/bin}
[ $# -gt 0 ] || set -- core cache pass encrypt open reads growth pull

tests/e2e/lib/trixie.sh build/trixie || exit 1
echo "$(nproc) CPUs:$(sed -n 's/^model name.*://p' /proc/cpuinfo | head -n 1); Linux $(uname -r); $(date -u +%F)"
azure_start
ocicrypt_cmd "$CLOAKFS" keyprovider --exec
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$WORK/rsa.pem" 2>"$LOG"
openssl pkey -in "$WORK/rsa.pem" -pubout -out "$WORK/rsa.pub"

# the_layer: a layer of $TREE as a tar, as gzip, in a plain layout; made once.
the_layer() {
	[ ! -e "$WORK/layer.gz" ] || return 0
	echo "making a layer of $TREE ..."
	# shellcheck disable=SC2086
	tar -C / -cf "$WORK/layer.tar" --sort=name --format=posix $(printf '%s\n' $TREE | sed 's|^/||') 2>"$LOG"
	layer_of "$WORK/plain" "$WORK/layer.tar" gzip
	cp "$(layout_blob "$WORK/plain" 0)" "$WORK/layer.gz"
	N_ENTRIES=$(tar -tf "$WORK/layer.tar" | wc -l)
	echo "$N_ENTRIES entries, $(mib "$WORK/layer.tar") MiB of tar, $(mib "$WORK/layer.gz") MiB of gzip"
}

for topic in "$@"; do
	echo
	echo "== $topic"
	# shellcheck disable=SC1090
	. "tests/bench/$topic.sh"
done
