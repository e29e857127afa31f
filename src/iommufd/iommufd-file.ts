/**
 * An open /dev/iommu: the file that programs make their calls on.
 *
 * A call is dispatched in the kernel's order: which table its number belongs to, the size word
 * (EFAULT), the whole command (ENOTTY), the least size (EINVAL), the rest of the struct (E2BIG,
 * EFAULT), then the call itself. The struct is copied back when the call succeeded; when that
 * faults, a new object is undone. Linux main.c.
 */
import { UapiError } from "../abi/index.js";
import { type Call, FileKind, type MappedRegion, type MmapRequest } from "../files/index.js";
import { ADDITION_FIRST, ADDITION_TYPE, additionRow } from "./additions.js";
import { Argument } from "./argument.js";
import { compatIoctl } from "./compat-ioctls.js";
import type { IoctlRow } from "./ioctl-row.js";
import { IOMMUFD_ROWS } from "./ioctl-table.js";
import type { Iommufd } from "./iommufd.js";
import { type IommufdPorts, OpenContext } from "./open-context.js";
import type { OpenIommufd } from "./open-iommufd.js";
import type { IommufdSystem, UserProcess } from "./ports.js";
import { undo } from "./undo.js";

/** First and last number of the table; the last one is the test module's. */
const FIRST = 0x80;
const LAST = 0x94;
const TEST = 0xa0;

export interface IommufdFileOptions {
  /** The calls that the platform has. Default: all of `IOMMUFD_ROWS`. */
  readonly rows?: readonly IoctlRow[] | undefined;
  /** As which node it was opened: the container's charges memory to the process. */
  readonly node?: "iommu" | "vfio" | undefined;
  readonly rdev?: { readonly major: number; readonly minor: number } | undefined;
}

/** See the head of the file. */
export class IommufdFile implements OpenIommufd {
  readonly kind = FileKind.iommufd;
  readonly label: string;
  readonly rdev: { readonly major: number; readonly minor: number } | undefined;
  readonly context: OpenContext;
  readonly #rows: readonly (IoctlRow | undefined)[];
  readonly #argument = new Argument();

  /** @param opener whoever opens it. */
  constructor(
    system: IommufdSystem,
    ports: IommufdPorts,
    opener: UserProcess,
    options: IommufdFileOptions = {},
  ) {
    this.context = new OpenContext(system, ports, opener);
    this.#rows = tableOf(options.rows ?? IOMMUFD_ROWS);
    this.rdev = options.rdev;
    this.label = options.node === "vfio" ? "/dev/vfio/vfio" : "/dev/iommu";
    this.context.iommufd.state.mmMode = options.node === "vfio";
  }

  get iommufd(): Iommufd {
    return this.context.iommufd;
  }

  hold(): () => void {
    return this.context.hold();
  }

  ioctl(call: Call, command: number, argument: bigint): number {
    const nr = command & 0xff;
    if (command >>> 8 === ADDITION_TYPE && nr >= ADDITION_FIRST) {
      return this.#serve(call, additionRow(command), command, argument);
    }
    if (nr < FIRST || nr >= FIRST + this.#rows.length) {
      return compatIoctl(this.context, call, command, argument);
    }
    return this.#serve(call, this.#rows[nr - FIRST], command, argument);
  }

  mmap(_call: Call, request: MmapRequest): MappedRegion {
    return this.context.regions.map(request, () => this.context.hold());
  }

  release(): void {
    this.context.drop();
  }

  #serve(call: Call, row: IoctlRow | undefined, command: number, address: bigint): number {
    const argument = this.#argument;
    const { context } = this;
    const given = argument.readSize(call, address);
    if (row === undefined || row.command !== command >>> 0) throw unknownCall(command);
    if (given < row.minSize) throw tooShort(row, given);
    argument.read(call, given, row.size);
    const result = row.run(context, call, argument);
    if (row.replies) {
      try {
        argument.reply(call);
      } catch (error) {
        if (row.creates !== undefined) {
          undo(context, argument.view.getUint32(row.creates, true));
        }
        throw error;
      }
    }
    row.finish?.(context, call, argument);
    return result;
  }
}

const tables = new WeakMap<readonly IoctlRow[], (IoctlRow | undefined)[]>();

/** Rows by number; as long as the kernel's table. */
function tableOf(rows: readonly IoctlRow[]): readonly (IoctlRow | undefined)[] {
  const found = tables.get(rows);
  if (found !== undefined) return found;
  const hasTest = rows.some((row) => (row.command & 0xff) === TEST);
  const table: (IoctlRow | undefined)[] = Array.from({
    length: (hasTest ? TEST : LAST) - FIRST + 1,
  });
  for (const row of rows) table[(row.command & 0xff) - FIRST] = row;
  tables.set(rows, table);
  return table;
}

function unknownCall(command: number): UapiError {
  return new UapiError("ENOTTY", "no call of this file has this number", {
    evidence: [{ kind: "ioctl-unknown", command: command >>> 0 }],
    cite: "Linux iommufd_fops_ioctl()",
  });
}

function tooShort(row: IoctlRow, given: number): UapiError {
  return new UapiError("EINVAL", "the struct is shorter than the call needs", {
    evidence: [{ kind: "struct-size", call: row.name, bytes: given, least: row.minSize }],
    cite: "Linux iommufd_fops_ioctl()",
  });
}
