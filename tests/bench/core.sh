# core.sh - opening sealed chunks against the libraries themselves.
# shellcheck shell=bash
"$BUILD/bench/core" 9 | sed 's/^/  /'
echo
echo "  openssl speed -evp aes-256-gcm (encrypting, 16 KiB), KB/s:"
openssl speed -evp aes-256-gcm -bytes 16384 -seconds 2 2>/dev/null | tail -n 1 | sed 's/^/  /'
