# Target `consumer`: the consumer service. Target `tools`: commands such as `model build` and `catalog …`.
# Build context: the repository's root. FLAVOUR, cpu or gpu, selects the FAISS package.
ARG PYTHON=python:3.12.12-slim-bookworm

FROM ${PYTHON} AS build
ARG FLAVOUR=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/framematch
COPY requirements/bootstrap.txt requirements/consumer-${FLAVOUR}.txt requirements/
RUN pip install --require-hashes -r requirements/bootstrap.txt \
    && pip --python /opt/framematch/bin/python install --require-hashes -r requirements/consumer-${FLAVOUR}.txt
COPY pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md ./
COPY framematch framematch
COPY edge edge
COPY consumers consumers
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/framematch/bin/python install --no-deps /wheels/*.whl

# Adds the extra `model`. Both locks have the same versions of what they share.
FROM build AS build-tools
ARG FLAVOUR=cpu
COPY deploy/docker/tools-requirements.txt deploy/docker/
RUN pip --python /opt/framematch/bin/python install --require-hashes \
    -r requirements/consumer-${FLAVOUR}.txt -r deploy/docker/tools-requirements.txt

FROM ${PYTHON} AS runtime
RUN mkdir -p /var/lib/framematch /models/repository && chown -R 10001:10001 /var/lib/framematch /models
ENV PATH=/opt/framematch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FRAMEMATCH_STATE_DIR=/var/lib/framematch \
    FRAMEMATCH_HTTP__HOST=0.0.0.0 \
    FRAMEMATCH_HTTP__PORT=9100 \
    FRAMEMATCH_LOG__FORMAT=json
USER 10001:10001
WORKDIR /var/lib/framematch
ENTRYPOINT ["framematch"]

FROM runtime AS tools
COPY --from=build-tools /opt/framematch /opt/framematch
CMD ["--help"]

FROM runtime AS consumer
COPY --from=build /opt/framematch /opt/framematch
EXPOSE 9100
CMD ["consume"]
