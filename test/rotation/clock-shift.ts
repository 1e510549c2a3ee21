// Preloaded (node --import) into a server whose clock is to be off: all that reads Date lives so much later or earlier.

const shiftMs = Number(process.env.SIGNET_TEST_CLOCK_SHIFT_MS);
if (!Number.isFinite(shiftMs)) throw new Error('SIGNET_TEST_CLOCK_SHIFT_MS is not a number');

const RightDate = Date;

globalThis.Date = class extends RightDate {
  constructor(...parts: unknown[]) {
    super(...((parts.length === 0 ? [RightDate.now() + shiftMs] : parts) as [number]));
  }

  static override now() {
    return RightDate.now() + shiftMs;
  }
} as DateConstructor;
