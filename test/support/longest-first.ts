// The order of the test files: what takes longest comes first, so that no worker is left alone with it at the end. Files
// that mostly wait are among the first, since others can use the processor meanwhile.

import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

export const longest = [
  'rotation/under-load',
  'differential/differential',
  'browser/entra',
  'browser/spa',
  'database/network',
  'image/image',
  'browser/sign-in-pages',
  'rotation/shared-clock',
  'browser/bff',
  'browser/demo',
  'database/outages',
  'database/ready',
  'entra/resilience',
  'flows/jwks-faults',
  'entra/recheck',
  'cli/process',
  'entra/pkcs12',
  'backchannel-logout/queue',
  'entra/tenant-keys',
  'faults/crash',
  'browser/back-button',
  'faults/rolling-restart',
  'web/connections',
  'server/start',
  'rotation/clocks',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const position = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return position < 0 ? longest.length : position;
    };
    // A worker serves one project at a time and starts anew for another, so each project stays in one piece.
    const projects = [...new Set(files.map(({ project }) => project))].sort((a, b) => a.name.localeCompare(b.name));
    const sorted = await super.sort(files);
    return projects.flatMap((project) =>
      sorted.filter((file) => file.project === project).sort((a, b) => rank(a) - rank(b)),
    );
  }
}
