/** VfioGroupFile: an open /dev/vfio/N. Linux group.c. */
import {
  encodeVfioGroupStatus,
  SIZEOF_VFIO_GROUP_STATUS,
  UapiError,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
} from "../abi/index.js";
import { type Call, FileKind, type OpenFile } from "../files/index.js";
import { asIommufd } from "../iommufd/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { VfioContainerFile } from "./container-file.js";
import { type GroupFile, noSuchCall } from "./device-access.js";
import { VfioDeviceFile } from "./device-file.js";
import type { DeviceTable } from "./device-table.js";
import type { VfioGroup } from "./group.js";
import { argszOf, copyStruct, putStruct, takeStruct } from "./struct-argument.js";
import { parseUuid } from "./vf-tokens.js";

const CITE_SET = "Linux vfio_group_ioctl_set_container()";
const CITE_GET = "Linux vfio_group_ioctl_get_device_fd()";
const CITE_MATCH = "Linux vfio_pci_core_match()";
const PAGE = 4096;
const TOKEN_OPTION = "vf_token=";
const UUID_LENGTH = 36;

/** See the head of the file. */
export class VfioGroupFile implements GroupFile {
  readonly kind = FileKind.vfioGroup;
  readonly label: string;
  readonly rdev: OpenFile["rdev"];
  readonly group: VfioGroup;
  readonly #table: DeviceTable;

  /** @throws UapiError as opening the group. */
  constructor(table: DeviceTable, group: VfioGroup, rdev?: OpenFile["rdev"]) {
    group.open();
    this.group = group;
    this.label = `/dev/vfio/${group.id}`;
    this.rdev = rdev;
    this.#table = table;
  }

  get groupId(): number {
    return this.group.id;
  }

  ioctl(call: Call, command: number, argument: bigint): number {
    switch (command) {
      case VFIO_GROUP_GET_STATUS:
        return this.#status(call, argument);
      case VFIO_GROUP_SET_CONTAINER:
        return this.#setContainer(call, argument);
      case VFIO_GROUP_UNSET_CONTAINER:
        this.group.unsetContainer();
        return 0;
      case VFIO_GROUP_GET_DEVICE_FD:
        return this.#openDevice(call, argument);
      default:
        return noSuchCall(command);
    }
  }

  release(): void {
    this.group.close();
  }

  #status(call: Call, address: bigint): number {
    const cite = "Linux vfio_group_ioctl_get_status()";
    const view = takeStruct(call, address, SIZEOF_VFIO_GROUP_STATUS, cite);
    const { viable, containerSet } = this.group.status();
    const flags =
      (viable ? VFIO_GROUP_FLAGS_VIABLE : 0) | (containerSet ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
    encodeVfioGroupStatus({ argsz: argszOf(view), flags }, view);
    putStruct(call, address, view);
    return 0;
  }

  /** @throws UapiError EFAULT, EBADF, EBADFD, or as setting it. */
  #setContainer(call: Call, address: bigint): number {
    const fd = copyStruct(call, address, 4).getInt32(0, true);
    const passed = call.fileOf(fd);
    if (passed === undefined) {
      throw new UapiError("EBADF", `descriptor ${fd} is not open`, { cite: CITE_SET });
    }
    if (this.group.container !== undefined) {
      throw new UapiError("EINVAL", "the group is in a container already", { cite: CITE_SET });
    }
    const file = passed.kind === "own" ? passed.file : undefined;
    if (file instanceof VfioContainerFile) {
      this.group.setContainer(file.container);
      return 0;
    }
    const context = file === undefined ? undefined : asIommufd(file);
    if (context === undefined) {
      throw new UapiError("EBADFD", `descriptor ${fd} is no container`, { cite: CITE_SET });
    }
    const letGo = context.hold();
    try {
      this.group.setContainer(context.iommufd, letGo);
    } catch (error) {
      letGo();
      throw error;
    }
    return 0;
  }

  /** @throws UapiError EFAULT, ENODEV, EINVAL, EACCES, or as opening the device. */
  #openDevice(call: Call, address: bigint): number {
    const text = readText(call, address);
    const bdf = this.#match(text);
    const table = this.#table;
    const opened = this.group.openDevice(bdf);
    try {
      const device = table.open(bdf);
      const close = (): void => {
        table.close(device);
        opened.close();
      };
      const { iommufd, object } = opened;
      const access = { table, device, iommufd, object, byGroup: true, close };
      const options = { label: "anon_inode:[vfio-device]" };
      call.newDescriptor(new VfioDeviceFile(table, bdf, options, access), "result", true);
    } catch (error) {
      opened.close();
      throw error;
    }
    return 0;
  }

  /** The member that the text names; a token after it is checked. */
  #match(text: string): Bdf {
    const bdf = this.group.members.find((member) => {
      const name = formatBdf(member);
      const rest = text.slice(name.length);
      return text.startsWith(name) && (rest === "" || rest.startsWith(" "));
    });
    if (bdf === undefined || this.#table.platform.system.vfioDevice(bdf) === undefined) {
      throw new UapiError("ENODEV", "no VFIO driver has a device of this name in the group", {
        cite: "Linux vfio_device_get_from_name()",
      });
    }
    this.#table.tokens.check(bdf, tokenIn(text.slice(formatBdf(bdf).length)));
    return bdf;
  }
}

/** @throws UapiError EFAULT; EINVAL longer than a page. */
function readText(call: Call, address: bigint): string {
  let text = "";
  const byte = new Uint8Array(1);
  for (let i = 0; i < PAGE; i++) {
    call.copyIn(address + BigInt(i), byte);
    if (byte[0] === 0) return text;
    text += String.fromCharCode(byte[0] ?? 0);
  }
  throw new UapiError("EINVAL", "the name has no end", { cite: CITE_GET });
}

/** Options behind the name: one token, and spaces. @throws UapiError EINVAL for anything else. */
function tokenIn(options: string): Uint8Array | undefined {
  let token: Uint8Array | undefined;
  for (let rest = options; rest !== ""; ) {
    if (rest.startsWith(" ")) {
      rest = rest.slice(1);
      continue;
    }
    const digits = rest.slice(TOKEN_OPTION.length, TOKEN_OPTION.length + UUID_LENGTH);
    const parsed = rest.startsWith(TOKEN_OPTION) ? parseUuid(digits) : undefined;
    if (token !== undefined || parsed === undefined) {
      throw new UapiError("EINVAL", "an unknown option, or a token that is no UUID", {
        cite: CITE_MATCH,
      });
    }
    token = parsed;
    rest = rest.slice(TOKEN_OPTION.length + UUID_LENGTH);
  }
  return token;
}
