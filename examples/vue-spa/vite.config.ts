import vue from '@vitejs/plugin-vue';
import { defineConfig, type Plugin } from 'vite';
import { settingsFrom } from './src/settings.ts';

export default defineConfig({
  plugins: [vue(), contentSecurityPolicy()],
  server: { port: 5173, strictPort: true },
  preview: { port: 5173, strictPort: true },
});

// Tokens in memory are as safe as the scripts of the page are ours: no others run here, and data goes to two places
// only. A server that can send headers should send this as one, with frame-ancestors, which a <meta> cannot carry.
function contentSecurityPolicy(): Plugin {
  let connect = '';
  return {
    name: 'content-security-policy',
    apply: 'build',
    configResolved({ env }) {
      const { issuer, ordersUrl } = settingsFrom(env);
      connect = [issuer, ordersUrl].map((url) => new URL(url).origin).join(' ');
    },
    transformIndexHtml: () => [
      {
        tag: 'meta',
        injectTo: 'head-prepend',
        attrs: {
          'http-equiv': 'Content-Security-Policy',
          content:
            `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src ${connect}; ` +
            "base-uri 'none'; form-action 'none'",
        },
      },
    ],
  };
}
