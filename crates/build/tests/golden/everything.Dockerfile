# syntax=docker/dockerfile:1
# escape=\

ARG VERSION=12
FROM --platform=linux/amd64 debian:${VERSION} AS Base

# remarks are dropped
MAINTAINER somebody <some@body>
ENV OLD form with  blanks
ENV A=1 B="two words" \
    # inside
    C=three\ words
LABEL "com.example.key"="value" other=x
run apt-get update \
 && apt-get install -y curl

RUN ["/bin/echo", "exec form"]
RUN --mount=type=cache,target=/root/.cache,id=pip --mount=type=bind,from=Base,source=/x,target=/y,rw \
    --network=none true
RUN <<-EOF cat
	line $A
	EOF
RUN <<'PY' python3 - | tee out <<TWO
print("$not expanded")
PY
second
TWO
COPY --from=0 --chown=1:2 --chmod=755 --link a b /dest/
COPY ["with space", "/dest"]
COPY <<one /file
content
one
ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://example.com/x /x
EXPOSE 80 $PORT/udp
VOLUME ["/a", "/b"]
VOLUME /c /d
USER nobody:nogroup
WORKDIR relative/dir
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5m --timeout=3s --retries=2 CMD curl -f http://localhost/ || exit 1
HEALTHCHECK NONE
ONBUILD COPY --chown=3 . /app
ARG LATE
ENTRYPOINT ["/entry"]
CMD shell form "with quotes"
