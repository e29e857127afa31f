/**
 * Layouts against words worked out by hand from the figures of VT-d 5.0 chapter 9, § 6.5.2, § 7.4.1
 * and § 11.4.14: each value sets every field to something that no neighbour could produce.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as formats from "./index.js";
import {
  bits,
  buildWords,
  getField,
  type Layout,
  readLayout,
  setField,
  uncoveredBits,
} from "./layout.js";

const SEED = 9;

/** Words of a structure as bigint qwords, lowest first. */
function qwords(words: Uint32Array): bigint[] {
  const out: bigint[] = [];
  for (let i = 0; i < words.length; i += 2) {
    out.push((BigInt(words[i + 1] ?? 0) << 32n) | BigInt(words[i] ?? 0));
  }
  return out;
}

function check<L extends Layout>(
  layout: L,
  values: Partial<Record<keyof L, number>>,
  ...expected: bigint[]
): void {
  const words = buildWords(layout, expected.length * 2, values);
  assert.deepEqual(qwords(words).map(hex), expected.map(hex));
  const read = readLayout(layout, words);
  for (const [name, value] of Object.entries(values)) assert.equal(read[name], value, name);
}

const hex = (value: bigint): string => `0x${value.toString(16).padStart(16, "0")}`;

test("root and context entries", () => {
  check(
    formats.VTD_ROOT_ENTRY,
    { present: 1, contextTable: 0x12_3456_789a },
    0x0001_2345_6789_a001n,
  );
  check(
    formats.VTD_SCALABLE_ROOT_ENTRY,
    { lowerPresent: 1, lowerContextTable: 0xabcde, upperPresent: 1, upperContextTable: 0xf0001 },
    0x0000_0000_abcd_e001n,
    0x0000_0000_f000_1001n,
  );
  check(
    formats.VTD_CONTEXT_ENTRY,
    {
      present: 1,
      faultProcessingDisable: 1,
      translationType: 2,
      stage2Table: 0x12345,
      addressWidth: 2,
      domainId: 0xbeef,
    },
    0x0000_0000_1234_500bn,
    0x0000_0000_00be_ef02n,
  );
  check(
    formats.VTD_SCALABLE_CONTEXT_ENTRY,
    {
      present: 1,
      deviceTlbEnable: 1,
      pasidEnable: 1,
      pageRequestEnable: 1,
      pasidDirectorySize: 7,
      pasidDirectory: 0x54321,
      ridPasid: 0xabcde,
      ridPrivileged: 1,
    },
    0x0000_0000_5432_1e1dn,
    0x0000_0000_001a_bcden,
  );
});

test("PASID directory and PASID entries", () => {
  check(
    formats.VTD_PASID_DIRECTORY_ENTRY,
    { present: 1, faultProcessingDisable: 1, pasidTable: 0x777 },
    0x0000_0000_0077_7003n,
  );
  check(
    formats.VTD_PASID_ENTRY,
    {
      present: 1,
      addressWidth: 2,
      translationType: 3,
      stage2AccessedDirty: 1,
      stage2Table: 0x1_0000,
      domainId: 0xcafe,
      pageWalkSnoop: 1,
      pageSnoop: 1,
      supervisorRequestEnable: 1,
      executeRequestEnable: 1,
      stage1Mode: 1,
      writeProtectEnable: 1,
      noExecuteEnable: 1,
      supervisorExecutePrevention: 1,
      extendedAccessedEnable: 1,
      stage1Table: 0x2_0000,
    },
    0x0000_0000_1000_02c9n,
    0x0000_0000_0180_cafen,
    0x0000_0000_2000_00f7n,
  );
});

test("paging entries", () => {
  check(
    formats.VTD_STAGE1_ENTRY,
    {
      present: 1,
      write: 1,
      user: 1,
      accessed: 1,
      dirty: 1,
      frame: 0xff_ffff_ffff,
      executeDisable: 1,
    },
    0x800f_ffff_ffff_f067n,
  );
  check(
    formats.VTD_STAGE1_ENTRY,
    { present: 1, pageSize: 1, global: 1, extendedAccessed: 1, writeThrough: 1, cacheDisable: 1 },
    0x0000_0000_0000_0599n,
  );
  check(
    formats.VTD_STAGE2_ENTRY,
    { read: 1, write: 1, execute: 1, memoryType: 6, ignorePat: 1, pageSize: 1, accessed: 1 },
    0x0000_0000_0000_01f7n,
  );
  check(
    formats.VTD_STAGE2_ENTRY,
    { dirty: 1, snoop: 1, frame: 0x80_0000_0001 },
    0x0008_0000_0000_1a00n,
  );
});

test("interrupt entry, and a message that names it", () => {
  check(
    formats.VTD_INTERRUPT_ENTRY,
    {
      present: 1,
      destinationMode: 1,
      triggerMode: 1,
      deliveryMode: 5,
      vector: 0xa5,
      destination: 0x8000_0001,
      sourceId: 0x1234,
      sourceQualifier: 2,
      sourceValidation: 1,
    },
    0x8000_0001_00a5_00b5n,
    0x0000_0000_0006_1234n,
  );
  assert.deepEqual(formats.remappableMessage(0x8001), { address: 0xfee0_0034, data: 0 });
  assert.throws(() => formats.remappableMessage(0x1_0000), RangeError);
});

test("invalidation descriptors", () => {
  check(
    formats.VTD_CONTEXT_CACHE_DESCRIPTOR,
    { typeLow: 1, granularity: 3, domainId: 0x1234, sourceId: 0xabcd, functionMask: 2 },
    0x0002_abcd_1234_0031n,
  );
  check(
    formats.VTD_PASID_CACHE_DESCRIPTOR,
    { typeLow: 7, granularity: 1, domainId: 0x1234, pasid: 0xf_edcb },
    0x000f_edcb_1234_0017n,
  );
  check(
    formats.VTD_IOTLB_DESCRIPTOR,
    {
      typeLow: 2,
      granularity: 3,
      drainWrites: 1,
      drainReads: 1,
      domainId: 0x1234,
      addressMask: 9,
      invalidationHint: 1,
      frame: 0x12345,
    },
    0x0000_0000_1234_00f2n,
    0x0000_0000_1234_5049n,
  );
  check(
    formats.VTD_PASID_IOTLB_DESCRIPTOR,
    { typeLow: 6, granularity: 2, domainId: 0x1234, pasid: 0xabcde },
    0x000a_bcde_1234_0026n,
  );
  check(
    formats.VTD_DEVICE_TLB_DESCRIPTOR,
    {
      typeLow: 3,
      maximumPending: 0x11,
      sourceId: 0xabcd,
      pfSourceIdLow: 0xe,
      size: 1,
      frame: 0x7fff,
    },
    0x0000_abcd_0011_e003n,
    0x0000_0000_07ff_f001n,
  );
  check(
    formats.VTD_PASID_DEVICE_TLB_DESCRIPTOR,
    {
      typeLow: 8,
      maximumPending: 0x11,
      sourceId: 0xabcd,
      pasid: 0xf0f0f,
      global: 1,
      size: 1,
      frame: 2,
    },
    0x000f_0f0f_abcd_0118n,
    0x0000_0000_0000_2801n,
  );
  check(
    formats.VTD_INTERRUPT_ENTRY_CACHE_DESCRIPTOR,
    { typeLow: 4, granularity: 1, indexMask: 3, index: 0x1234 },
    0x0000_1234_1800_0014n,
  );
  check(
    formats.VTD_WAIT_DESCRIPTOR,
    {
      typeLow: 5,
      interrupt: 1,
      statusWrite: 1,
      fence: 1,
      statusData: 0xdead_beef,
      statusAddress: 0x400,
    },
    0xdead_beef_0000_0075n,
    0x0000_0000_0000_1000n,
  );
  check(
    formats.VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR,
    {
      typeLow: 9,
      pasidPresent: 1,
      responseCode: 15,
      requesterId: 0xabcd,
      pasid: 5,
      groupIndex: 0x1ff,
    },
    0x0000_0005_abcd_f019n,
    0x0000_0000_0000_0ff8n,
  );
});

test("page request and fault record", () => {
  check(
    formats.VTD_PAGE_REQUEST,
    {
      type: 1,
      pasidPresent: 1,
      requesterId: 0x1234,
      pasid: 0xabcde,
      execute: 1,
      privileged: 1,
      read: 1,
      write: 1,
      lastPage: 1,
      groupIndex: 0x155,
      frame: 0x12345,
    },
    0x003a_bcde_1234_0101n,
    0x0000_0000_1234_5aafn,
  );
  check(
    formats.VTD_FAULT_RECORD,
    {
      frame: 0x12345,
      sourceId: 0xabcd,
      privileged: 1,
      execute: 1,
      pasidPresent: 1,
      reason: 0x71,
      pasid: 0x54321,
      addressType: 2,
      type1: 1,
      fault: 1,
    },
    0x0000_0000_1234_5000n,
    0xe543_2171_e000_abcdn,
  );
});

test("registers' fields", () => {
  const { VTD_GLOBAL_COMMAND: G, VTD_EXTENDED_CAPABILITY: E, VTD_CAPABILITY: C } = formats;
  assert.deepEqual([G.translation.low, G.setRootTable.low, G.queuedInvalidation.low], [31, 30, 26]);
  assert.deepEqual([E.pasid.low, E.pasidSize, E.scalableMode.low], [40, bits(39, 35), 43]);
  assert.deepEqual([C.stage2Levels, C.maximumAddressWidth], [bits(12, 8), bits(21, 16)]);
  check(formats.VTD_QUEUE_ADDRESS, { size: 3, wideDescriptors: 1, frame: 5 }, 0x5803n);
  check(formats.VTD_ROOT_TABLE_REGISTER, { mode: 1, rootTable: 5 }, 0x5400n);
  check(formats.VTD_INTERRUPT_TABLE, { size: 15, extendedMode: 1, frame: 5 }, 0x580fn);
});

test("no two fields of a layout share a bit, and none lies outside of its structure", () => {
  const sizes: Record<string, number> = { ENTRY: 16, RECORD: 4, DESCRIPTOR: 4, REQUEST: 8 };
  let layouts = 0;
  for (const [name, value] of Object.entries(formats)) {
    const kind = /^VTD_.*(ENTRY|RECORD|DESCRIPTOR|REQUEST)$/.exec(name)?.[1];
    if (kind === undefined || typeof value !== "object") continue;
    layouts++;
    const fields = Object.entries(value as Layout).sort(([, a], [, b]) => a.low - b.low);
    let end = 0;
    for (const [field, { low, width }] of fields) {
      assert.ok(low >= end, `${name}.${field} overlaps`);
      end = low + width;
    }
    assert.ok(end <= (sizes[kind] ?? 0) * 32, name);
  }
  assert.ok(layouts >= 20, `${layouts} layouts`);
});

test(`what is set is read, and nothing else changes (seed ${SEED})`, () => {
  const field = fc.tuple(fc.nat(75), fc.integer({ min: 1, max: 53 }), fc.nat());
  fc.assert(
    fc.property(field, fc.array(fc.nat(0xffff_ffff), { minLength: 4, maxLength: 4 }), (f, old) => {
      const [low, width, seed] = f;
      const value = (seed * 0x9_e377_9b97) % 2 ** width;
      const words = Uint32Array.from(old);
      setField(words, 0, { low, width }, value);
      assert.equal(getField(words, 0, { low, width }), value);
      const covered = uncoveredBits({ field: { low, width } }, 4);
      words.forEach((word, i) => {
        assert.equal((word ^ (old[i] ?? 0)) & (covered[i] ?? 0), 0);
      });
    }),
    { seed: SEED, numRuns: 300 },
  );
});

test("values that do not fit are refused", () => {
  const words = new Uint32Array(2);
  assert.throws(() => setField(words, 0, bits(3, 0), 16), RangeError);
  assert.throws(() => setField(words, 0, bits(3, 0), -1), RangeError);
  assert.throws(() => setField(words, 0, bits(3, 0), 0.5), RangeError);
  assert.throws(() => bits(60, 0), RangeError);
  assert.throws(() => buildWords({ a: bits(1, 0) }, 2, { b: 1 } as object), /no field b/);
});

test("fault names, codes of the specification", () => {
  assert.equal(formats.vtdFaultName(0x05), "writeDenied");
  assert.equal(formats.vtdFaultName(0x26), "interruptSource");
  assert.equal(formats.vtdFaultName(0x5b), "pasidEntryInvalid");
  assert.equal(formats.vtdFaultName(0x6f), "reserved-6fh");
});
