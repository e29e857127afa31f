/** Operations on test accesses. Linux selftest.c. */
import {
  decodeIommuTestCmdAccessPages,
  decodeIommuTestCmdAccessRw,
  MOCK_ACCESS_RW_SLOW_PATH,
  MOCK_ACCESS_RW_WRITE,
  MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES,
  MOCK_FLAGS_ACCESS_WRITE,
  UapiError,
} from "../../abi/index.js";
import type { Ioas } from "../ioas.js";
import { PAGE_SIZE } from "../limits.js";
import { AccessFile, accessBehind } from "./access-file.js";
import { frameBehind, type TestCall, type TestOperation } from "./test-call.js";

/** More at once is refused. */
const BYTES_MAX = 16n * 1024n * 1024n;
const OUT_FD = 16n;

/** CREATE_ACCESS: a descriptor of an access to the space `id`. */
export const createAccess: TestOperation = (test) => {
  const { context, argument, call } = test;
  const flags = argument.view.getUint32(20, true);
  if ((flags & ~MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES) !== 0) throw unknownFlag();
  const { iommufd } = context;
  let file: AccessFile | undefined;
  const access = iommufd.createAccess({
    pinsPages: flags !== 0,
    unmap: (_, iova, length) => file?.dropRange(iova, length),
  });
  try {
    access.attach(iommufd.state.objects.get(test.id, "ioas") as Ioas);
    argument.reply(call);
  } catch (error) {
    access.close();
    throw error;
  }
  file = new AccessFile(access, context.hold());
  call.newDescriptor(file, { address: argument.address + OUT_FD }, true);
  return 0;
};

/** DESTROY_ACCESS_PAGES: gives a pin back. */
export const destroyAccessPages: TestOperation = (test) => {
  const file = accessOf(test);
  if (file.drop(test.argument.view.getUint32(16, true))) return 0;
  throw new UapiError("ENOENT", "the access has no pin of this number");
};

/** ACCESS_PAGES: pins pages, which must be those that the caller has at `uptr`. */
export const accessPages: TestOperation = (test) => {
  const { argument, call } = test;
  const { flags, iova, length, uptr } = decodeIommuTestCmdAccessPages(argument.view);
  if (length > BYTES_MAX) throw tooLong();
  if ((flags & ~MOCK_FLAGS_ACCESS_WRITE) !== 0) throw unknownFlag();
  const file = accessOf(test);
  const { access } = file;
  if (!access.pinsPages) throw new UapiError("EOPNOTSUPP", "the access pins no pages");
  const pin = access.pin(iova, length, { write: (flags & MOCK_FLAGS_ACCESS_WRITE) !== 0 });
  let item: number | undefined;
  try {
    if (uptr !== 0n) checkFrames(test, pin.frames, uptr - (iova % BigInt(PAGE_SIZE)));
    item = file.keep(pin);
    argument.view.setUint32(20, item, true);
    argument.reply(call);
    return 0;
  } catch (error) {
    if (item === undefined) access.unpin(pin);
    else file.drop(item);
    throw error;
  }
};

/** @throws UapiError EBADE, EFAULT. */
function checkFrames({ call }: TestCall, frames: Float64Array, address: bigint): void {
  frames.forEach((frame, i) => {
    if (frameBehind(call, address + BigInt(i * PAGE_SIZE)) === frame) return;
    throw new UapiError("EBADE", "a pinned page is not the caller's");
  });
}

/** ACCESS_RW: copies between the caller's memory at `uptr` and what is mapped. */
export const accessRw: TestOperation = (test) => {
  const { call } = test;
  const { iova, length, uptr, flags } = decodeIommuTestCmdAccessRw(test.argument.view);
  if (length > BYTES_MAX) throw tooLong();
  if ((flags & ~(MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH)) !== 0) throw unknownFlag();
  const { access } = accessOf(test);
  const bytes = new Uint8Array(Number(length));
  const write = (flags & MOCK_ACCESS_RW_WRITE) !== 0;
  if (write) call.copyIn(uptr, bytes);
  access.readWrite(iova, bytes, { write });
  if (!write) call.copyOut(uptr, bytes);
  return 0;
};

/** ACCESS_REPLACE_IOAS: moves the access to another space. */
export const accessReplaceIoas: TestOperation = (test) => {
  const { access } = accessOf(test);
  const ioasId = test.argument.view.getUint32(16, true);
  access.replace(access.ctx.objects.get(ioasId, "ioas") as Ioas);
  return 0;
};

/** @throws UapiError EBADFD. */
function accessOf({ call, id }: TestCall): AccessFile {
  const found = accessBehind(call, id);
  if (found !== undefined) return found;
  throw new UapiError("EBADFD", "the descriptor is no test access", {
    cite: "Linux iommufd_access_get()",
  });
}

const unknownFlag = (): UapiError => new UapiError("EOPNOTSUPP", "an unknown flag is set");
const tooLong = (): UapiError => new UapiError("ENOMEM", "more than 16 MiB are asked for at once");
