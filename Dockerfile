# syntax=docker/dockerfile:1
# The hub as a small image: a virtual environment made in one stage, carried alone into the next.
#   docker build -t aether-hub .
#   docker run --init -p 8400:8400 -v aether:/var/lib/aether aether-hub
#   docker exec … aether signin-link
# scripts/prove-dockerfile.sh runs these very steps without an engine. It understands the instructions used here.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
RUN python -m venv /opt/build && python -m venv --without-pip /opt/aether

# The dependencies change rarely: they come before the code, so that their layer is reused.
COPY requirements/build.txt requirements/run.txt requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/build/bin/python -m pip install --cache-dir /var/cache/pip --require-hashes --only-binary :all: \
        -r requirements/build.txt \
    && /opt/build/bin/python -m pip --python /opt/aether/bin/python install --cache-dir /var/cache/pip \
        --require-hashes --only-binary :all: -r requirements/run.txt

COPY . .
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . ./clients/python \
    && /opt/build/bin/python -m pip --python /opt/aether/bin/python install --no-deps --no-index dist/*.whl

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 aether \
    && useradd --uid 10001 --gid aether --home-dir /var/lib/aether --no-create-home --shell /usr/sbin/nologin aether \
    && install --directory --owner aether --group aether --mode 0750 /var/lib/aether
COPY --from=build /opt/aether /opt/aether
ENV PATH=/opt/aether/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AETHER_HOST=0.0.0.0 \
    AETHER_DATA=/var/lib/aether
USER aether
WORKDIR /var/lib/aether
VOLUME /var/lib/aether
EXPOSE 8400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["aether", "healthcheck"]
ENTRYPOINT ["aether"]
CMD ["serve"]
