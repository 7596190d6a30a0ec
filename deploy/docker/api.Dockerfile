# The REST API, and the archive of its events: framematch with the extras `api`, `archive` and `heif`. It has nothing of
# the edge. Build context: the repository's root.
ARG PYTHON=python:3.12.12-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/framematch
COPY requirements/bootstrap.txt requirements/api-cpu.txt requirements/
RUN pip install --require-hashes -r requirements/bootstrap.txt \
    && pip --python /opt/framematch/bin/python install --require-hashes -r requirements/api-cpu.txt
COPY pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md ./
COPY framematch framematch
COPY edge edge
COPY consumers consumers
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/framematch/bin/python install --no-deps /wheels/*.whl

FROM ${PYTHON}
RUN mkdir /var/lib/framematch && chown 10001:10001 /var/lib/framematch
COPY --from=build /opt/framematch /opt/framematch
# The API listens on its own port; FRAMEMATCH_HTTP__PORT is the archive's, for health and metrics.
ENV PATH=/opt/framematch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FRAMEMATCH_STATE_DIR=/var/lib/framematch \
    FRAMEMATCH_API__HOST=0.0.0.0 \
    FRAMEMATCH_API__PORT=8080 \
    FRAMEMATCH_HTTP__HOST=0.0.0.0 \
    FRAMEMATCH_HTTP__PORT=9100 \
    FRAMEMATCH_LOG__FORMAT=json
USER 10001:10001
WORKDIR /var/lib/framematch
EXPOSE 8080 9100
ENTRYPOINT ["framematch"]
CMD ["api"]
