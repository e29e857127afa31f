/** Random calls on the objects of /dev/iommu under both rule sets; safety rules after each. */
import type { Campaign } from "../../tools/campaign.js";
import { ObjectWalk } from "../support/object-walk.js";

const STEPS = { ci: 20_000, full: 1_000_000 } as const;
const WALK = 1000;
const RULES = ["device-centric", "linux-7.2"] as const;

export const campaign: Campaign = {
  name: "objects of /dev/iommu",
  run({ size, seed, log }) {
    const steps = STEPS[size];
    let done = 0;
    const refused = new Map<string, number>();
    for (let at = 0; at < steps; at += WALK) {
      const rules = RULES[(at / WALK) % 2] ?? "device-centric";
      const walk = new ObjectWalk(seed + at, rules);
      const result = walk.run(WALK, `seed ${seed + at}, ${rules},`);
      walk.close();
      done += result.done;
      for (const [code, n] of result.refused) refused.set(code, (refused.get(code) ?? 0) + n);
      if ((at + WALK) % 100_000 === 0) log(`${at + WALK} steps`);
    }
    const codes = [...refused].sort((a, b) => b[1] - a[1]).map(([code, n]) => `${code} ${n}`);
    const text = `${steps} calls, ${done} did something, refused: ${codes.join(", ")}`;
    return { cases: steps, text };
  },
};
