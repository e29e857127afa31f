/** Real captures: counts stated beside them, text against hex, recorded groups against the list. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { sharedFiles, sharedFolder, skipWithoutShared } from "../../../test/support/shared.js";
import { PciFunction, PortType } from "../../pcie/index.js";
import { formatBdf } from "../../units/index.js";
import type { CapturedFunction, CapturePart } from "../capture.js";
import { firstDifference } from "./lspci/registers.js";
import { parseLspciFile } from "./lspci-file.js";

/** `describe` takes true or false; the reason is printed here. */
const reason = skipWithoutShared();
const skip = reason !== false;
if (skip) console.log(`skipped: ${reason}`);
const HOSTS = join(sharedFolder() ?? "", "hosts");

const load = (path: string): CapturePart[] => parseLspciFile(readFileSync(join(HOSTS, path)), path);
const functionsOf = (parts: readonly CapturePart[]): readonly CapturedFunction[] =>
  parts.find((p) => p.functions !== undefined)?.functions ?? [];

interface Counts {
  readonly devices: number;
  readonly withGroup?: number;
  readonly acs?: number;
  readonly express?: number;
  readonly bridges?: number;
  readonly upstream?: number;
  readonly pasid?: number;
  readonly ats?: number;
  readonly sriov?: number;
  readonly denied?: number;
}

function count(parts: readonly CapturePart[]): Required<Counts> {
  const all = functionsOf(parts).map((f) => new PciFunction(f));
  const n = (test: (fn: PciFunction) => unknown): number => all.filter(test).length;
  const groups = parts.flatMap((p) => p.recorded?.groups ?? []);
  return {
    devices: all.length,
    withGroup: groups.reduce((sum, g) => sum + g.devices.length, 0),
    acs: n((f) => f.acs),
    express: n((f) => f.express),
    bridges: n((f) => f.isBridge),
    upstream: n((f) => f.portType === PortType.UpstreamPort),
    pasid: n((f) => f.pasid),
    ats: n((f) => f.ats),
    sriov: n((f) => f.sriov),
    denied: n((f) => f.config.extent === 64),
  };
}

// From the completeness lines of each SOURCE. Three differ on purpose: the list counts blocks and
// not
// functions (19), leaves out `-PP` lines (18), and calls a bridge what has the class of one (20).
const STATED: readonly (readonly [string, Counts])[] = [
  ["01-cm238-pex8748-switches/lspci-tv-vvv.txt", counts(42, 42, 20, 30, 24, 2, 1, 1)],
  ["02-hp-coffeelake-laptop/lspci-vvv.txt", counts(34, 34, 9, 20, 11, 1, 1, 1)],
  ["03-amd-genoa-partial-broadcom-switch/lspci-vvv.txt", counts(28, 26, 8, 20, 11, 2, 1, 0, 2)],
  ["03-amd-genoa-partial-broadcom-switch/lspci-xxx.txt", { devices: 28, bridges: 11 }],
  ["04-amd-team2-no-groups-4k-hex/lspci-vvv.txt", counts(16, 0, 6, 16, 8, 2, 1, 0, 1)],
  ["04-amd-team2-no-groups-4k-hex/lspci-xxxx.txt", { devices: 16, bridges: 8, acs: 6 }],
  ["06-asus-alderlake-laptop-4k-hex/lspci-vvv-xxxx.txt", counts(29, 29, 6, 14, 6, 0, 1, 1, 1)],
  ["09-macmini2018-tb3-egpu/lspci-nnvvv.txt", counts(48, 48, 11, 38, 23, 4)],
  ["11-msi-amd-matisse-x570/lspci-vvv.txt", counts(43, 41, 13, 24, 11, 2, 1)],
  ["13-surface-book2-2022/lspci-vvv-in-mail.txt", counts(25, 25, 3, 7, 3, 0, 1, 1)],
  ["15-emerson-amd-raven-gpu-2020/lspci-vv.txt", counts(44, 0, 19, 30, 12, 1, 1, 1)],
  ["15-emerson-amd-raven-gpu-2020/lspci-vv-5.4.txt", counts(44, 0, 19, 30, 12, 1, 1, 1)],
  [
    "18-titanridge-aer-partial/lspci-all-nocaps.txt",
    { devices: 33, withGroup: 33, denied: 30, bridges: 12 },
  ],
  ["18-titanridge-aer-partial/lspci-vv-tb-subset.txt", { devices: 33, withGroup: 33, upstream: 2 }],
  ["19-x99-groups-5.8-vs-5.9/lspci-bridges-in-mail.txt", counts(3, 3, 2, 3, 3)],
  ["20-arm-n1sdp-hex-nogroups/lspci-vv-hex-in-mail.txt", counts(16, 0, 6, 16, 9, 1, 0, 1)],
  ["25-poweredge-r7425-192dev-dmesg/lspci-plain-in-mail.txt", { devices: 192, bridges: 21 }],
  ["28-mlx5-server-320-functions-nogroups/lspci-vvv.txt", counts(320, 0, 7, 279, 6)],
];

function counts(
  devices: number,
  withGroup: number,
  acs: number,
  express: number,
  bridges: number,
  upstream = 0,
  pasid = 0,
  ats = 0,
  sriov = 0,
): Counts {
  return { devices, withGroup, acs, express, bridges, upstream, pasid, ats, sriov };
}

describe("captures of real hosts", { skip }, () => {
  for (const [path, wanted] of STATED) {
    test(`${path}: counts as stated, nothing to complain about`, () => {
      const parts = load(path);
      const found = new Map(Object.entries(count(parts)));
      for (const [key, value] of Object.entries(wanted)) assert.equal(found.get(key), value, key);
      for (const fn of functionsOf(parts)) {
        assert.equal(new PciFunction(fn).capabilities.broken, false, formatBdf(fn.bdf));
      }
      const notes = parts
        .flatMap((p) => p.notes ?? [])
        .filter((n) => !/did not answer/.test(n.text));
      assert.deepEqual(notes, []);
    });
  }

  const LISTED = ["01-cm238-pex8748-switches/lspci-tv-vvv.txt", ...STATED.map(([path]) => path)];
  for (const path of new Set(LISTED)) {
    if (path.startsWith("15-") || path.startsWith("25-") || path.startsWith("18-")) continue;
    if (path.startsWith("04-") || path.startsWith("20-") || path.startsWith("28-")) continue;
    if (path.endsWith("lspci-xxx.txt")) continue;
    test(`${path}: recorded groups equal groups.tsv`, () => {
      const recorded = load(path).find((p) => p.recorded !== undefined)?.recorded;
      const found = (recorded?.groups ?? []).flatMap((g) =>
        g.devices.map((d) => `${formatBdf(d)}\t${g.id}`),
      );
      const list = readFileSync(join(HOSTS, path, "../groups.tsv"), "utf8");
      const rows = list.split("\n").filter((line) => /^[0-9a-f]{4}:/.test(line));
      assert.deepEqual(found.sort(), rows.map((r) => r.split("\t").slice(0, 2).join("\t")).sort());
    });
  }

  for (const [sample, text, dump] of [
    ["04-amd-team2-no-groups-4k-hex", "lspci-vvv.txt", "lspci-xxxx.txt"],
    ["03-amd-genoa-partial-broadcom-switch", "lspci-vvv.txt", "lspci-xxx.txt"],
  ] as const) {
    test(`${sample}: every bit the text states is in the dump`, () => {
      const byBdf = new Map(functionsOf(load(`${sample}/${dump}`)).map((f) => [f.bdf, f]));
      for (const fn of functionsOf(load(`${sample}/${text}`))) {
        const other = byBdf.get(fn.bdf)?.config;
        assert.ok(other !== undefined && fn.decided !== undefined);
        const bytes = new Uint8Array(other.extent);
        bytes.set(other.bytes);
        const at = firstDifference(fn.config.bytes, fn.decided, bytes);
        assert.equal(at, -1, `${formatBdf(fn.bdf)} at 0x${at.toString(16)}`);
      }
    });
  }

  test("trees agree with the bridges' bus numbers", () => {
    for (const [tree, decoded] of [
      ["01-cm238-pex8748-switches/lspci-tv-vvv.txt", "01-cm238-pex8748-switches/lspci-tv-vvv.txt"],
      ["09-macmini2018-tb3-egpu/lspci-tree.txt", "09-macmini2018-tb3-egpu/lspci-nnvvv.txt"],
      ["15-emerson-amd-raven-gpu-2020/lspci-t.txt", "15-emerson-amd-raven-gpu-2020/lspci-vv.txt"],
    ] as const) {
      const facts = load(tree).find((p) => p.tree !== undefined)?.tree ?? [];
      const bridgeOf = new Map(facts.map((f) => [f.segment * 256 + f.bus, f.bridge]));
      const bridges = functionsOf(load(decoded)).map((f) => new PciFunction(f));
      for (const fn of bridges.filter((b) => b.isBridge && b.secondaryBusNumber !== 0)) {
        const key = fn.segment * 256 + (fn.secondaryBusNumber ?? 0);
        assert.equal(bridgeOf.get(key), fn.bdf, formatBdf(fn.bdf));
      }
    }
  });
});

describe("captures made under a known kernel", { skip }, () => {
  const samples = sharedFiles("groundtruth", "lspci-vvvxxxx.txt");
  const groups = new Map(sharedFiles("groundtruth", "groups.txt").map((f) => [f.sample, f.text]));

  test("decoded text and hex agree in all, without a note", () => {
    assert.ok(samples.length > 80);
    for (const { sample, text } of samples) {
      for (const part of parseLspciFile(Buffer.from(text), sample))
        assert.equal(part.notes, undefined);
    }
  });

  test("the text alone gives the facts the hex gives", () => {
    let compared = 0;
    for (const { sample, text } of samples) {
      const decoded = text.replace(/^[0-9a-f]{2,3}:(?: [0-9a-f]{2})+\n/gm, "");
      const byBdf = new Map(
        functionsOf(parseLspciFile(Buffer.from(text), sample)).map((f) => [f.bdf, f]),
      );
      for (const fn of functionsOf(parseLspciFile(Buffer.from(decoded), sample))) {
        const whole = byBdf.get(fn.bdf);
        assert.ok(whole !== undefined);
        compared += compareFacts(new PciFunction(fn), new PciFunction(whole), sample);
      }
    }
    assert.ok(compared > 900, `${compared} functions`);
  });

  test("recorded groups equal the kernel's list where lspci names groups", () => {
    for (const { sample, text } of samples) {
      const [part] = parseLspciFile(Buffer.from(text), sample);
      const found = (part?.recorded?.groups ?? []).flatMap((g) =>
        g.devices.map((d) => `GROUP ${g.id} ${formatBdf(d)}`),
      );
      const listed = (groups.get(sample) ?? "").split("\n").filter((l) => l.startsWith("GROUP "));
      assert.deepEqual(found.sort(), listed.sort(), sample);
    }
  });
});

/** Facts that lspci prints; what it leaves open may be undefined on the side of the text. */
function compareFacts(text: PciFunction, whole: PciFunction, sample: string): number {
  const at = `${sample} ${formatBdf(text.bdf)}`;
  assert.equal(text.headerType, whole.headerType, at);
  assert.equal(text.secondaryBusNumber, whole.secondaryBusNumber, at);
  const { standard, extended } = text.capabilities;
  assert.deepEqual(offsets(standard), offsets(whole.capabilities.standard), at);
  assert.deepEqual(offsets(extended), offsets(whole.capabilities.extended), at);
  assert.equal(text.acs === null, whole.acs === null, at);
  assert.equal(text.acs?.capability ?? 0, (whole.acs?.capability ?? 0) & 0x7f, at);
  assert.equal(text.acs?.control, whole.acs?.control, at);
  assert.deepEqual(text.sriov, whole.sriov, at);
  assert.deepEqual(text.pasid, whole.pasid, at);
  const open = (value: object | null | undefined): [string, unknown][] =>
    Object.entries(value ?? {}).filter(([, v]) => v !== undefined);
  const reference = new Map(Object.entries(whole.express ?? {}));
  for (const [key, value] of open(text.express))
    assert.equal(value, reference.get(key), `${at} ${key}`);
  for (const [key, value] of open(text.windows)) {
    const other = new Map(Object.entries(whole.windows ?? {})).get(key);
    const closed = (w: unknown): unknown => (isOpen(w) ? w : "closed");
    assert.deepEqual(closed(value), closed(other), `${at} ${key}`);
  }
  return 1;
}

/** Where each capability sits that has an id lspci knows. */
function offsets(
  list: PciFunction["capabilities"]["standard"],
): (number | undefined)[] | undefined {
  if (list === undefined) return undefined;
  return [...Array.from({ length: 0x40 }, (_, id) => list.get(id)), list.size];
}

function isOpen(window: unknown): boolean {
  return typeof window === "object" && window !== null && "span" in window;
}
