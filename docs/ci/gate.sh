#!/bin/sh
# The release gate of a checkpoint, for any CI. Exits as pytest does: 0 the gate holds, 1 it fails, 4 wrong usage (a
# checkpoint that can't be loaded, too), 5 nothing was measured, or no limit decides anything.
#
#   CANDIDATE  spec of the model under test, with absolute paths
#   SUITE      suite TOML or name                                 (default: mini)
#   PROFILE    rules to start from                                (default: release)
#   OUT        absolute folder for reports, store and history     (default: reports)
#   RECORD     name under which a run that holds becomes the one that later runs are compared with
set -eu
cd "$(dirname "$0")/../.."
OUT=${OUT:-$PWD/reports}
set -- --suite="${SUITE:-mini}" --profile="${PROFILE:-release}" --report-dir="$OUT/latest" "$@"
[ -z "${CANDIDATE:-}" ] || set -- "$@" --candidate="$CANDIDATE"
found=0
latest=$(python -m reports history --history "$OUT/history" --latest "${SUITE:-mini}") || found=$?
[ "$found" -le 1 ] || exit 4 # a damaged file
[ "$found" -ne 0 ] || set -- "$@" --compare="$latest"
rm -f "$OUT/latest/results.json" "$OUT/latest/summary.md" # a run that stops early must not show its predecessor's

code=0
python -m pytest "$@" || code=$?
if [ -f "$OUT/latest/results.json" ]; then
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$OUT/latest/summary.md" >> "$GITHUB_STEP_SUMMARY"
    [ -z "${GITHUB_ACTIONS:-}" ] || python -m reports annotations "$OUT/latest/results.json"
fi
if [ "$code" -eq 0 ] && [ -n "${RECORD:-}" ]; then
    python -m pytest "$@" --record="$RECORD" -q > /dev/null # measures nothing anew
fi
exit "$code"
