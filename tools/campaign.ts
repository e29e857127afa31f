/**
 * `npm run campaign [-- --size ci|full] [--seed N] [--replay FILE] [WORD]`: runs the long random
 * tests, that is
 * every `test/campaign/*.campaign.ts` (or those whose name contains WORD), one after the other.
 *
 * Each exports `campaign: Campaign`. A campaign throws when it finds a fault; its message must name
 * the seed. At full size the summaries are written to docs/campaigns.md.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ROOT } from "./root.js";

export type CampaignSize = "ci" | "full";

export interface CampaignRun {
  readonly size: CampaignSize;
  /** 0 to 2^31 - 1. The same seed and size give the same cases. */
  readonly seed: number;
  readonly log: (line: string) => void;
}

export interface CampaignSummary {
  /** How many cases were tried. */
  readonly cases: number;
  /** What was found, in one sentence: "200,000 inputs: 143,211 answers, 56,789 typed errors". */
  readonly text: string;
}

export interface Campaign {
  readonly name: string;
  readonly run: (options: CampaignRun) => Promise<CampaignSummary> | CampaignSummary;
  /** Runs what a failing run has kept in a file again; throws where that failed. */
  readonly replay?: (file: string) => void;
}

const FOLDER = join("test", "campaign");
const DEFAULT_SEED = 20210609;

interface Outcome extends CampaignSummary {
  readonly name: string;
  readonly seconds: number;
  readonly ok: boolean;
}

async function loadCampaigns(word: string): Promise<Campaign[]> {
  const names = readdirSync(join(ROOT, FOLDER))
    .filter((name) => name.endsWith(".campaign.ts") && name.includes(word))
    .sort();
  const found: Campaign[] = [];
  for (const name of names) {
    const path = join(ROOT, "dist", FOLDER, name.replace(/\.ts$/, ".js"));
    const module = (await import(pathToFileURL(path).href)) as { campaign?: Campaign };
    if (module.campaign === undefined) throw new Error(`${FOLDER}/${name} exports no \`campaign\``);
    found.push(module.campaign);
  }
  return found;
}

async function runOne(campaign: Campaign, size: CampaignSize, seed: number): Promise<Outcome> {
  console.log(`\n${campaign.name} (${size}, seed ${seed})`);
  const began = performance.now();
  const log = (line: string): void => console.log(`  ${line}`);
  const elapsed = (): number => (performance.now() - began) / 1000;
  try {
    const summary = await campaign.run({ size, seed, log });
    log(`${summary.text} (${elapsed().toFixed(1)} s)`);
    return { ...summary, name: campaign.name, seconds: elapsed(), ok: true };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log(`FAILED: ${text}`);
    return { name: campaign.name, cases: 0, text: "failed", seconds: elapsed(), ok: false };
  }
}

function page(outcomes: readonly Outcome[], seed: number): string {
  const run = `${new Date().toISOString().slice(0, 10)}, seed ${seed}, Node ${process.version}`;
  const rows = outcomes.map(
    (o) =>
      `| ${o.name} | ${o.cases.toLocaleString("en")} | ${o.seconds.toFixed(0)} s | ${o.text} |`,
  );
  return `# Campaigns

Long random tests. Last run at full size: ${run}. Written by
\`npm run campaign -- --size full\`; \`.ci/run\` runs the same at a smaller size.

| campaign | cases | time | result |
|---|---|---|---|
${rows.join("\n")}
`;
}

async function replay(word: string, file: string): Promise<number> {
  const able = (await loadCampaigns(word)).filter((one) => one.replay !== undefined);
  const [campaign] = able;
  if (campaign === undefined || able.length > 1) {
    console.error(`--replay needs a word that names one of: ${able.map((one) => one.name)}`);
    return 2;
  }
  campaign.replay?.(file);
  console.log("nothing failed");
  return 0;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      size: { type: "string", default: "full" },
      seed: { type: "string" },
      replay: { type: "string" },
    },
  });
  const size = values.size;
  const seed = values.seed === undefined ? DEFAULT_SEED : Number(values.seed);
  if ((size !== "ci" && size !== "full") || !Number.isInteger(seed) || seed < 0) {
    console.error("usage: npm run campaign [-- --size ci|full] [--seed N] [--replay FILE] [WORD]");
    return 2;
  }
  const word = positionals[0] ?? "";
  if (values.replay !== undefined) return replay(word, values.replay);
  const outcomes: Outcome[] = [];
  for (const campaign of await loadCampaigns(word)) {
    outcomes.push(await runOne(campaign, size, seed));
  }
  const failed = outcomes.filter((o) => !o.ok).length;
  if (size === "full" && word === "" && failed === 0) {
    writeFileSync(join(ROOT, "docs", "campaigns.md"), page(outcomes, seed));
  }
  console.log(`\n${outcomes.length - failed} passed, ${failed} failed`);
  return failed === 0 && outcomes.length > 0 ? 0 : 1;
}

process.exitCode = await main();
