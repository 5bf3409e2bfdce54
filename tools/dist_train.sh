#!/usr/bin/env bash
# Train on several GPUs of one machine, or of several (start it on each, with NODE_RANK set):
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh CONFIG 8
# Two at a time on one machine: PORT=29501 for the second.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,5p' "$0" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
# huge pages: with small ones CPUs may spend a third of a small model's step on new memory
command -v nvidia-smi >/dev/null || export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
# exec: a signal to this process is one to the launcher, which ends its workers
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
