# Triton Inference Server with ONNX Runtime for its python backend, which runs models of `framematch model build --target
# cpu`. Models for a GPU run in backends of NVIDIA's image: onnxruntime, and tensorrt with engines built by the image's
# trtexec. Build context: the repository's root.
ARG TRITON_BASE=nvcr.io/nvidia/tritonserver:26.06-py3
FROM ${TRITON_BASE}

COPY deploy/docker/triton-requirements.txt /tmp/triton-requirements.txt
# The backend uses the image's own Python. numpy must be below 2: with numpy 2 some releases returned empty tensors.
RUN PIP_BREAK_SYSTEM_PACKAGES=1 pip3 install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -r /tmp/triton-requirements.txt \
    && python3 -c "import numpy, onnxruntime; assert numpy.__version__ < '2'" \
    && rm /tmp/triton-requirements.txt
# A new volume inherits this folder's owner, the user of the other framematch images.
RUN mkdir -p /models/repository && chown -R 10001:10001 /models
USER triton-server
COPY deploy/docker/triton-start.sh /usr/local/bin/
CMD ["sh", "/usr/local/bin/triton-start.sh"]
