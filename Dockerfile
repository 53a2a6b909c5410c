# syntax=docker/dockerfile:1
#
# Build:      docker build -t identity-gateway .
# Configure:  gateway init --config etc/gateway.toml && sudo chown -R 10001 etc     (the image runs as user 10001)
# Run:        docker run --read-only --tmpfs /tmp -v ./etc:/etc/gateway:ro -v gateway-data:/var/lib/gateway \
#                 -p 8080:8080 identity-gateway
# Commands:   the same with another ending, such as `identity-gateway db migrate`, which has to run once before.
#
# Clients connect to port 8080; the admin listener stays inside the container, on loopback, unless it is led out with
# `-e GATEWAY_ADMIN__BIND=0.0.0.0:8081 -p 127.0.0.1:8081:8081`. Contacts lie in the volume, secrets beside the
# configuration; no key material lies in the image.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY gateway gateway
COPY keys keys
RUN /opt/gateway/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/gateway --shell /usr/sbin/nologin gateway \
    && install -d -m 0700 -o gateway -g gateway /var/lib/gateway
COPY --from=build /opt/gateway /opt/gateway
# Over whatever the configuration says: inside a container loopback reaches nobody, and the health check needs one place.
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_CONFIG=/etc/gateway/gateway.toml \
    GATEWAY_PUBLIC__BIND=0.0.0.0:8080
USER 10001
WORKDIR /var/lib/gateway
VOLUME /var/lib/gateway
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", "\
import os, urllib.request as u; \
u.urlopen('http://127.0.0.1:' + os.environ['GATEWAY_PUBLIC__BIND'].rpartition(':')[2] + '/healthz', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
