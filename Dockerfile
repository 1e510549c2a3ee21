# Node 24 in all stages. What each stage does is in scripts/image/, where a test runs it without a Docker engine.

FROM node:24-slim AS build
WORKDIR /signet
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN sh scripts/image/build.sh

FROM node:24-slim AS dependencies
WORKDIR /signet
COPY package.json package-lock.json ./
COPY scripts/image ./scripts/image
RUN sh scripts/image/dependencies.sh

FROM node:24-slim
# The environment goes before signet.yaml, so the server listens where the health check asks. Publish any port you like.
ENV NODE_ENV=production SIGNET_LISTEN_HOST=0.0.0.0 SIGNET_LISTEN_PORT=3000
WORKDIR /signet
COPY --from=dependencies /signet/node_modules ./node_modules
COPY --from=build /signet/dist ./dist
COPY package.json ./
COPY views ./views
COPY scripts/image/healthcheck.js ./
# The two places that outlive a container: the database (unless it is PostgreSQL) and the master key.
RUN mkdir -m 0700 data keys && chown node:node data keys
VOLUME ["/signet/data", "/signet/keys"]
USER node
EXPOSE 3000
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s CMD ["node", "healthcheck.js"]
CMD ["node", "dist/main.js", "serve"]
