# The image of hive-mind-server. Two ways to build it:
#
#   docker build --tag hive-mind-rust .                       from source
#   docker build --tag hive-mind-rust --target runtime .      from a binary in target/image/hive-mind-server
#
# The second needs neither a compiler nor a registry of crates, and works with the classic builder too (which makes all
# stages above the target: that is why the compiler's stage stands below). BASE_IMAGE is any Debian 12 or newer; what it
# lacks of the tools that operators use inside is installed, so that a base that has them all needs no network.
ARG BASE_IMAGE=debian:bookworm-slim
ARG BUILD_IMAGE=rust:1.95-bookworm

FROM ${BASE_IMAGE} AS tools
RUN for tool in curl netstat ps find sha256sum update-ca-certificates; do command -v "$tool" || missing=yes; done; \
    if [ -n "$missing" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates coreutils curl findutils net-tools procps \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# Numbers, so that Kubernetes can tell that it is not root.
RUN mkdir -p /app/bin /data /backups /etc/hive-mind \
    && echo 'hive-mind:x:10001:10001::/data:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'hive-mind:x:10001:' >> /etc/group \
    && chown 10001:10001 /data /backups
ENV HIVE__NODE__DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/backups"]
EXPOSE 8080 8091 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://localhost:8091/readyz"]
ENTRYPOINT ["/app/bin/hive-mind-server"]
CMD ["run"]

FROM tools AS runtime
ARG BINARIES=target/image
USER 0:0
COPY ${BINARIES}/hive-mind-server /app/bin/hive-mind-server
COPY LICENSE-APACHE LICENSE-MIT /app/
# `sha256sum --check /app/checksums.sha256` says whether a file was changed; the paths are those that find prints.
RUN /app/bin/hive-mind-server --version \
    && find /app -type f ! -name checksums.sha256 -exec sha256sum {} + | sort -k 2 > /app/checksums.sha256
USER 10001:10001

FROM ${BUILD_IMAGE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends protobuf-compiler
WORKDIR /source
COPY . .
RUN cargo build --locked --release --package hive-mind-server

FROM tools AS server
USER 0:0
COPY --from=build /source/target/release/hive-mind-server /app/bin/hive-mind-server
COPY LICENSE-APACHE LICENSE-MIT /app/
RUN /app/bin/hive-mind-server --version \
    && find /app -type f ! -name checksums.sha256 -exec sha256sum {} + | sort -k 2 > /app/checksums.sha256
USER 10001:10001
