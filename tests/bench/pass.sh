# pass.sh - the verifying pass over a layer of skopeo's against inflating it.
# shellcheck shell=bash
the_layer
"$BUILD/bench/pass" "$WORK/layer.gz" "$ROUNDS" | sed 's/^/  /'
