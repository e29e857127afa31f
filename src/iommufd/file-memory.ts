/** The memory behind a descriptor that a program maps for devices. */
import { UapiError } from "../abi/index.js";
import { type Call, type DmaBuf, FileKind, type PageSource } from "../files/index.js";
import type { MapFileArgs } from "./api.js";
import type { OpenContext } from "./open-context.js";

type FileMemory = Pick<MapFileArgs, "file" | "fileSize" | "checkFile" | "holder">;

/** Files without pages can be mapped; only pinning finds out. */
const NO_PAGES: PageSource = {
  label: "a file without pages",
  kind: "file",
  pin: refuse,
  unpin: () => {},
  read: refuse,
  write: refuse,
};

function refuse(): never {
  throw new UapiError("EINVAL", "the file has no memory that could be pinned", {
    cite: "Linux memfd_pin_folios()",
  });
}

/** What a descriptor of the caller stands for; `file` undefined: nothing is open there. */
export function memoryOf(context: OpenContext, call: Call, fd: number): FileMemory {
  const passed = call.fileOf(fd);
  if (passed === undefined) return { file: undefined };
  if (passed.kind === "file") {
    const holder = { keep: () => passed.keep(), drop: () => passed.drop() };
    return { file: passed.pages, holder };
  }
  if (passed.kind === "own" && passed.file.kind === FileKind.dmaBuf) {
    return bufferMemory(context, passed.file as DmaBuf);
  }
  return { file: NO_PAGES };
}

function bufferMemory({ iommufd }: OpenContext, buffer: DmaBuf): FileMemory {
  let forget: (() => void) | undefined;
  const { pages } = buffer;
  return {
    file: pages,
    fileSize: buffer.size,
    checkFile: () => checkBuffer(buffer),
    holder: {
      keep: () => {
        forget = buffer.onRevoke(() => iommufd.revoke(pages));
      },
      drop: () => forget?.(),
    },
  };
}

/** @throws UapiError ENODEV; EINVAL. */
function checkBuffer(buffer: DmaBuf): void {
  if (!buffer.isRevoked && buffer.isOneRun === false) {
    throw new UapiError("EINVAL", "the memory does not lie together", {
      cite: "Linux vfio_pci_dma_buf_iommufd_map()",
    });
  }
  if (!buffer.isRevoked) return;
  throw new UapiError("ENODEV", "the exporter has taken the memory away", {
    evidence: [{ kind: "buffer-revoked", exporter: buffer.exporter }],
    cite: "Linux iopt_map_dmabuf()",
  });
}
