# The service and its page on a CPU, with the embedded default; no downloads at run time.
#   docker build -t amodal .
#   docker run --rm -p 7860:7860 -e AMODAL_TOKEN="$(openssl rand -hex 24)" amodal
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m venv /opt/amodal \
    && /opt/amodal/bin/pip install --no-cache-dir -c constraints.txt ".[serve]"

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin amodal
COPY --from=build /opt/amodal /opt/amodal
ENV PATH="/opt/amodal/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/api/health', timeout=4)"]
# A container listens to others, so it asks for a token: pass AMODAL_TOKEN, or it does not start.
ENTRYPOINT ["amodal", "serve", "--host", "0.0.0.0"]
