/**
 * Making a guest's kernel log small and the same on each run, and comparing groups.
 *
 * Of the log only messages about PCI isolation stay, their time stamps set to zero. What lspci and
 * sysfs print is stored as it is.
 */

const telling =
  /iommu|smmu|DMAR|AMD-Vi|IVRS|VIOT|\bACS\b|ACPI: (?:DMAR|IVRS|VIOT|IORT|MCFG)|command line:|Machine model:|^ EFI v|quirk|\bVFs? /i;
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
