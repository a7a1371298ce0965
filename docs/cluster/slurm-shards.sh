#!/bin/bash
# The same without Ray, as an array of jobs of one node each: sbatch docs/cluster/slurm-shards.sh. Change the lines up to
# the empty one. Then, on any machine, exiting as pytest does:
#   clip-robustness merge /shared/robustness/shard-*/latest/results.json -o /shared/robustness/merged
#SBATCH --job-name=clip-robustness
#SBATCH --array=1-4
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120 # two minutes before the time is up: the report of what was measured, then exit code 143
SUITE=/shared/robustness.toml
REPORTS=/shared/robustness
CHECKOUT=/shared/clip-robustness-suite

set -euo pipefail
cd "$CHECKOUT"
export PATH="$CHECKOUT/.venv/bin:$PATH"
exec pytest -n "$SLURM_GPUS_ON_NODE" --suite="$SUITE" --report-dir="$REPORTS/shard-$SLURM_ARRAY_TASK_ID/latest" \
    --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
