/**
 * The file of a fault queue: page faults are read from it and answers are written to it.
 *
 * It never waits. Linux iommufd_fault_fops_read(), iommufd_fault_fops_write().
 */
import {
  decodeIommuHwptPageResponse,
  encodeIommuHwptPgfault,
  SIZEOF_IOMMU_HWPT_PAGE_RESPONSE,
  SIZEOF_IOMMU_HWPT_PGFAULT,
  UapiError,
} from "../abi/index.js";
import { type Call, FileKind, type OpenFile, Poll } from "../files/index.js";
import type { FaultMessage, FaultQueue } from "./fault.js";
import type { OpenContext } from "./open-context.js";

const MESSAGE = SIZEOF_IOMMU_HWPT_PGFAULT;
const RESPONSE = SIZEOF_IOMMU_HWPT_PAGE_RESPONSE;

/** See the head of the file. */
export class FaultFile implements OpenFile {
  readonly kind = FileKind.faultQueue;
  readonly label = "anon_inode:[iommufd-pgfault]";
  readonly readUnit = MESSAGE;
  onPoll?: (() => void) | undefined;
  readonly #queue: FaultQueue;
  readonly #letGo: () => void;

  constructor(context: OpenContext, queue: FaultQueue) {
    this.#queue = queue;
    this.#letGo = context.hold();
    queue.onChange = () => this.onPoll?.();
  }

  /** Whole groups of faults; nothing when there are none. */
  read(_call: Call, length: number, offset: bigint | undefined): Uint8Array {
    checkMultiple(length, MESSAGE, offset, "Linux iommufd_fault_fops_read()");
    const messages = this.#queue.read(length / MESSAGE);
    const bytes = new Uint8Array(messages.length * MESSAGE);
    const view = new DataView(bytes.buffer);
    for (const [i, message] of messages.entries()) encode(message, view, i * MESSAGE);
    return bytes;
  }

  /** Answers; those before one that is wrong count. */
  write(_call: Call, bytes: Uint8Array, offset: bigint | undefined): number {
    checkMultiple(bytes.length, RESPONSE, offset, "Linux iommufd_fault_fops_write()");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let done = 0;
    try {
      for (; done < bytes.length; done += RESPONSE) {
        const { cookie, code } = decodeIommuHwptPageResponse(view, done);
        this.#queue.respond(cookie, code);
      }
    } catch (error) {
      if (done === 0 || !UapiError.is(error)) throw error;
    }
    return done;
  }

  poll(): number {
    return Poll.out | (this.#queue.unread > 0 ? Poll.in : 0);
  }

  release(): void {
    this.#queue.onChange = undefined;
    this.#queue.closeFile();
    this.#letGo();
  }
}

function encode(message: FaultMessage, view: DataView, at: number): void {
  const { flags, devId, pasid, groupId, perm, address, cookie } = message;
  const fields = { flags, dev_id: devId, pasid, grpid: groupId, perm, addr: address, cookie };
  encodeIommuHwptPgfault({ ...fields, __reserved: 0, length: 0 }, view, at);
}

/** @throws UapiError ESPIPE. */
function checkMultiple(
  length: number,
  unit: number,
  offset: bigint | undefined,
  cite: string,
): void {
  if ((offset ?? 0n) === 0n && length % unit === 0) return;
  throw new UapiError("ESPIPE", `not a multiple of ${unit} bytes, or not at the beginning`, {
    cite,
  });
}
