# syntax=docker/dockerfile:1
# Build: docker build -t identity-gateway .
# Run:   docker run --read-only --tmpfs /tmp -p 8080:8080 -v ./gateway.toml:/etc/gateway/gateway.toml:ro \
#            -v gateway-data:/var/lib/gateway identity-gateway

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY gateway gateway
COPY keys keys
RUN /opt/gateway/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/gateway --create-home --shell /usr/sbin/nologin gateway \
    && install -d -m 0700 -o gateway -g gateway /var/lib/gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_CONFIG=/etc/gateway/gateway.toml
USER gateway
WORKDIR /var/lib/gateway
VOLUME /var/lib/gateway
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
# No key material lies in the image: secrets, keys and contacts are mounted.
ENTRYPOINT ["gateway"]
CMD ["serve"]
