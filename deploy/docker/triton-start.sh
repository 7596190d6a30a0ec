#!/bin/sh
# Starts Triton. Loading models, shared memory, trace and log settings need TRITON_REPOSITORY_KEY, which `model build`
# sends: a client without it only runs models. Further arguments are Triton's.
set -eu
: "${TRITON_REPOSITORY_KEY:?set it to a key of 16 or more characters: openssl rand -hex 24}"
restricted="model-repository,shared-memory,trace,logging:framematch-key=$TRITON_REPOSITORY_KEY"
unset TRITON_REPOSITORY_KEY  # a model's code could read it
# A model that cannot be loaded, such as one without its engine, does not keep the others from being served.
exec tritonserver --model-repository=/models/repository --model-control-mode=explicit '--load-model=*' \
    --exit-on-error=false --strict-readiness=false \
    "--grpc-restricted-protocol=$restricted" "--http-restricted-api=$restricted" "$@"
