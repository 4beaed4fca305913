#!/bin/sh
# slurm.sh STAGE FOLDER MODEL FACTS [OPTION...]: a run over the jobs of a Slurm array, each a share of
# the relations. The stages, in this order, with the same FOLDER (that all machines see), MODEL, FACTS
# and OPTIONs of `engram reproduce`:
#
#   sbatch --array=1-8 tools/slurm.sh locate FOLDER MODEL FACTS    every job locates its share
#   tools/slurm.sh merge-located FOLDER MODEL FACTS                one file of what was located
#   sbatch --array=1-8 tools/slurm.sh rest FOLDER MODEL FACTS      every job does the rest of its share
#   tools/slurm.sh finish FOLDER MODEL FACTS                       FOLDER/run.db
#
# The array has to begin with 1. A job that was killed goes on where it was when it is queued again.
# `ENGRAM` names the command; default: engram.
set -eu
[ $# -ge 4 ] || { sed -n '2,13p' "$0" | cut -c3- >&2; exit 2; }
stage=$1 folder=$2 model=$3 facts=$4
shift 4
engram=${ENGRAM:-engram}

part() { # part NAME [OPTION...]: this job's share, in FOLDER/NAME-I.db
  name=$1
  shift
  i=${SLURM_ARRAY_TASK_ID:?"this stage is a job array: sbatch --array=1-N"}
  "$engram" reproduce "$model" --facts "$facts" --run "$folder/$name-$i.db" \
    --shard "$i/${SLURM_ARRAY_TASK_COUNT:?}" ${SLURM_CPUS_PER_TASK:+--threads "$SLURM_CPUS_PER_TASK"} \
    --quiet "$@"
}

mkdir -p "$folder"
case $stage in
  locate) part locate --only locate "$@" ;;
  merge-located)
    rm -f "$folder/located.db"
    "$engram" merge "$folder/located.db" "$folder"/locate-*.db
    ;;
  rest)
    own=$folder/rest-${SLURM_ARRAY_TASK_ID:?"this stage is a job array: sbatch --array=1-N"}.db
    [ -f "$own" ] || { cp "$folder/located.db" "$own.part" && mv "$own.part" "$own"; }
    part rest "$@"
    ;;
  finish)
    [ -f "$folder/run.db" ] || "$engram" merge "$folder/run.db" "$folder"/rest-*.db
    # What spans relations.
    "$engram" reproduce "$model" --facts "$facts" --run "$folder/run.db" --quiet "$@"
    ;;
  *) echo "slurm.sh: got stage \"$stage\", expected locate, merge-located, rest or finish" >&2; exit 2 ;;
esac
