/** Operations on test dma-bufs. Linux selftest.c. */
import {
  decodeIommuTestCmdDmabufGet,
  decodeIommuTestCmdDmabufRevoke,
  UapiError,
} from "../../abi/index.js";
import { FileKind } from "../../files/index.js";
import { PAGE_SIZE } from "../limits.js";
import { TestBuffer } from "./test-buffer.js";
import type { TestOperation } from "./test-call.js";

const PAGES_MAX = 512;
const O_CLOEXEC = 0x80000;

/** DMABUF_GET: returns a descriptor of a new buffer. */
export const dmabufGet: TestOperation = ({ argument, call, system }) => {
  const { length, open_flags } = decodeIommuTestCmdDmabufGet(argument.view);
  const pages = Math.ceil(length / PAGE_SIZE);
  if (pages === 0 || pages > PAGES_MAX) {
    throw new UapiError("EINVAL", `the length is not 1..${PAGES_MAX} pages`);
  }
  if (!system.allocations.permit("test-buffer")) {
    throw new UapiError("ENOMEM", "no memory for a buffer");
  }
  const file = new TestBuffer(pages, system.takeFrames(pages));
  call.newDescriptor(file, "result", (open_flags & O_CLOEXEC) !== 0);
  return 0;
};

/** DMABUF_REVOKE. */
export const dmabufRevoke: TestOperation = ({ argument, call }) => {
  const { dmabuf_fd, revoked } = decodeIommuTestCmdDmabufRevoke(argument.view);
  const passed = call.fileOf(dmabuf_fd);
  if (passed === undefined) throw new UapiError("EBADF", "the descriptor is not open");
  if (passed.kind !== "own" || passed.file.kind !== FileKind.dmaBuf) {
    throw new UapiError("EINVAL", "the descriptor is no dma-buf");
  }
  if (!(passed.file instanceof TestBuffer)) {
    throw new UapiError("EOPNOTSUPP", "the dma-buf is of another exporter");
  }
  passed.file.setRevoked(revoked !== 0);
  return 0;
};
