/**
 * The calls that Linux does not have: the report of a bound device, why the last call was refused,
 * and which devices share PASID numbers.
 *
 * Texts and arrays go where the caller has room for them: as much as fits (a text always ends with
 * 0), and the struct says how much there is. A pointer is not looked at where the room is 0.
 */
import {
  ADDITIONS_IOCTLS,
  decodeIoasisDeviceReport,
  decodeIoasisPasidSpace,
  decodeIoasisWhy,
  encodeIoasisDeviceReport,
  encodeIoasisExposure,
  encodeIoasisPasidSpace,
  encodeIoasisWhy,
  IOASIS_NO_PASID,
  IOASIS_PASID_EXCLUDE_WINDOWS,
  IOASIS_PASID_RAW,
  IOASIS_PASID_REFUSE,
  IOASIS_PASID_TRANSLATED_ONLY,
  IOASIS_REPORT_ATTACHED,
  IOASIS_REPORT_EXPOSED,
  IOASIS_REPORT_MUST_SHARE,
  IOASIS_REPORT_PASID_OK,
  IOASIS_REPORT_PASID_POLICY,
  type IoasisDeviceReport,
  SIZEOF_IOASIS_EXPOSURE,
  UapiError,
} from "../abi/index.js";
import type { Call, UserMemory } from "../files/index.js";
import type { Bdf } from "../units/index.js";
import type { BoundDeviceReport, ExposedSlot, PasidPolicy } from "./api.js";
import { Argument } from "./argument.js";
import { type IoctlHandler, type IoctlRow, rowsOf } from "./ioctl-row.js";
import { writeRanges } from "./ioctls/ioas.js";
import type { IommufdPorts, OpenContext } from "./open-context.js";
import { pasidBits } from "./report.js";
import { utf8 } from "./utf8.js";

/** Type byte of the commands, and the first number. */
export const ADDITION_TYPE = 0xe5;
export const ADDITION_FIRST = 0xc0;

export const POLICY_NUMBERS = {
  refuse: IOASIS_PASID_REFUSE,
  "exclude-windows": IOASIS_PASID_EXCLUDE_WINDOWS,
  "translated-only": IOASIS_PASID_TRANSLATED_ONLY,
  raw: IOASIS_PASID_RAW,
} as const satisfies Record<PasidPolicy, number>;

const DEVICE_REPORT: IoctlHandler = {
  run(context, call, { view }) {
    const args = decodeIoasisDeviceReport(view);
    checkFlags(args.flags);
    const report = context.iommufd.report(args.dev_id);
    fillFields(args, context, report);
    args.num_alias = writeDevices(call, args.alias_uptr, args.num_alias, report.aliasSet);
    args.num_group = writeDevices(call, args.group_uptr, args.num_group, report.isolationGroup);
    const permitted = report.permitted ?? [];
    writeRanges(call, args.permitted_uptr, permitted.slice(0, args.num_permitted));
    args.num_permitted = permitted.length;
    args.num_exposed = writeExposed(call, args.exposed_uptr, args.num_exposed, report.exposed);
    const share = sentences(context.ports, report.mustShareBecause);
    args.share_len = writeText(call, args.share_uptr, args.share_len, share);
    const pasid = sentences(context.ports, report.pasid.because);
    args.pasid_len = writeText(call, args.pasid_uptr, args.pasid_len, pasid);
    encodeIoasisDeviceReport(args, view);
    return 0;
  },
};

function fillFields(
  args: IoasisDeviceReport,
  { iommufd }: OpenContext,
  report: BoundDeviceReport,
): void {
  args.out_flags =
    (report.mustShare ? IOASIS_REPORT_MUST_SHARE : 0) |
    (report.pasid.ok ? IOASIS_REPORT_PASID_OK : 0) |
    (report.pasid.onlyPath ? IOASIS_REPORT_PASID_POLICY : 0) |
    (report.permitted === undefined ? 0 : IOASIS_REPORT_ATTACHED) |
    (report.exposed.length === 0 ? 0 : IOASIS_REPORT_EXPOSED);
  args.out_device = report.device;
  args.out_pasid_policy = POLICY_NUMBERS[report.pasidPolicy];
  args.out_pasid_space = report.pasidSpace;
  args.out_max_pasid_log2 = pasidBits(iommufd.device(args.dev_id));
  args.out_cookie = report.cookie ?? 0n;
}

const PASID_SPACE: IoctlHandler = {
  run({ iommufd }, _call, { view }) {
    const args = decodeIoasisPasidSpace(view);
    checkFlags(args.flags | args.__reserved);
    const device = iommufd.device(args.dev_id);
    args.out_space_id = device.dma.pasidSpace;
    args.out_max_pasid_log2 = pasidBits(device);
    encodeIoasisPasidSpace(args, view);
    return 0;
  },
};

const WHY: IoctlHandler = {
  run: ({ ports }, call, argument) => why(ports, call, argument),
};

type WhyPorts = Pick<IommufdPorts, "refusals" | "sentence">;

function why(ports: WhyPorts, call: Call, { view }: Argument): number {
  const args = decodeIoasisWhy(view);
  checkFlags(args.flags | args.__reserved);
  const kept = ports.refusals?.last(call.tid);
  const error = kept?.error;
  args.out_errno = error?.errno ?? 0;
  args.out_command = kept?.command ?? 0;
  args.out_sequence = kept?.sequence ?? 0n;
  args.rule_len = writeText(call, args.rule_uptr, args.rule_len, error?.rule ?? "");
  const text = sentences(ports, error?.evidence ?? []);
  args.text_len = writeText(call, args.text_uptr, args.text_len, text);
  args.cite_len = writeText(call, args.cite_uptr, args.cite_len, error?.cite ?? "");
  encodeIoasisWhy(args, view);
  return 0;
}

/** IOASIS_WHY on a file of any kind. @throws UapiError EFAULT, EINVAL, E2BIG, EOPNOTSUPP. */
export function serveWhy(ports: WhyPorts, call: Call, address: bigint): number {
  const { size, minSize } = ADDITIONS_IOCTLS.IOASIS_WHY;
  const argument = new Argument();
  const given = argument.readSize(call, address);
  if (given < minSize) {
    throw new UapiError("EINVAL", "the struct is shorter than the call needs", {
      evidence: [{ kind: "struct-size", call: "IOASIS_WHY", bytes: given, least: minSize }],
    });
  }
  argument.read(call, given, size);
  why(ports, call, argument);
  argument.reply(call);
  return 0;
}

const ROWS = rowsOf(ADDITIONS_IOCTLS, {
  IOASIS_DEVICE_REPORT: DEVICE_REPORT,
  IOASIS_WHY: WHY,
  IOASIS_PASID_SPACE: PASID_SPACE,
} satisfies Record<keyof typeof ADDITIONS_IOCTLS, IoctlHandler>);

/** The call with this command, if any. */
export function additionRow(command: number): IoctlRow | undefined {
  return ROWS.find((row) => row.command === command >>> 0);
}

function checkFlags(flags: number): void {
  if (flags !== 0) throw new UapiError("EOPNOTSUPP", "a flag or a reserved field is not 0");
}

/** One sentence a line. */
function sentences(ports: WhyPorts, evidence: readonly object[]): string {
  return evidence
    .map((e) => (ports.sentence === undefined ? kindOf(e) : ports.sentence(e)))
    .join("\n");
}

const kindOf = (evidence: object): string =>
  "kind" in evidence ? String(evidence.kind) : "no words for this";

/** @returns how many there are. */
function writeDevices(
  memory: UserMemory,
  address: bigint,
  room: number,
  devices: readonly Bdf[],
): number {
  const numbers = new Uint8Array(Math.min(room, devices.length) * 4);
  const view = new DataView(numbers.buffer);
  for (let i = 0; i * 4 < numbers.length; i++) view.setUint32(i * 4, devices[i] as Bdf, true);
  if (numbers.length > 0) memory.copyOut(address, numbers);
  return devices.length;
}

/** @returns how many there are: one for each slot and window. */
function writeExposed(
  memory: UserMemory,
  address: bigint,
  room: number,
  slots: readonly ExposedSlot[],
): number {
  const all = slots.flatMap(({ pasid, policy, windows }) =>
    windows.map(({ first, last }) => ({
      pasid: pasid ?? IOASIS_NO_PASID,
      policy: POLICY_NUMBERS[policy],
      start: first,
      last,
    })),
  );
  const some = all.slice(0, room);
  const bytes = new Uint8Array(some.length * SIZEOF_IOASIS_EXPOSURE);
  const view = new DataView(bytes.buffer);
  for (const [i, one] of some.entries()) {
    encodeIoasisExposure(one, view, i * SIZEOF_IOASIS_EXPOSURE);
  }
  if (bytes.length > 0) memory.copyOut(address, bytes);
  return all.length;
}

/** @returns bytes of the whole text with its final 0. */
function writeText(memory: UserMemory, address: bigint, room: number, text: string): number {
  const bytes = utf8(text);
  if (room > 0) {
    const part = new Uint8Array(Math.min(room, bytes.length + 1));
    part.set(bytes.subarray(0, part.length - 1));
    memory.copyOut(address, part);
  }
  return bytes.length + 1;
}
