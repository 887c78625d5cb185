# The image of the gateway and of the workers; docker-compose.mac.yml and docker-compose.worker.yml build it.
#
#   docker build -t hive-gateway .
#   docker build -t hive-worker --build-arg WORKER_CAPABILITIES=gis .
#
# BASE is a Debian with Python 3.11 to 3.13. PDAL comes from conda-forge, by the micromamba of the image MICROMAMBA; where
# that image holds none, from the packages that tools/install_pdal.sh finds for BASE.
ARG BASE=python:3.13-slim
ARG MICROMAMBA=mambaorg/micromamba:2.3.3

FROM ${MICROMAMBA} AS micromamba

FROM ${BASE}
ENV PATH=/opt/hive/bin:$PATH PYTHONUNBUFFERED=1 HIVE_HOME=/var/lib/hive
# A number of its own, so that it is nobody on the host.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/hive --shell /usr/sbin/nologin hive && chmod 700 /var/lib/hive
COPY . /opt/source
# What pip has fetched is kept beside the images, for the next one, and is in none of them.
RUN --mount=type=cache,target=/root/.cache/pip /opt/source/tools/install.sh /opt/hive ""
ARG WORKER_CAPABILITIES=""
# micromamba is borrowed for this step and does not stay in the image.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=micromamba,source=/,target=/mnt \
    if [ -n "$WORKER_CAPABILITIES" ]; then \
    PATH=$PATH:/mnt/bin MAMBA_ROOT_PREFIX=/tmp/mamba /opt/source/tools/install.sh /opt/hive "$WORKER_CAPABILITIES" \
    && rm -rf /tmp/mamba; fi
USER hive
WORKDIR /var/lib/hive
CMD ["hive", "--help"]
