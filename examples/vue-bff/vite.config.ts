import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import vue from '@vitejs/plugin-vue';
import { defineConfig, type Plugin } from 'vite';

const own = fileURLToPath(new URL('src', import.meta.url));
const spa = fileURLToPath(new URL('../vue-spa', import.meta.url));

export default defineConfig({
  plugins: [sameAppOtherTokens(), vue()],
  publicDir: join(spa, 'public'),
});

// The application is that of ../vue-spa. What is here in src/ takes the place of its namesake there: that is all that
// changes for a page when the tokens move into cookies.
function sameAppOtherTokens(): Plugin {
  return {
    name: 'same-app-other-tokens',
    enforce: 'pre',
    resolveId(source, importer) {
      if (!importer?.startsWith(spa) || !source.startsWith('./')) return null;
      const replacement = join(own, basename(source));
      return existsSync(replacement) ? replacement : null;
    },
  };
}
