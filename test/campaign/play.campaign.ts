/** Random scenarios on real tables under both rule sets; safety rules after each step. */
import { PLAY_RULES } from "../../src/play/index.js";
import type { Campaign } from "../../tools/campaign.js";
import { noPlayCounts, playRandomly } from "../support/random-play.js";

const SCENARIOS = { ci: 200, full: 10_000 } as const;
const BATCH = 100;

export const campaign: Campaign = {
  name: "random scenarios",
  run({ size, seed, log }) {
    const counts = noPlayCounts();
    const scenarios = SCENARIOS[size];
    for (let at = 0; at < scenarios; at += BATCH) {
      const rules = PLAY_RULES[(at / BATCH) % PLAY_RULES.length] ?? "device-centric";
      playRandomly(seed + at, BATCH, rules, counts);
      log(`${counts.scenarios} scenarios, ${counts.steps} steps`);
    }
    const { steps, landed, moved } = counts;
    const text =
      `${scenarios} scenarios, ${steps} steps under both rule sets: every safety rule holds; ` +
      `${moved} attaches worked, ${landed} transactions reached memory`;
    return { cases: steps, text };
  },
};
