# An image of nothing but the program: docker build -t turnkey .
#
#   docker run -p 8080:8080 -v bot:/data turnkey
#
# The data is /data, the user 65532. `docker stop` waits 10 s, more than --grace (8 s).
# For a bot of your own use the Dockerfile that `turnkey new` writes.

FROM rust:1-slim AS builder
# SQLite and the allocator are compiled from C; libc6-dev has the static library.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN scripts/dist && scripts/dist --check \
 && mkdir -p /out/data && cp target/dist/turnkey /out/turnkey

FROM scratch
COPY --from=builder /out/turnkey /turnkey
# A volume that is new gets the owner of what the image has in its place.
COPY --from=builder --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
VOLUME /data
ENV TURNKEY_STORAGE=sqlite:/data/bot.db \
    TURNKEY_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/turnkey"]
CMD ["run", "--workers", "2"]
