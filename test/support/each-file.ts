// Before each test file: a worker runs many of them, and what one knew is not the next one's business.

import { forgetMadeKeys } from './keys.ts';
import { forgetSecrets } from './secrets.ts';

forgetSecrets();
forgetMadeKeys();
