/**
 * Captures mutated and truncated: always an answer or a typed error that names a file, never
 * another exception, a hang, or memory above 1 GiB.
 *
 * A case is one file of the shipped captures, or a tar of one whole capture with a damaged member,
 * read through the same entry as the command's standard input and analysed to the end. The shipped
 * fixtures are the corpus, so that a seed means the same everywhere.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromCapture } from "../../src/host/index.js";
import { loadCapture } from "../../src/host/io/index.js";
import { analyse } from "../../src/isolation/index.js";
import { buildFabric } from "../../src/pcie/index.js";
import { InputError } from "../../src/units/index.js";
import type { Campaign, CampaignRun } from "../../tools/campaign.js";
import { mutate } from "../support/mutate.js";
import { Random } from "../support/random.js";
import { makeTar } from "../support/tar.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const CASES = { ci: 4000, full: 200_000 } as const;
/**
 * A case of some tens of kilobytes takes milliseconds; this is far beyond, and far below a hang.
 */
const SLOW_MS = 10_000;
const MEMORY_LIMIT_BYTES = 1 << 30;
const TAR_EVERY = 10;
const REPORTS = 5;

interface SampleFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** By capture: its files. */
function readCorpus(): SampleFile[][] {
  const folders = [join(ROOT, "examples", "captured-machine")];
  const fixtures = join(ROOT, "test", "fixtures", "ground-truth");
  for (const name of readdirSync(fixtures).sort()) folders.push(join(fixtures, name));
  return folders
    .filter((folder) => existsSync(join(folder, "lspci.txt")))
    .map((folder) =>
      readdirSync(folder)
        .sort()
        .map((name) => ({ name, bytes: readFileSync(join(folder, name)) })),
    );
}

type Ending = "answer" | "error";

async function attempt(bytes: Buffer): Promise<Ending> {
  try {
    const capture = await loadCapture(["-"], { stdin: () => bytes, names: [] });
    const { fabric, facts } = fromCapture(capture);
    const analysis = analyse(buildFabric(fabric), facts);
    let groups = analysis.partition.groups.length + analysis.deviceCentric.groups.length;
    for (const fn of analysis.fabric.functions.slice(0, REPORTS)) {
      groups += analysis.deviceReport(fn.bdf)?.reaches.length ?? 0;
    }
    return groups >= 0 ? "answer" : "error";
  } catch (error) {
    if (InputError.is(error) && error.place.file !== "") return "error";
    throw error;
  }
}

function makeCase(corpus: readonly SampleFile[][], random: Random) {
  const capture = random.pick(corpus);
  const file = random.pick(capture);
  const other = random.pick(random.pick(corpus));
  const damaged = mutate(file.bytes, other.bytes, random);
  if (random.below(TAR_EVERY) !== 0) return { ...damaged, name: file.name };
  const members = capture.map((f) => (f === file ? { ...f, bytes: damaged.bytes } : f));
  const tar = makeTar(members);
  const bytes = random.below(4) === 0 ? tar.subarray(0, random.below(tar.length)) : tar;
  return { bytes, done: [...damaged.done, "in a tar"], name: file.name };
}

async function runCampaign({ size, seed, log }: CampaignRun) {
  const corpus = readCorpus();
  const cases = CASES[size];
  const count = { answer: 0, error: 0 };
  let slowest = 0;
  let mostMemory = 0;
  for (let i = 0; i < cases; i++) {
    // Each case has its own seed, so that one can be repeated without those before it.
    const { bytes, done, name } = makeCase(corpus, new Random(Math.imul(seed, 31) + i));
    const began = performance.now();
    const fail = (what: string, cause?: unknown): never => {
      const path = join(mkdtempSync(join(tmpdir(), "ioasis-case-")), name);
      writeFileSync(path, bytes);
      const message = `seed ${seed} case ${i} (${name}: ${done.join(", ")}) ${what}; kept in ${path}`;
      throw new Error(message, { cause });
    };
    try {
      count[await attempt(bytes)]++;
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      fail(`ends in an untyped error: ${text}`, error);
    }
    const taken = performance.now() - began;
    if (taken > SLOW_MS) fail(`took ${taken.toFixed(0)} ms`);
    slowest = Math.max(slowest, taken);
    if (i % 100 === 0) mostMemory = Math.max(mostMemory, process.memoryUsage.rss());
    if (mostMemory > MEMORY_LIMIT_BYTES) fail(`left the process with ${mostMemory} bytes`);
    if (i > 0 && i % 20_000 === 0) log(`${i} cases, slowest ${slowest.toFixed(0)} ms`);
  }
  const mib = (mostMemory / (1 << 20)).toFixed(0);
  const text =
    `${count.answer} answers, ${count.error} typed errors; ` +
    `slowest ${slowest.toFixed(0)} ms, at most ${mib} MiB`;
  return { cases, text };
}

export const campaign: Campaign = { name: "mutated and truncated captures", run: runCampaign };
