#!/bin/bash
# One run on four nodes of a Slurm cluster, by Ray: sbatch docs/cluster/slurm.sh. Change the lines up to the empty one.
# Checkout, its .venv, images and reports lie on a file system that all nodes mount under the same path.
#SBATCH --job-name=clip-robustness
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
SUITE=/shared/robustness.toml
REPORTS=/shared/robustness/latest
CHECKOUT=/shared/clip-robustness-suite

set -euo pipefail
cd "$CHECKOUT"
export PATH="$CHECKOUT/.venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN # of this job alone: whoever can reach the cluster can run code on it
RAY_AUTH_TOKEN=$(openssl rand -hex 32)
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent hosts "$head" | awk '{ print $1; exit }'):6379
# Ends ten minutes before Slurm would end it; the same command goes on where it was.
srun ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    env RAY_ADDRESS="$address" pytest --suite="$SUITE" --report-dir="$REPORTS" --engine=ray --time-limit=11h50m
