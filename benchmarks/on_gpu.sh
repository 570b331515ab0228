#!/bin/sh
# All that wants a GPU, in order; each result lies in OUT as soon as it is there, a part that fails stops nothing.
#
#   DATA_DIR=FOLDER sh benchmarks/on_gpu.sh OUT [PART ...]
#
# OUT       folder for results; $OUT where it is not given
# PART      tests parity agreement train_step scaling host_scaling pilot pretrain linear_eval; without any, all.
#           Parts that are done already are not done again; summary.md is written anew each time.
# DATA_DIR  where TFDS has CIFAR-10; IMAGES: a folder of photographs for the host's rate, else some are drawn
# MINUTES   of the pretraining: 6; PYTHON: the interpreter, .venv/bin/python
# TINY=1    everything as small as it goes, on digits: to try this script on a CPU
set -u
OUT=${1:-${OUT:?give a folder for the results}}
[ $# -gt 0 ] && shift
mkdir -p "$OUT" || exit 2
OUT=$(cd "$OUT" && pwd)
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-.venv/bin/python}
MINUTES=${MINUTES:-6}
WANTED=${*:-tests parity agreement train_step scaling host_scaling pilot pretrain linear_eval}

# part NAME SECONDS COMMAND...: output to OUT/NAME.log, exit status and seconds to OUT/NAME.part; 124: out of time
part() {
    name=$1 limit=$2
    shift 2
    case " $WANTED " in *" $name "*) ;; *) return ;; esac
    grep -qs '^0 ' "$OUT/$name.part" && return
    echo "$name, at most $limit s: $*"
    began=$(date +%s)
    timeout -k 30 "$limit" "$@" >"$OUT/$name.log" 2>&1
    echo "$? $(($(date +%s) - began))" >"$OUT/$name.part"
    tail -n 3 "$OUT/$name.log"
}

# the value of a name in the result.json of a run in OUT
result() {
    "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$OUT/$1/result.json" "$2"
}

if [ -n "${TINY:-}" ]; then
    tests="tests/optimizers/test_lars.py" data="digits" images=1437
    flags="--rounds=1" step="--width=0.25 --images=4 --encoders=tiny" scale="--steps=1 --batch_size=4 --width=0.0625"
    host="--count=64 --image_size=32" pretrain=flags/digits/pretrain.cfg linear=flags/digits/linear_eval.cfg
    short="--width_multiplier=0.0625 --checkpoint_epochs=100" evaluated="--train_epochs=2" most=2
else
    tests="tests/models tests/objectives tests/optimizers tests/augment" data="cifar10" images=50000
    flags="" step="" scale="" host=""
    pretrain=flags/cifar10/pretrain_resnet18.cfg linear=flags/cifar10/linear_eval_resnet18.cfg
    short="--cache_dataset --precision=bfloat16" evaluated="--train_epochs=20" most=1000
fi
own="--dataset=$data ${DATA_DIR:+--data_dir=$DATA_DIR}"

# (a) what is computed there is right: oracles and golden values, in float32 that is not TF32
part tests 240 env NVIDIA_TF32_OVERRIDE=0 "$PYTHON" -m pytest -q -m "not slow" -p no:cacheprovider $tests
# (b) replicas as one, and one step beside the CPU's
part parity 120 "$PYTHON" -m tf_simclr.doctor --parity
part agreement 120 "$PYTHON" -m benchmarks.agreement ${TINY:+--images=4}
# (c) speed beside its limits
part train_step 240 "$PYTHON" -m benchmarks.train_step $flags $step --json="$OUT/train_step.json"
part scaling 120 "$PYTHON" -m benchmarks.scaling $flags $scale --json="$OUT/scaling.json"
part host_scaling 120 "$PYTHON" -m benchmarks.host_scaling $flags $host --images="${IMAGES:-}" \
    --json="$OUT/host_scaling.json"
# (d) as many epochs as MINUTES give, by the rate of two, then linear evaluation
part pilot 150 "$PYTHON" -m tf_simclr.pretrain --flagfile=$pretrain $own $short --train_epochs=2 \
    --warmup_epochs=0 --model_dir="$OUT/pilot"
epochs=$(result pilot images_per_second 2>/dev/null |
    awk -v n=$images -v m="$MINUTES" -v most=$most '{e = int(m * 60 * $1 / n); print (e < 1 ? 1 : e > most ? most : e)}')
part pretrain $((MINUTES * 60 + 90)) "$PYTHON" -m tf_simclr.pretrain --flagfile=$pretrain $own $short \
    --train_epochs="${epochs:-2}" --warmup_epochs=1 --model_dir="$OUT/pretrain"
part linear_eval 180 "$PYTHON" -m tf_simclr.linear_eval --flagfile=$linear $own $evaluated \
    --checkpoint="$OUT/pretrain" --model_dir="$OUT/linear_eval"

"$PYTHON" -m benchmarks.summary --parts="$OUT" | tee "$OUT/summary.md"
