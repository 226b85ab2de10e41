# The one image of Mooring; its role is its command: mooring-operator, mooring-csi or mooring.
# BASE needs Python 3.11 or newer with the venv module; the tools of the volumes are added where it lacks them.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS system
RUN if ! { command -v mkfs.ext4 && command -v mkfs.xfs && command -v mkfs.btrfs && command -v losetup && command -v fsfreeze; } > /dev/null; then \
      apt-get update \
      && apt-get install -y --no-install-recommends btrfs-progs ca-certificates e2fsprogs mount util-linux xfsprogs \
      && rm -rf /var/lib/apt/lists/*; \
    fi

FROM system AS build
# Only for the build: where packages come from on this machine, and whom to trust for it.
ARG PIP_CERT
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/mooring && python3 -m venv /opt/build && /opt/build/bin/pip install --quiet hatchling==1.27.0
COPY requirements-runtime.lock /src/
RUN /opt/mooring/bin/pip install --quiet --require-hashes --only-binary=:all: -r /src/requirements-runtime.lock \
    && cp -a /opt/mooring /opt/dependencies \
    && rm -rf /opt/dependencies/lib/python3*/site-packages/pip /opt/dependencies/lib/python3*/site-packages/pip-* /opt/dependencies/bin/pip*
COPY pyproject.toml README.md LICENSE /src/
COPY engine /src/engine
COPY operator /src/operator
COPY csi /src/csi
COPY cli /src/cli
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist /src \
    && /opt/mooring/bin/pip install --quiet --no-deps --no-index --prefix /opt/product /dist/*.whl

FROM system
LABEL org.opencontainers.image.title="mooring" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/mooring/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
# Two layers: the dependencies stay as they are when only the code changes.
COPY --from=build /opt/dependencies /opt/mooring
COPY --from=build /opt/product /opt/mooring
CMD ["mooring", "--help"]
