/** The payloads of `ioasis devices` (`ioasis/devices/1`) and `ioasis pasid` (`ioasis/pasid/1`). */
import type { Analysis, DeviceReport, Eligibility } from "../isolation/index.js";
import { type Bdf, bdfFromRid, formatBdf, hex } from "../units/index.js";
import { describeDevice, placeOf } from "./device-name.js";
import { type EvidenceJson, evidenceJson, type SpanJson, spanJson } from "./evidence-json.js";
import { contractVia } from "./p2p-view.js";

export interface VerdictJson {
  readonly ok: boolean | null;
  readonly width?: number;
  readonly because: readonly EvidenceJson[];
}

export interface DeviceJson {
  readonly device: string;
  readonly name: string;
  readonly ids: Readonly<Record<string, string | null>>;
  readonly slot: string | null;
  readonly requesterIds: readonly string[];
  readonly aliasSet: number;
  readonly isolationGroup: number | null;
  readonly mustShare: {
    readonly value: boolean;
    readonly with: readonly string[];
    readonly because: readonly EvidenceJson[];
  };
  readonly pasid: VerdictJson;
  readonly ats: VerdictJson;
  readonly pri: VerdictJson;
  readonly sva: VerdictJson;
  readonly reaches: readonly {
    readonly device: string;
    readonly via: string;
    readonly certainty: string;
    readonly windows: readonly SpanJson[];
  }[];
  readonly driver: string | null;
  readonly viable: { readonly value: boolean | null; readonly because: readonly EvidenceJson[] };
  readonly externalFacing: boolean | null;
  readonly untrusted: boolean | null;
  readonly reserved: readonly (SpanJson & {
    readonly kind: string;
    readonly because: readonly EvidenceJson[];
  })[];
}

export interface DevicesPayload {
  readonly schema: "ioasis/devices/1";
  readonly devices: readonly DeviceJson[];
}

export interface PasidJson {
  readonly device: string;
  readonly pasid: VerdictJson;
  readonly ats: VerdictJson;
  readonly pri: VerdictJson;
  readonly sva: VerdictJson;
}

export interface PasidPayload {
  readonly schema: "ioasis/pasid/1";
  readonly rules: string;
  readonly devices: readonly PasidJson[];
}

/** `only` undefined: every device. */
export function devicesPayload(analysis: Analysis, only?: readonly Bdf[]): DevicesPayload {
  return { schema: "ioasis/devices/1", devices: [...eachDevice(analysis, only)] };
}

/** The members of {@link DevicesPayload} one by one: all of a large host are more than a string. */
export function* eachDevice(analysis: Analysis, only?: readonly Bdf[]): Generator<DeviceJson> {
  for (const report of eachReport(analysis, only)) yield deviceJson(analysis, report);
}

/** `ioasis/pasid/1`, for the devices asked for or all. */
export function pasidPayload(analysis: Analysis, only?: readonly Bdf[]): PasidPayload {
  const devices = [...eachPasid(analysis, only)];
  return { schema: "ioasis/pasid/1", rules: analysis.rules, devices };
}

/** The members of {@link PasidPayload} one by one. */
export function* eachPasid(analysis: Analysis, only?: readonly Bdf[]): Generator<PasidJson> {
  for (const report of eachReport(analysis, only)) {
    yield {
      device: formatBdf(report.device),
      pasid: verdictJson(report.pasid),
      ats: verdictJson(report.ats),
      pri: verdictJson(report.pri),
      sva: verdictJson(report.sva),
    };
  }
}

/** Reports in address order. */
export function reportsOf(analysis: Analysis, only?: readonly Bdf[]): DeviceReport[] {
  return [...eachReport(analysis, only)];
}

function* eachReport(analysis: Analysis, only?: readonly Bdf[]): Generator<DeviceReport> {
  const wanted = only ?? analysis.fabric.functions.map((fn) => fn.bdf);
  for (const bdf of [...wanted].sort((a, b) => a - b)) {
    const report = analysis.deviceReport(bdf);
    if (report !== undefined) yield report;
  }
}

function deviceJson(analysis: Analysis, report: DeviceReport): DeviceJson {
  const fn = analysis.fabric.function(report.device);
  return {
    device: formatBdf(report.device),
    name: fn === undefined ? "" : describeDevice(fn),
    ids: idsJson(report),
    slot: (fn === undefined ? undefined : placeOf(fn)) ?? null,
    requesterIds: report.requesterIds.ids.map((id) => formatBdf(bdfFromRid(id.segment, id.rid))),
    aliasSet: report.aliasSet,
    isolationGroup: report.isolationGroup ?? null,
    mustShare: {
      value: report.mustShare.value,
      with: report.mustShare.with.map(formatBdf),
      because: report.mustShare.because.map(evidenceJson),
    },
    pasid: verdictJson(report.pasid),
    ats: verdictJson(report.ats),
    pri: verdictJson(report.pri),
    sva: verdictJson(report.sva),
    reaches: report.reaches.map((reach) => ({
      device: formatBdf(reach.device),
      via: contractVia(reach.via),
      certainty: reach.certainty,
      windows: reach.windows.map(spanJson),
    })),
    driver: report.driver ?? null,
    viable: { value: report.viability.ok, because: report.viability.because.map(evidenceJson) },
    externalFacing: report.exposure.externalFacing ?? null,
    untrusted: report.exposure.untrusted ?? null,
    reserved: report.reserved.regions.map((region) => ({
      ...spanJson(region.span),
      kind: region.kind,
      because: report.reserved.because.map(evidenceJson),
    })),
  };
}

function idsJson(report: DeviceReport): Record<string, string | null> {
  const { vendor, device, subVendor, subDevice, revision, classCode } = report.ids;
  const show = (value: number | undefined, digits: number): string | null =>
    value === undefined ? null : hex(value, digits);
  return {
    vendor: show(vendor, 4),
    device: show(device, 4),
    subVendor: show(subVendor, 4),
    subDevice: show(subDevice, 4),
    revision: show(revision, 2),
    classCode: show(classCode, 6),
  };
}

function verdictJson(verdict: Eligibility): VerdictJson {
  return {
    ok: verdict.ok,
    ...(verdict.width === undefined ? {} : { width: verdict.width }),
    because: verdict.because.map(evidenceJson),
  };
}
