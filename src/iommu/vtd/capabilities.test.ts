import assert from "node:assert/strict";
import { test } from "node:test";
import { vtdCapabilities, vtdRegisters } from "./capabilities.js";

test("the registers say what the options said", () => {
  const can = vtdCapabilities(
    vtdRegisters({
      hostAddressWidth: 46,
      inputAddressWidth: 48,
      stage2Levels: [4],
      domainIdBits: 8,
      pages1G: false,
      faultRecords: 3,
      pasidBits: 15,
      nested: false,
    }),
  );
  assert.equal(can.hostAddressWidth, 46);
  assert.equal(can.inputAddressWidth, 48);
  assert.equal(can.stage2Levels, 1 << 4);
  assert.equal(can.domainIdBits, 8);
  assert.deepEqual([can.pages2M, can.pages1G], [true, false]);
  assert.deepEqual([can.faultRecords, can.pasidBits], [3, 15]);
  assert.deepEqual([can.nested, can.stage1, can.stage2, can.scalable], [false, true, true, true]);
});

test("bits of the registers as the specification's figures place them", () => {
  const { capability, extendedCapability } = vtdRegisters({
    stage2Levels: [3, 4],
    inputAddressWidth: 48,
    domainIdBits: 16,
    faultRecords: 8,
  });
  const cap = (BigInt(capability[1] ?? 0) << 32n) | BigInt(capability[0] ?? 0);
  const ecap = (BigInt(extendedCapability[1] ?? 0) << 32n) | BigInt(extendedCapability[0] ?? 0);
  assert.equal(cap & 7n, 6n, "ND");
  assert.equal((cap >> 8n) & 31n, 0b00110n, "SAGAW: 39 and 48 bits");
  assert.equal((cap >> 16n) & 63n, 47n, "MGAW");
  assert.equal((cap >> 40n) & 255n, 7n, "NFR");
  assert.equal((cap >> 34n) & 15n, 3n, "SSLPS");
  assert.equal((ecap >> 35n) & 31n, 19n, "PSS");
  for (const bit of [1n, 2n, 3n, 6n, 7n, 26n, 29n, 40n, 43n, 46n, 47n]) {
    assert.equal((ecap >> bit) & 1n, 1n, `ECAP bit ${bit}`);
  }
});

test("without scalable mode its features are gone", () => {
  const can = vtdCapabilities(vtdRegisters({ scalable: false }));
  const gone = [can.stage1, can.stage2, can.nested, can.pasid, can.pageRequests, can.ridPasid];
  assert.deepEqual(gone, [false, false, false, false, false, false]);
});

test("options out of range are refused", () => {
  for (const options of [
    { hostAddressWidth: 53 },
    { inputAddressWidth: 58 },
    { inputAddressWidth: 49, stage2Levels: [4] as const },
    { stage2Levels: [] },
    { stage2Levels: [6 as 5] },
    { domainIdBits: 5 },
    { domainIdBits: 18 },
    { faultRecords: 0 },
    { faultRecords: 257 },
    { pasidBits: 21 },
  ]) {
    assert.throws(() => vtdRegisters(options), RangeError, JSON.stringify(options));
  }
});
