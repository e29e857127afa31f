/**
 * A guest's own first-stage table (VT-d 5.0 § 9.7, the format of x86 page tables), written into a
 * buffer that holds the guest's memory from guest address 0 on.
 *
 * The guest writes entries and nothing else: what the IOMMU has cached stays until the guest has it
 * invalidated.
 */
import type { DriverData } from "../driver/index.js";
import { HWPT_DATA_VTD_S1, INVALIDATE_DATA_VTD_S1 } from "../driver/index.js";
import type { BufferBacking } from "../memory/index.js";
import { attempt, type StepOutcome } from "./outcome.js";
import type { ActionArguments } from "./scenario-shape.js";
import { type GuestTable, need, ScriptError, type Session } from "./session.js";

const PAGE = 4096n;
const PRESENT = 1n;
const WRITE = 2n;
const USER = 4n;
const FRAME = 0x000f_ffff_ffff_f000n;
const OK: StepOutcome = {};

/** The table's pages come from the start of the buffer. */
export function makeGuestTable(session: Session, args: ActionArguments<"guestTable">): StepOutcome {
  guestMemory(session, args.memory);
  const levels = args.levels ?? 4;
  const root = BigInt(args.root ?? 0);
  session.guestTables.set(session.newName(args.name), {
    memory: args.memory,
    levels,
    root,
    next: root + PAGE,
  });
  return OK;
}

export function guestMap(session: Session, args: ActionArguments<"guestMap">): StepOutcome {
  const table = tableOf(session, args.table);
  const at = BigInt(args.at);
  const slot = leafOf(session, table, at, true);
  const write = (args.access ?? "rw").includes("w") ? WRITE : 0n;
  put(session, table, need(slot, "no entry"), (BigInt(args.to) & FRAME) | PRESENT | USER | write);
  return OK;
}

export function guestUnmap(session: Session, args: ActionArguments<"guestUnmap">): StepOutcome {
  const table = tableOf(session, args.table);
  const slot = leafOf(session, table, BigInt(args.at), false);
  if (slot !== undefined) put(session, table, slot, 0n);
  return OK;
}

/** The guest has what is cached of its table forgotten: some pages, or everything. */
export function invalidate(session: Session, args: ActionArguments<"invalidate">): StepOutcome {
  const { fd, id } = session.object(args.table, "table");
  const entry = new DataView(new ArrayBuffer(24));
  entry.setBigUint64(0, BigInt(args.at ?? 0), true);
  const pages = args.at === undefined ? (1n << 64n) - 1n : BigInt(args.pages ?? 1);
  entry.setBigUint64(8, pages, true);
  return attempt(() => {
    fd.hwptInvalidate({
      hwptId: id,
      dataType: INVALIDATE_DATA_VTD_S1,
      entries: { entryBytes: 24, count: 1, done: 0, entry: () => entry },
    });
    return OK;
  });
}

/** The data of Linux's iommu_hwpt_vtd_s1 for the table. */
export function guestTableData(table: GuestTable): DriverData {
  const bytes = new DataView(new ArrayBuffer(24));
  bytes.setBigUint64(8, table.root, true);
  bytes.setUint32(16, table.levels === 5 ? 57 : 48, true);
  return { type: HWPT_DATA_VTD_S1, bytes };
}

/** Guest address of the entry that maps `at`; tables on the way are made when asked for. */
function leafOf(
  session: Session,
  table: GuestTable,
  at: bigint,
  make: boolean,
): bigint | undefined {
  let page = table.root;
  for (let level = table.levels; level > 1; level--) {
    const slot = page + 8n * index(at, level);
    const entry = get(session, table, slot);
    if ((entry & PRESENT) !== 0n) page = entry & FRAME;
    else if (!make) return undefined;
    else {
      page = table.next;
      table.next += PAGE;
      put(session, table, slot, page | PRESENT | USER | WRITE);
    }
  }
  return page + 8n * index(at, 1);
}

function index(at: bigint, level: number): bigint {
  return (at >> BigInt(12 + 9 * (level - 1))) & 0x1ffn;
}

function get(session: Session, table: GuestTable, at: bigint): bigint {
  const bytes = new Uint8Array(8);
  inside(session, table, at).read(Number(at), bytes);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

function put(session: Session, table: GuestTable, at: bigint, value: bigint): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  inside(session, table, at).write(Number(at), bytes);
}

function inside(session: Session, table: GuestTable, at: bigint): BufferBacking {
  const memory = guestMemory(session, table.memory);
  if (at + 8n <= BigInt(memory.byteLength)) return memory;
  throw new ScriptError(`"${table.memory}" has no room for the guest's tables`);
}

function guestMemory(session: Session, name: string): BufferBacking {
  return need(session.world.process.find(name), `no memory is named "${name}"`).backing;
}

function tableOf(session: Session, name: string): GuestTable {
  return need(session.guestTables.get(name), `no guest table is named "${name}"`);
}
