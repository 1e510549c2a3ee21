import { ConfigError, type LoadOptions, loadConfig } from '../../src/config/config.ts';

/** The problems of a configuration, one line each as a person sees them; fails where there are none. */
export function problemsOf(options: LoadOptions): string[] {
  try {
    loadConfig(options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [, ...lines] = error.message.split('\n');
    return lines.map((line) => line.trim());
  }
  throw new Error('the configuration was accepted');
}
