#!/bin/sh
# step.sh LABEL COMMAND [ARGUMENT...]: runs the command, says what is done and how long it took.
label=$1
shift
start=$(date +%s)
echo "==> $label"
"$@"
status=$?
seconds=$(($(date +%s) - start))
if [ "$status" -eq 0 ]; then
  echo "==> $label: done in $seconds s"
else
  echo "==> $label: FAILED with exit code $status after $seconds s" >&2
fi
exit "$status"
