/**
 * Random calls of programs on a platform, as bytes, under both rule sets and with the mock devices
 * of the kernel's tests; safety rules after each.
 */
import { ERRNO } from "../../src/abi/index.js";
import type { Campaign } from "../../tools/campaign.js";
import { replayWalk, WireWalk } from "../support/wire-walk.js";

const STEPS = { ci: 60_000, full: 10_000_000 } as const;
const WALK = 2000;
const KINDS = ["device-centric", "linux-7.2", "selftest"] as const;
const NAMES = new Map(Object.entries(ERRNO).map(([name, number]) => [`-${number}`, name]));

export const campaign: Campaign = {
  name: "calls of programs",
  replay: (file) => void replayWalk(file),
  run({ size, seed, log }) {
    const steps = STEPS[size];
    const endings = new Map<string, number>();
    for (let at = 0; at < steps; at += WALK) {
      const kind = KINDS[(at / WALK) % 3] ?? "selftest";
      const where = `seed ${seed + at}, ${kind},`;
      const walk = new WireWalk(seed + at, kind);
      walk.run(WALK, where);
      walk.close(`${where} closing`);
      for (const [how, count] of walk.endings) endings.set(how, (endings.get(how) ?? 0) + count);
      if ((at + WALK) % 1_000_000 === 0) log(`${at + WALK} calls`);
    }
    const sorted = [...endings].sort((a, b) => b[1] - a[1]);
    const text = sorted.map(([how, count]) => `${NAMES.get(how) ?? how} ${count}`).join(", ");
    return { cases: steps, text: `${steps} calls: ${text}` };
  },
};
