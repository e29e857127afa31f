import assert from "node:assert/strict";
import { test } from "node:test";
import { analyse } from "../isolation/index.js";
import { buildFabric, describeFunction, type FunctionSpec, PortType } from "../pcie/index.js";
import { type Bdf, makeBdf } from "../units/index.js";
import { claimSentences } from "./claims-text.js";

const PORT = makeBdf(0, 0, 1, 0);
const A = makeBdf(0, 1, 0, 0);
const OTHER_PORT = makeBdf(0, 0, 2, 0);
const B = makeBdf(0, 2, 0, 0);

function told(device: Bdf, acs: FunctionSpec["acs"]): string {
  const port = (bdf: Bdf, bus: number): FunctionSpec => ({
    bdf,
    type: PortType.RootPort,
    buses: [0, bus, bus],
    acs,
  });
  const functions = [
    port(PORT, 1),
    port(OTHER_PORT, 2),
    { bdf: A, type: PortType.Endpoint, ats: { enabled: true } },
    { bdf: B, type: PortType.Endpoint },
  ].map((spec) => describeFunction(spec));
  return claimSentences(analyse(buildFabric({ functions }), {}), device).join("\n");
}

test("a port that validates requester IDs and blocks translated requests leaves nothing open", () => {
  const text = told(A, { capability: 0x1f, control: 0x1f });
  assert.match(text, /any requester ID of bus 01 \(root port 0000:00:01\.0 validates the bus\)/);
  assert.match(text, /no other device has one of them/);
  assert.match(text, /Root port 0000:00:01\.0 stops requests that claim to be translated/);
});

test("without validation it may use anybody's maps; with ATS on all memory is open", () => {
  const text = told(A, undefined);
  assert.match(text, /No port on its way validates requester IDs/);
  assert.match(text, /the maps of .*0000:02:00\.0/);
  assert.match(text, /While ATS is on for .*reach all memory/);
});

test("a device outside the capture has no claims", () => {
  assert.equal(told(makeBdf(0, 9, 0, 0), undefined), "");
});
