#!/bin/sh
# quietly.sh LOG COMMAND [ARGUMENT...]: runs the command, showing its output only when it fails.
log=$1
shift
mkdir -p "$(dirname "$log")"
"$@" > "$log" 2>&1
status=$?
[ "$status" -eq 0 ] || cat "$log" >&2
exit "$status"
