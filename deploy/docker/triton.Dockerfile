# Triton Inference Server with ONNX Runtime for its python backend, which runs what `framematch model build` makes for a
# CPU. What it makes for a GPU runs in backends of NVIDIA's image: onnxruntime and tensorrt, whose engines are made with
# the image's trtexec. Build context: the repository's root.
FROM nvcr.io/nvidia/tritonserver:26.06-py3

COPY deploy/docker/triton-requirements.txt /tmp/triton-requirements.txt
# The backend runs the image's own Python. numpy stays below 2: with numpy 2 some releases returned empty tensors.
RUN PIP_BREAK_SYSTEM_PACKAGES=1 pip3 install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -r /tmp/triton-requirements.txt \
    && python3 -c "import numpy, onnxruntime; assert numpy.__version__ < '2'" \
    && rm /tmp/triton-requirements.txt
# A fresh volume takes over this folder with its owner, the user of framematch's own images.
RUN mkdir -p /models/repository && chown -R 10001:10001 /models
USER triton-server
CMD ["tritonserver", "--model-repository=/models/repository", "--model-control-mode=explicit", "--load-model=*"]
