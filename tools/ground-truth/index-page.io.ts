/** The table of all fixtures, written beside them. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { groupSets } from "./normalize.js";

const head = `# Ground truth

What Debian's own kernels made of PCI hierarchies built in QEMU: one folder per machine and kernel,
written by \`npm run ground-truth\` (see docs/ground-truth.md) and never edited by hand. Group
numbers carry no meaning; compare sets.

| folder | kernel | functions | in a group | groups | shared | shows |
|---|---|--:|--:|--:|--:|---|
`;

/** Writes `README.md` of the fixture folder below `root`, if there is one. */
export function writeIndex(root: string): void {
  const folder = join(root, "test/fixtures/ground-truth");
  if (!existsSync(folder)) return;
  const rows: string[] = [];
  for (const name of readdirSync(folder).sort()) {
    if (existsSync(join(folder, name, "topology.txt"))) rows.push(rowOf(join(folder, name), name));
  }
  writeFileSync(join(folder, "README.md"), `${head}${rows.join("\n")}\n`);
}

function rowOf(folder: string, name: string): string {
  const read = (file: string): string => readFileSync(join(folder, file), "utf8");
  const sets = groupSets(read("groups.txt"));
  const grouped = sets.reduce((sum, one) => sum + one.split(" ").length, 0);
  const shared = sets.filter((one) => one.includes(" ")).length;
  const functions = read("devices.txt")
    .split("\n")
    .filter((line) => line.startsWith("DEV ")).length;
  const shows = /^shows: (.*)$/m.exec(read("topology.txt"))?.[1] ?? "";
  const kernel = read("kernel.txt").split("\n")[0] ?? "";
  const cells = [name, kernel, functions, grouped, sets.length, shared, shows];
  return `| ${cells.join(" | ")} |`;
}
