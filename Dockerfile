# g5 on a processor, without a GPU: docker build -t g5 . && docker run --rm -v "$PWD:/data" g5 --help
FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements-cpu.lock ./
RUN python -m venv /opt/g5 \
    && /opt/g5/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements-cpu.lock
COPY . .
RUN /opt/g5/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/g5 /opt/g5
ENV PATH="/opt/g5/bin:$PATH"
RUN useradd --create-home --uid 1000 g5
USER 1000
# Recordings come in, and results go out, here.
WORKDIR /data
ENTRYPOINT ["g5"]
CMD ["--help"]
