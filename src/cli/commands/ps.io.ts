/** `ioasis ps`: platforms of this user that run. */
import {
  askDaemon,
  baseFolder,
  type FoundDaemon,
  livingDaemons,
  type StatusRecord,
} from "../../daemon/index.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJson } from "../output.js";

interface Row extends Partial<StatusRecord> {
  readonly name: string;
  readonly pid: number;
  readonly platform: string;
  readonly program: readonly string[] | undefined;
}

export async function run(
  out: Output,
  _args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const rows = await Promise.all(livingDaemons(baseFolder()).map(rowOf));
  if (options.json === true) {
    writeJson(out, { platforms: rows });
    return 0;
  }
  if (rows.length === 0) out.note("no platform runs");
  for (const row of rows) drawRow(out, row);
  return 0;
}

async function rowOf({ facts, folder }: FoundDaemon): Promise<Row> {
  const { name, pid, platform, program } = facts;
  try {
    const status = (await askDaemon(folder, "status")) as StatusRecord;
    return { name, pid, platform, program, ...status };
  } catch {
    return { name, pid, platform, program };
  }
}

function drawRow(out: Output, row: Row): void {
  const program = row.program === undefined ? "" : `  ${row.program.join(" ")}`;
  out.line(`${row.name}  process ${row.pid}  ${row.platform}${program}`);
  for (const { pid, pinnedKiB, lockedKiB } of row.processes ?? []) {
    out.line(`  process ${pid}: ${pinnedKiB} KiB pinned, ${lockedKiB} KiB locked`);
  }
  const counts = new Map<string, number>();
  for (const label of row.files ?? []) counts.set(label, (counts.get(label) ?? 0) + 1);
  for (const [label, count] of counts)
    out.line(`  open: ${label}${count > 1 ? ` (${count})` : ""}`);
  if (row.calls !== undefined) out.line(`  ${row.calls} calls`);
  const lost = (row.lostReads ?? 0) + (row.lostWrites ?? 0);
  if (lost > 0) out.line(`  ${lost} accesses to private memory of processes that are gone`);
}
