#!/bin/bash
# Machines of a Slurm cluster, each with all its GPUs:
#   sbatch --nodes 2 configs/accelerate/slurm.sh pretrain --data.source /shared/images --output_dir /shared/runs/mine --resume true
# Activate the environment before; the folders must be on a file system that all machines see.
#SBATCH --job-name=ssl_dml
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
# Five minutes before the time is up the run saves a checkpoint; "scontrol requeue", or sbatch again, goes on from it.
#SBATCH --signal=TERM@300
set -euo pipefail
export MASTER=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PORT=$((20000 + SLURM_JOB_ID % 20000))
# One launcher a machine; SLURM_GPUS_ON_NODE processes each, and each machine knows its own number.
exec srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --quiet --multi_gpu --mixed_precision no --dynamo_backend no \
  --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" --num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE)) \
  --main_process_ip "$MASTER" --main_process_port "$PORT" -m ssl_dml "$@"' launcher "$@"
