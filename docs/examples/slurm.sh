#!/bin/sh
# One share of a batch for each task of the array:  sbatch --array=1-8 --gres=gpu:1 slurm.sh
#SBATCH --job-name=vsr
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
mkdir -p /archive/uhd
exec vsr batch hd_to_uhd /archive/hd -o /archive/uhd \
    --part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --json "/archive/uhd/part-$SLURM_ARRAY_TASK_ID.json"
