# Two images of one build:
#
#   docker build --target migrator --tag bedplate-migrator:dev .
#   docker build --target service --tag bedplate-service:dev .
#
# Needs BuildKit (DOCKER_BUILDKIT=1 where it is not the default). Both hold one program and the certificate
# authorities: no shell, no package manager, no C library beside the program, not root.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# What was compiled in can be listed by `cargo audit bin` and image scanners when this names a version of
# cargo-auditable, as the release workflow does. Without it a build is quicker by its compilation.
ARG CARGO_AUDITABLE=
RUN --mount=type=cache,id=bedplate-cargo,target=/usr/local/cargo/registry,sharing=locked \
    if [ -n "$CARGO_AUDITABLE" ]; then cargo install --locked --root /usr/local "cargo-auditable@$CARGO_AUDITABLE"; fi

# The C library goes into the programs, which then run on the 2 MB of distroless/static instead of the 23 MB of
# distroless/cc. It is the same GNU library (its resolver and its allocator too), not musl. The second flag
# packs the table of relocations. They hold for --target alone: procedural macros have to stay shared objects.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"

# The dependencies first, from the manifests alone: this layer stays until one of these files changes. The
# empty programs are removed from the target folder again, because cargo compares times, and the sources
# that follow may be older than them.
COPY Cargo.toml Cargo.lock ./
COPY foundation/Cargo.toml foundation/
COPY migrator/Cargo.toml migrator/
COPY service/Cargo.toml service/
RUN --mount=type=cache,id=bedplate-cargo,target=/usr/local/cargo/registry,sharing=locked \
    set -eu; \
    for crate in foundation migrator service; do mkdir $crate/src; touch $crate/src/lib.rs; done; \
    for file in migrator/src/main.rs service/src/main.rs migrator/build.rs service/build.rs; do echo 'fn main() {}' > $file; done; \
    host=$(rustc --print host-tuple); \
    cargo build --release --locked --target "$host" --package migrator --package service; \
    cargo clean --release --locked --target "$host" --package foundation --package migrator --package service; \
    rm -r ./*/src ./*/build.rs

COPY foundation foundation
COPY migrator migrator
COPY service service
RUN --mount=type=cache,id=bedplate-cargo,target=/usr/local/cargo/registry,sharing=locked \
    set -eu; \
    host=$(rustc --print host-tuple); \
    cargo ${CARGO_AUDITABLE:+auditable} build --release --locked --target "$host" --package migrator --package service; \
    mkdir -p /out/data; \
    cp "target/$host/release/migrator" "target/$host/release/service" /out/


# What the images have in common.
FROM gcr.io/distroless/static-debian12:nonroot AS base
COPY LICENSE-MIT LICENSE-APACHE /licenses/
# A place for a SQLite file, for those who choose one: -e DATABASE_URL=sqlite:////data/bedplate.db
COPY --from=build --chown=65532:65532 /out/data /data
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /data
# Refuses what is meant for development only: the SQLite fallback, made up secrets, a .env file.
ENV BEDPLATE_ENV=production


# Brings the database to the schema of this release, and ends.
FROM base AS migrator
COPY --from=build /out/migrator /usr/local/bin/migrator
ENTRYPOINT ["/usr/local/bin/migrator"]
CMD ["up"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bedplate migrator" \
      org.opencontainers.image.description="Brings the database to the schema of this release" \
      org.opencontainers.image.source="https://github.com/bedplate/bedplate" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"


# Serves on it. Last, so that it is what a build without --target gives.
FROM base AS service
COPY --from=build /out/service /usr/local/bin/service
# From outside the container nothing else could reach it. The second one is for Prometheus.
ENV HTTP_ADDRESS=0.0.0.0:8080 \
    TELEMETRY_PROMETHEUS_ADDRESS=0.0.0.0:9464
EXPOSE 8080 9464
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/service", "healthcheck"]
# The service drains on SIGTERM: give `docker stop` longer than HTTP_DRAIN_DELAY and HTTP_DRAIN_TIMEOUT.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/service"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bedplate service" \
      org.opencontainers.image.description="Accounts, settings and metric snapshots over HTTP" \
      org.opencontainers.image.source="https://github.com/bedplate/bedplate" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
