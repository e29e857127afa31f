/** VFIO_DEVICE_SET_IRQS as data, and the checks that hold for every index. Linux vfio_main.c. */
import { UapiError } from "../abi/index.js";
import type { Call, EventFd } from "../files/index.js";

/** Interrupts of a device, by Linux's numbers. */
export const Irq = { intx: 0, msi: 1, msix: 2, error: 3, request: 4, count: 5 } as const;
/** VFIO_IRQ_INFO_*. */
export const IrqInfo = { eventfd: 1, maskable: 2, automasked: 4, noResize: 8 } as const;
/** VFIO_IRQ_SET_*. */
export const IrqSet = {
  none: 1,
  bool: 2,
  eventfd: 4,
  dataMask: 7,
  mask: 8,
  unmask: 0x10,
  trigger: 0x20,
  actionMask: 0x38,
} as const;

const SET_BYTES = 20;
const CITE = { cite: "Linux vfio_set_irqs_validate_and_prepare()" };

/** What comes with a request: nothing, a flag for each interrupt, a descriptor for each. */
export type IrqData =
  | { readonly kind: "none" }
  | { readonly kind: "bool"; readonly on: readonly boolean[] }
  | { readonly kind: "eventfd"; readonly fds: readonly number[] };

export interface IrqRequest {
  readonly index: number;
  /** One of the actions, or several, or none: not checked. */
  readonly action: number;
  readonly start: number;
  readonly count: number;
  readonly data: IrqData;
}

/**
 * Reads the request.
 * @param countOf interrupts of an index.
 * @throws UapiError EFAULT; EINVAL.
 */
export function readIrqRequest(
  call: Call,
  address: bigint,
  countOf: (index: number) => number,
): IrqRequest {
  const view = new DataView(new ArrayBuffer(SET_BYTES));
  call.copyIn(address, new Uint8Array(view.buffer));
  const [argsz, flags, index, start, count] = [0, 4, 8, 12, 16].map((at) =>
    view.getUint32(at, true),
  ) as [number, number, number, number, number];
  if (argsz < SET_BYTES) throw new UapiError("EINVAL", "argsz is too small", CITE);
  if (index >= Irq.count) throw new UapiError("EINVAL", "there is no such interrupt", CITE);
  if ((flags & ~(IrqSet.dataMask | IrqSet.actionMask)) !== 0) {
    throw new UapiError("EINVAL", "an unknown flag is set", CITE);
  }
  const most = countOf(index);
  if (start >= most || start + count > most) {
    throw new UapiError("EINVAL", `the device has ${most} interrupts of this kind`, CITE);
  }
  const width = widthOf(flags & IrqSet.dataMask);
  if (argsz - SET_BYTES < count * width) {
    throw new UapiError("EINVAL", "the data do not fit into argsz", CITE);
  }
  const bytes = new Uint8Array(count * width);
  if (bytes.length > 0) call.copyIn(address + BigInt(SET_BYTES), bytes);
  const data = dataOf(width, bytes);
  return { index, action: flags & IrqSet.actionMask, start, count, data };
}

function widthOf(kind: number): 0 | 1 | 4 {
  if (kind === IrqSet.none) return 0;
  if (kind === IrqSet.bool) return 1;
  if (kind === IrqSet.eventfd) return 4;
  throw new UapiError("EINVAL", "exactly one kind of data is to be named", CITE);
}

function dataOf(width: 0 | 1 | 4, bytes: Uint8Array): IrqData {
  if (width === 0) return { kind: "none" };
  if (width === 1) return { kind: "bool", on: [...bytes].map((byte) => byte !== 0) };
  const view = new DataView(bytes.buffer);
  const fds = Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i, true));
  return { kind: "eventfd", fds };
}

/**
 * The eventfd behind a descriptor; not kept.
 * @throws UapiError EBADF nothing is behind it; EINVAL something else is.
 */
export function eventFdOf(call: Call, fd: number): EventFd {
  const passed = call.fileOf(fd);
  if (passed === undefined) {
    throw new UapiError("EBADF", `descriptor ${fd} is not open`, {
      cite: "Linux eventfd_ctx_fdget()",
    });
  }
  if (passed.kind === "eventfd") return passed;
  throw new UapiError("EINVAL", `descriptor ${fd} is no eventfd`, {
    cite: "Linux eventfd_ctx_fileget()",
  });
}
