import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigSpace, ConfigSpaceBuilder } from "../pcie/index.js";
import { type Bdf, makeBdf } from "../units/index.js";
import type { CapturedFunction, CapturePart, RecordedGroups } from "./capture.js";
import { mergeParts } from "./merge.js";
import { overlay } from "./merge-function.js";

const A = makeBdf(0, 0, 1, 0);
const B = makeBdf(0, 1, 0, 0);
const C = makeBdf(0, 2, 0, 0);
const NONE = new ConfigSpace(new Uint8Array(0), 0, new Uint8Array(512));

function fn(bdf: Bdf, more: Partial<CapturedFunction> = {}): CapturedFunction {
  return { bdf, config: NONE, place: { file: "f" }, idsFrom: "none", ...more };
}

function part(kind: CapturePart["kind"], file: string, more: Partial<CapturePart>): CapturePart {
  return { kind, place: { file }, ...more };
}

function recorded(from: RecordedGroups["from"], file: string, ...groups: Bdf[][]): RecordedGroups {
  return { from, place: { file }, groups: groups.map((devices, id) => ({ id, devices })) };
}

const merge = (...parts: CapturePart[]) => mergeParts(parts, { file: "host" });

test("bytes win over text, unknown bytes are filled, the larger extent stays", () => {
  const text = new ConfigSpaceBuilder().set16(0, 0x1111).set16(0x104, 0x2222).build(4096);
  const dump = new ConfigSpace(Uint8Array.of(0x33, 0x44), 256);
  const both = overlay([text, dump]);
  assert.equal(both.extent, 4096);
  assert.equal(both.u16(0), 0x4433);
  assert.equal(both.u16(0x104), 0x2222);
  assert.ok(both.isKnown(0, 256) && both.isKnown(0x104, 2));
  assert.ok(!both.isKnown(0x108, 1));
});

test("numeric ids beat names, and close an ambiguous name", () => {
  const named = fn(B, {
    idsFrom: "ambiguous-name",
    candidates: [{ vendor: 1, device: 2 }],
    name: "Some NIC",
  });
  const listed = fn(B, {
    idsFrom: "numeric",
    ids: { vendor: 0x8086, device: 0x10c9 },
    driver: null,
  });
  const { functions } = merge(
    part("lspci-text", "a", { functions: [named] }),
    part("device-list", "b", { functions: [listed] }),
  );
  const [only] = functions;
  assert.deepEqual(only?.ids, { vendor: 0x8086, device: 0x10c9 });
  assert.equal(only?.idsFrom, "numeric");
  assert.equal(only?.candidates, undefined);
  assert.equal(only?.name, "Some NIC");
  assert.equal(only?.driver, null);
});

test("devices that only a log names count only when nothing else lists devices", () => {
  const log = part("dmesg", "log", {
    functions: [fn(A), fn(C, { untrusted: true })],
    recorded: recorded("dmesg", "log", [A], [C]),
  });
  assert.equal(merge(log).functions.length, 2);
  const capture = merge(log, part("lspci-text", "a", { functions: [fn(A), fn(B)] }));
  assert.deepEqual(
    capture.functions.map((f) => f.bdf),
    [A, B],
  );
  assert.deepEqual(capture.recorded?.groups, [{ id: 0, devices: [A] }]);
  assert.match(
    capture.notes.map((n) => n.text).join(),
    /1 devices have a recorded group but are not here/,
  );
});

test("the first source of groups counts; others that agree add nothing, others are named", () => {
  const functions = [fn(A), fn(B), fn(C)];
  const own = recorded("lspci", "l", [A], [B]);
  const lspci = part("lspci-text", "l", { functions, recorded: own });
  const agree = part("group-list", "g", { recorded: recorded("group-list", "g", [A], [B], [C]) });
  const differ = part("group-list", "g", { recorded: recorded("group-list", "g", [A, B], [C]) });
  const log = part("dmesg", "d", { recorded: recorded("dmesg", "d", [A], [B], [C]) });
  for (const other of [agree, differ, log]) {
    assert.deepEqual(merge(lspci, other).recorded, own);
    assert.deepEqual(merge(other, lspci).recorded, own);
  }
  assert.deepEqual(merge(lspci, log).notes, []);
  assert.deepEqual(
    merge(lspci, agree).notes.map((n) => [n.severity, n.text, n.place?.file]),
    [["info", "group-list (g) groups 1 devices that lspci (l) does not; lspci (l) counts", "g"]],
  );
  assert.deepEqual(
    merge(lspci, differ).notes.map((n) => [n.severity, n.text]),
    [
      [
        "conflict",
        "group-list (g) groups 0000:01:00.0 differently from lspci (l); lspci (l) counts",
      ],
    ],
  );
});

test("a source that shows no groups gives way to a list of groups", () => {
  const none = part("device-list", "s", { functions: [fn(A)], recorded: recorded("sysfs", "s") });
  const list = part("group-list", "g", { recorded: recorded("group-list", "g", [A]) });
  const capture = merge(none, list);
  assert.deepEqual(capture.recorded?.groups, [{ id: 0, devices: [A] }]);
  assert.equal(capture.notes.filter((n) => n.severity === "conflict").length, 1);
});

test("types and reserved regions of groups come from sources that agree", () => {
  const lspci = part("lspci-text", "l", {
    functions: [fn(A), fn(B)],
    recorded: recorded("lspci", "l", [A], [B]),
  });
  const sysfs: RecordedGroups = {
    from: "sysfs",
    place: { file: "s" },
    groups: [
      { id: 0, devices: [A], type: "DMA-FQ" },
      { id: 1, devices: [C], type: "identity" },
    ],
  };
  assert.deepEqual(merge(lspci, part("sysfs", "s", { recorded: sysfs })).recorded?.groups, [
    { type: "DMA-FQ", id: 0, devices: [A] },
    { id: 1, devices: [B] },
  ]);
});

test("a source that shows that there are no groups beats a log that has some", () => {
  const none = part("device-list", "s", { functions: [fn(A)], recorded: recorded("sysfs", "s") });
  const log = part("dmesg", "d", { recorded: recorded("dmesg", "d", [A]) });
  assert.deepEqual(merge(none, log).recorded?.groups, []);
});

test("two captures of one host are refused, with both files and --from", () => {
  const at = (value: number): ConfigSpace =>
    new ConfigSpace(Uint8Array.of(0x86, 0x80, 1, 2, value), 256);
  const a = part("lspci-hex", "a", { functions: [fn(A, { config: at(1) })] });
  const b = part("lspci-hex", "b", { functions: [fn(A, { config: at(2) })] });
  assert.throws(
    () => merge(a, b),
    /host: a and b show different states of a host: 0000:00:01\.0 differs in its register 0x004; expected one state; choose with --from FILE, of a, b/,
  );
  // A register that changes while a host runs may differ between text and dump.
  const text = part("lspci-text", "b", { functions: [fn(A, { config: at(2) })] });
  assert.equal(merge(a, text).functions.length, 1);
  const other = new ConfigSpace(Uint8Array.of(0x86, 0x80, 9, 2), 256);
  const stranger = part("lspci-text", "b", { functions: [fn(A, { config: other })] });
  assert.throws(() => merge(a, stranger), /register 0x002/);
});

test("logs of two kernels are refused, unless something else names the kernel", () => {
  const one = part("dmesg", "d1", { facts: { kernel: "5.4.0", commandLine: "quiet" } });
  const two = part("dmesg", "d2", { facts: { kernel: "5.9.3" } });
  assert.throws(() => merge(one, two), /kernel 5\.4\.0 in one and 5\.9\.3 in the other/);
  const uname = part("kernel-release", "u", { facts: { kernel: "5.9.3" } });
  const capture = merge(one, two, uname);
  assert.equal(capture.facts.kernel, "5.9.3");
  assert.equal(capture.facts.commandLine, undefined);
  assert.match(capture.notes.map((n) => n.text).join(), /this log is of kernel 5\.4\.0/);
});

test("lists of groups that differ are refused; one that contradicts itself as well", () => {
  const a = part("group-list", "a", { recorded: recorded("group-list", "a", [A, B]) });
  const b = part("group-list", "b", { recorded: recorded("group-list", "b", [A], [B]) });
  assert.throws(
    () => merge(a, b),
    /a and b show different states of a host: they list different groups/,
  );
  const torn = part("group-list", "t", { contradictsItself: true });
  assert.throws(
    () => merge(torn, part("lspci-text", "l", {})),
    /t lists the groups of a host more than once/,
  );
  assert.doesNotThrow(() => merge(torn));
});

test("registers of a log complete the table; equal tables from two files are one", () => {
  const unit = { segment: 0, includeAll: true, registerBase: 0xfed90000n, scopes: [] };
  const table = {
    addressWidth: 39,
    interruptRemapping: true,
    platformOptIn: false,
    units: [unit],
    reserved: [],
    ats: [],
  };
  const seen = { kind: "vt-d", registerBase: 0xfed90000n, cap: 1n, ecap: 2n } as const;
  const { facts } = merge(
    part("dmar", "a", { facts: { dmar: table } }),
    part("dmar", "b", { facts: { dmar: { ...table } } }),
    part("dmesg", "d", { facts: { iommus: [seen] } }),
  );
  assert.deepEqual(facts.dmar?.units, [{ ...unit, cap: 1n, ecap: 2n }]);
  const changed = { ...table, addressWidth: 46 };
  assert.throws(
    () =>
      merge(
        part("dmar", "a", { facts: { dmar: table } }),
        part("dmar", "b", { facts: { dmar: changed } }),
      ),
    /a and b hold different DMAR tables/,
  );
});

test("a tree gives parents to functions that have none", () => {
  const tree = [
    { segment: 0, bus: 0, bridge: null },
    { segment: 0, bus: 1, bridge: A },
  ];
  const { functions } = merge(
    part("lspci-text", "a", { functions: [fn(A), fn(B)] }),
    part("lspci-tree", "t", { tree }),
  );
  assert.deepEqual(
    functions.map((f) => f.parent),
    [undefined, A],
  );
});
