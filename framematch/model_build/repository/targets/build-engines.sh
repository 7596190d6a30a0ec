#!/bin/sh
# Builds the TensorRT engines of this repository's models that have a file engine.shapes: 1/model.onnx -> 1/model.plan.
# Written by `framematch model build --target tensorrt`; run it where the engines will be served, in Triton's container.
# From this folder:
#
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/models" \
#       nvcr.io/nvidia/tritonserver:26.06-py3 sh /models/build-engines.sh
#
# An existing engine of the same graph, shapes, TensorRT and GPU is not built again.
#   --print   print the commands and run nothing
#   TRTEXEC   the trtexec to use, when it is neither on PATH nor at its place in Triton's container
set -eu

print_only=false
case "${1-}" in
"") ;;
--print) print_only=true ;;
*)
    echo "usage: $0 [--print]" >&2
    exit 2
    ;;
esac

fail() {
    echo "build-engines.sh: $1" >&2
    exit 1
}

find_trtexec() {
    for candidate in "${TRTEXEC-}" "$(command -v trtexec || true)" /usr/src/tensorrt/bin/trtexec; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    fail "there is no trtexec. Run this script in Triton's container (see its first lines), or set TRTEXEC."
}

# Finds what an engine depends on besides its graph and shapes: trtexec, TensorRT's version and the GPU.
find_environment() {
    trtexec=$(find_trtexec)
    help=$("$trtexec" --help 2>&1 || true)
    # The version is 8601 for 8.6.1, and 100300 for 10.3.0.
    tensorrt=$(printf '%s\n' "$help" | sed -n 's/.*TensorRT v\([0-9][0-9]*\).*/\1/p' | head -n 1)
    [ -n "$tensorrt" ] || fail "$trtexec does not say which TensorRT it is of, but: $(printf '%s\n' "$help" | head -n 1)"
    [ "$tensorrt" -ge 100000 ] || fail "TensorRT 10 or newer is needed, for token ids of 64 bits, and this one is \
v$tensorrt. Triton's container has it from release 24.05 on."
    gpu=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>/dev/null) || gpu=
    [ -n "$gpu" ] || fail "no GPU is visible here (nvidia-smi shows none). Give the container one: docker run --gpus all."
}

# engine NAME SHAPES...
engine() {
    model=$1
    shift
    shapes=$*
    graph=$model/1/model.onnx
    plan=$model/1/model.plan
    log=$model/trtexec.log
    part=$plan.part$$
    if $print_only; then
        part=$plan
    fi
    # The graph sets the precision of each operator. --stronglyTyped makes TensorRT follow it; TensorRT 11 always does.
    set -- --onnx="$graph" --saveEngine="$part" "$@" \
        --stronglyTyped --skipInference --timingCacheFile=trtexec.timing-cache
    if $print_only; then
        echo "trtexec $*"
        return
    fi
    built_from="TensorRT v$tensorrt; $gpu; $(cksum <"$graph"); $shapes"
    if [ -s "$plan" ] && [ "$(cat "$plan.made-of" 2>/dev/null)" = "$built_from" ]; then
        echo "$model: its engine exists already"
        return
    fi
    echo "$model: building its engine, which takes minutes; the log is $log"
    echo "$trtexec $*" >"$log"
    if ! "$trtexec" "$@" >>"$log" 2>&1 || ! [ -s "$part" ]; then
        tail -n 5 "$log" >&2
        fail "trtexec could not build the engine of $model. The whole log: $PWD/$log"
    fi
    # The old record is removed first, so that an interruption never leaves a record of another engine.
    rm -f "$plan.made-of"
    mv -f "$part" "$plan"
    echo "$built_from" >"$plan.made-of"
    echo "$model: $plan is ready"
}

cd "$(dirname "$0")"
trap 'rm -f ./*/1/model.plan.part$$' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
$print_only || find_environment

found=false
for shapes in ./*/engine.shapes; do
    [ -f "$shapes" ] || continue
    found=true
    model=${shapes#./}
    set --
    while IFS= read -r argument; do
        set -- "$@" "$argument"
    done <"$shapes"
    engine "${model%/engine.shapes}" "$@"
done
$found || fail "no model here needs an engine"

$print_only || echo "Run 'framematch model build' again, which makes a running Triton load the model; or start Triton"
