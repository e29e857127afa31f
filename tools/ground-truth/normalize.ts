/**
 * Making a guest's text small and the same on each run, without changing what it says.
 *
 * Dropped: time stamps (set to zero), trailing zero bytes of configuration space beyond 256,
 * kernel messages that say nothing about PCI isolation.
 */

const hexLine = /^[0-9a-f]{2,3}:(?: [0-9a-f]{2}){16}$/;
const zeroLine = /^[0-9a-f]{3}:(?: 00){16}$/;

/**
 * Removes the zero lines that end each hex dump, as far as they lie at 0x100 or above (three-digit
 * offsets): a function without extended capabilities keeps 256 bytes.
 */
export function trimHexDumps(text: string): string {
  const kept: string[] = [];
  let zeros: string[] = [];
  for (const line of text.split("\n")) {
    if (zeroLine.test(line)) {
      zeros.push(line);
      continue;
    }
    if (hexLine.test(line)) kept.push(...zeros);
    zeros = [];
    kept.push(line);
  }
  return kept.join("\n");
}

const telling =
  /iommu|DMAR|AMD-Vi|IVRS|VIOT|\bACS\b|ACPI: (?:DMAR|IVRS|VIOT|MCFG)|command line:|quirk|\bVFs?\b/i;
const noise = /took \d+ usecs|Reserving \S+ table memory|perf\/amd_iommu|AMD IOMMU.*counters/i;

/** The kernel messages that tell something about IOMMU and groups, all with time stamp zero. */
export function filterKernelLog(text: string): string {
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const message = line.replace(/^\[ *\d+\.\d+\]/, "");
    if (telling.test(message) && !noise.test(message)) lines.push(`[    0.000000]${message}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** Groups as sets: members sorted and joined, sets sorted; group numbers carry no meaning. */
export function groupSets(text: string): string[] {
  const members = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const match = /^GROUP (\d+) (\S+)$/.exec(line);
    const [, id, device] = match ?? [];
    if (id === undefined || device === undefined) continue;
    const known = members.get(id);
    if (known === undefined) members.set(id, [device]);
    else known.push(device);
  }
  return [...members.values()].map((one) => one.sort().join(" ")).sort();
}
