// Exit code 0 while the server in this container can answer. Plain JavaScript: it runs without the sources.

const port = process.env.SIGNET_LISTEN_PORT ?? '3000';
const answer = await fetch(`http://127.0.0.1:${port}/health/live`).catch(() => undefined);
process.exit(answer?.ok ? 0 : 1);
