/**
 * A hostile endpoint on random hosts: whatever it sends, it reaches what the oracle says and
 * nothing else; every way in which it reaches more than its own was named before, and is traced.
 */
import type { Campaign } from "../../tools/campaign.js";
import { EXPOSURES } from "../support/hostile-fates.js";
import { noCounts, runHostileCase, SPECIALS } from "../support/hostile-run.js";

const TRANSACTIONS = { ci: 50_000, full: 10_000_000 };
const PER_CASE = { ci: 200, full: 5_000 };
const LOG_EVERY = 100;

export const campaign: Campaign = {
  name: "hostile endpoint",
  run({ size, seed, log }) {
    const counts = noCounts();
    const transactions = PER_CASE[size];
    const cases = TRANSACTIONS[size] / transactions;
    for (let i = 0; i < cases; i++) {
      runHostileCase(seed + i, { transactions }, counts);
      if (i % LOG_EVERY === LOG_EVERY - 1) {
        log(`${counts.transactions} transactions, ${counts.reached} reached something`);
      }
    }
    for (const name of EXPOSURES) {
      if (counts.by[name] === 0 || counts.traced[name] === 0) {
        throw new Error(`${name} was never reached (seed ${seed}, ${cases} hosts)`);
      }
    }
    for (const name of SPECIALS) {
      if (counts.special[name] === 0) throw new Error(`${name}: none (seed ${seed})`);
    }
    const special = SPECIALS.map((name) => `${name} ${counts.special[name]}`).join(", ");
    const by = EXPOSURES.map((name) => `${name} ${counts.by[name]}`).join(", ");
    const text =
      `${cases} hosts (${counts.strict} with nothing open), ${counts.reached} requests reached ` +
      `something, all as predicted: ${by}; of these and of refused ones ${special}`;
    return { cases: counts.transactions, text };
  },
};
