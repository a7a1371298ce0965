#!/bin/sh
# The release gate of a checkpoint, for any CI. Exits as pytest does: 0 the gate holds, 1 it fails, 4 wrong usage (a
# checkpoint that can't be loaded, too), 5 nothing was measured, or no limit decides anything, 143 and 129 ended by
# SIGTERM or SIGHUP.
#
# Where `clip-robustness` is installed and on the PATH. Beside the reports stands comment.md, for a pull request.
#
#   CANDIDATE  spec of the model under test
#   SUITE      suite TOML or name                                 (default: mini)
#   PROFILE    rules to start from                                (default: release)
#   OUT        folder for reports, store and history              (default: reports)
#   RECORD     name under which a run that holds becomes the one that later runs are compared with
set -eu
OUT=${OUT:-reports}
rm -rf "${OUT:?}/latest"/* # wrong usage writes no report, and must not show its predecessor's
set -- --suite="${SUITE:-mini}" --profile="${PROFILE:-release}" --report-dir="$OUT/latest" "$@"
[ -z "${CANDIDATE:-}" ] || set -- "$@" --candidate="$CANDIDATE"
found=0
latest=$(clip-robustness history "$OUT/history" --latest "${SUITE:-mini}") || found=$?
[ "$found" -le 1 ] || exit 4 # a damaged file
[ "$found" -ne 0 ] || set -- "$@" --compare="$latest"

# What cancels the job ends the run in order: the report of what was measured is written.
clip-robustness run "$@" &
run=$!
trap 'kill -TERM $run 2>/dev/null || true' TERM INT
trap 'kill -HUP $run 2>/dev/null || true' HUP
code=0
wait $run || code=$?
while kill -0 $run 2>/dev/null; do # a signal ends `wait` before the run
    code=0
    wait $run || code=$?
done
trap - TERM INT HUP
if [ -f "$OUT/latest/results.json" ]; then
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$OUT/latest/summary.md" >> "$GITHUB_STEP_SUMMARY"
    [ -z "${GITHUB_ACTIONS:-}" ] || clip-robustness annotations "$OUT/latest/results.json"
    clip-robustness comment "$OUT/latest/results.json" ${latest:+--base "$latest"} > "$OUT/latest/comment.md"
fi
if [ "$code" -eq 0 ] && [ -n "${RECORD:-}" ]; then
    clip-robustness run "$@" --record="$RECORD" -q > /dev/null # measures nothing anew
fi
exit "$code"
