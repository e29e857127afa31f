import assert from "node:assert/strict";
import { test } from "node:test";
import {
  buildFabric,
  ConfigSpace,
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
  PortType,
} from "../pcie/index.js";
import { makeBdf, parseBdf } from "../units/index.js";
import {
  atsNeeded,
  atsOff,
  hidesSourceValidation,
  isUntrusted,
  pasidWithoutPrefix,
  QUIRKS,
  stoneyEvidence,
  switchesOffGraphicsUnit,
} from "./quirks.js";

const at = (text: string) => parseBdf(text) ?? makeBdf(0, 0, 0, 0);

function fnOf(...functions: readonly FunctionDescription[]) {
  const fn = buildFabric({ functions }).functions[0];
  assert.ok(fn !== undefined);
  return fn;
}
const probe = (spec: Partial<FunctionSpec>) =>
  fnOf(describeFunction({ bdf: at("01:00.0"), ...spec }));

test("the tables hold what their source counts", () => {
  const count = (rows: readonly { readonly ids: readonly number[]; readonly anyOf?: number }[]) =>
    rows.reduce((n, row) => n + row.ids.length + (row.anyOf === undefined ? 0 : 1), 0);
  assert.equal(count(QUIRKS.acs), 132);
  assert.equal(count(QUIRKS.aliases), 154);
  assert.equal(count(QUIRKS.ats), 24 + 64 + 1);
  assert.equal(QUIRKS.graphicsUnitAlways.length + QUIRKS.graphicsUnitWithoutShadowGtt.length, 36);
  assert.equal(QUIRKS.history.length, 18);
});

test("ATS is off for listed ids, some only below a revision or with sub-ids", () => {
  assert.equal(atsOff(probe({ vendor: 0x1002, device: 0x7310 }), "linux-6.1"), true);
  assert.equal(atsOff(probe({ vendor: 0x1002, device: 0x7311 }), "linux-6.1"), false);
  const e2000 = { vendor: 0x8086, device: 0x1451 };
  assert.equal(atsOff(probe({ ...e2000, revision: 0x1f }), "linux-7.2"), true);
  assert.equal(atsOff(probe({ ...e2000, revision: 0x20 }), "linux-7.2"), false);
  const picasso = { vendor: 0x1002, device: 0x15d8, revision: 0xcf, subVendor: 0xea50 };
  assert.equal(atsOff(probe({ ...picasso, subDevice: 0xce19 }), "linux-7.2"), true);
  assert.equal(atsOff(probe({ ...picasso, subDevice: 0xce18 }), "linux-7.2"), false);
  assert.equal(
    atsOff(probe({ ...picasso, revision: 0xc1, subDevice: 0xce19 }), "linux-7.2"),
    false,
  );
});

test("ATS is needed by ids of 7.2 only; a VF follows its PF", () => {
  const gpu = probe({ vendor: 0x10de, device: 0x2e3f });
  assert.equal(atsNeeded(gpu, "linux-7.2"), true);
  assert.equal(atsNeeded(gpu, "linux-6.12"), false);
  assert.equal(atsNeeded(probe({ vendor: 0x10de, device: 0x2e40 }), "linux-7.2"), false);
});

test("PASID without prefix needs one of two revisions", () => {
  const ids = { vendor: 0x19e5, device: 0xa250 };
  assert.equal(pasidWithoutPrefix(probe({ ...ids, revision: 0x21 })), true);
  assert.equal(pasidWithoutPrefix(probe({ ...ids, revision: 0x22 })), false);
  assert.equal(
    pasidWithoutPrefix(probe({ vendor: 0x19e5, device: 0xa252, revision: 0x21 })),
    false,
  );
});

test("two IDT switches lose Source Validation in 7.2", () => {
  for (const device of [0x80b5, 0x8090]) {
    const fn = probe({ vendor: 0x111d, device });
    assert.equal(hidesSourceValidation(fn, "linux-7.2"), true);
    assert.equal(hidesSourceValidation(fn, "linux-6.12"), false);
  }
});

test("Stoney graphics only as function 0 of bus 0", () => {
  const ids = { vendor: 0x1002, device: 0x98e4 };
  const kind = (text: string) =>
    stoneyEvidence(probe({ ...ids, bdf: at(text) }), "linux-6.12")?.kind;
  assert.equal(kind("00:01.0"), "excluded-by-driver");
  assert.equal(kind("00:01.1"), undefined);
  assert.equal(kind("01:00.0"), undefined);
});

test("graphics ids that switch off a display-only unit, some only without a shadow GTT", () => {
  assert.equal(switchesOffGraphicsUnit(probe({ vendor: 0x8086, device: 0x1606 })), true);
  assert.equal(switchesOffGraphicsUnit(probe({ vendor: 0x8086, device: 0x1607 })), false);
  const withWord = (word: number) => {
    const made = describeFunction({ bdf: at("00:00.0"), vendor: 0x8086, device: 0x0040 });
    const bytes = new Uint8Array(256);
    bytes.set(made.config.bytes.subarray(0, 64));
    bytes[0x53] = word >>> 8;
    return switchesOffGraphicsUnit(fnOf({ ...made, config: new ConfigSpace(bytes, 256) }));
  };
  assert.equal(withWord(0x0800), false);
  assert.equal(withWord(0x0000), true);
});

/** An external port, a discrete controller (switch, endpoint), and a device plugged into it. */
function tunnel(portIds: { vendor: number; device: number }, externalFacing: boolean | undefined) {
  const bridge = (text: string, type: PortType, buses: readonly [number, number, number]) =>
    describeFunction({ bdf: at(text), type, buses });
  const fabric = buildFabric({
    functions: [
      describeFunction({
        ...portIds,
        bdf: at("00:01.0"),
        type: PortType.RootPort,
        buses: [0, 1, 9],
        externalFacing,
      }),
      bridge("01:00.0", PortType.UpstreamPort, [1, 2, 9]),
      bridge("02:00.0", PortType.DownstreamPort, [2, 3, 3]),
      bridge("02:01.0", PortType.DownstreamPort, [2, 4, 9]),
      describeFunction({ bdf: at("03:00.0"), type: PortType.Endpoint }),
      bridge("04:00.0", PortType.UpstreamPort, [4, 5, 9]),
      bridge("05:00.0", PortType.DownstreamPort, [5, 6, 6]),
      describeFunction({ bdf: at("06:00.0"), type: PortType.Endpoint }),
    ],
  });
  return (text: string) => {
    const fn = fabric.function(at(text));
    assert.ok(fn !== undefined);
    return isUntrusted(fn, true);
  };
}

test("a discrete controller is trusted, what is plugged into it is not", () => {
  const trusted = tunnel({ vendor: 0x8086, device: 0x1234 }, true);
  for (const own of ["00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0"]) {
    assert.equal(trusted(own), false, own);
  }
  for (const plugged of ["04:00.0", "05:00.0", "06:00.0"]) assert.equal(trusted(plugged), true);
});

test("directly below an integrated host interface everything is untrusted", () => {
  const untrusted = tunnel({ vendor: 0x8086, device: 0x9a23 }, true);
  assert.equal(untrusted("00:01.0"), false);
  assert.equal(untrusted("01:00.0"), true);
  assert.equal(untrusted("03:00.0"), true, "inherited");
});

test("without a mark on the port nothing is known, with a clear mark nothing is untrusted", () => {
  assert.equal(tunnel({ vendor: 0x8086, device: 0x1234 }, undefined)("06:00.0"), undefined);
  assert.equal(tunnel({ vendor: 0x8086, device: 0x1234 }, false)("06:00.0"), false);
});
