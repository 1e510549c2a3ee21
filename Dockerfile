# Node 24 in all stages. What each stage does is in scripts/image/, where a test runs it without a Docker engine.

FROM node:24-slim AS build
WORKDIR /signet
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN sh scripts/image/build.sh

FROM node:24-slim
# The environment goes before signet.yaml, so the server listens where the health check asks. Publish any port you like.
ENV NODE_ENV=production SIGNET_LISTEN_HOST=0.0.0.0 SIGNET_LISTEN_PORT=3000
# Without a bound V8's young generation grows to 128 MiB under load, for no less CPU time (docs/performance.md).
ENV NODE_OPTIONS=--max-semi-space-size=8
WORKDIR /signet
COPY --from=build /signet/dist ./dist
COPY package.json LICENSE ./
COPY views ./views
COPY scripts/image/healthcheck.js scripts/image/compile.js ./
# The two places that outlive a container: the database (unless it is PostgreSQL) and the master key.
RUN mkdir -m 0700 data keys && mkdir -p node_modules/.cache/signet && chown node:node data keys node_modules/.cache/signet
USER node
RUN node compile.js
# What is compiled runs: nobody in the container may change it.
USER root
RUN chown -R root:root node_modules && chmod -R a=rX,u+w node_modules && rm compile.js
USER node
VOLUME ["/signet/data", "/signet/keys"]
EXPOSE 3000
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s CMD ["node", "healthcheck.js"]
CMD ["node", "dist/main.js", "serve"]
