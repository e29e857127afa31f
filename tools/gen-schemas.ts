/**
 * Makes the published JSON Schemas of the command line's output (schemas/*.schema.json) from one
 * description, so that the list of evidence kinds cannot drift from the code. `--check` compares
 * instead of writing.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { EVIDENCE_KINDS } from "../src/isolation/index.js";
import { ACS_BITS } from "../src/pcie/index.js";

type Schema = Readonly<Record<string, unknown>>;

const device: Schema = {
  type: "string",
  pattern: "^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]$",
};
const address: Schema = { type: "string", pattern: "^0x[0-9a-f]{1,16}$" };
const count: Schema = { type: "integer", minimum: 0 };
const devices: Schema = { type: "array", items: device };
const text: Schema = { type: "string" };

const list = (items: Schema): Schema => ({ type: "array", items });
const nullable = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
const ref = (name: string): Schema => ({ $ref: `#/$defs/${name}` });

function object(
  properties: Readonly<Record<string, Schema>>,
  optional: readonly string[] = [],
): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: "object", properties, required, additionalProperties: false };
}

const span = object({ first: address, last: address });
const evidence = object(
  {
    kind: { enum: Object.keys(EVIDENCE_KINDS) },
    at: device,
    bits: list({ enum: ACS_BITS }),
    quirk: text,
    with: device,
    requesterId: { type: "string", pattern: "^[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]$" },
    capability: text,
    windows: list(span),
    detail: text,
    cite: text,
  },
  ["bits", "quirk", "with", "requesterId", "capability", "windows", "detail"],
);
const because = list(ref("evidence"));
const rules: Schema = { enum: ["device-centric", "linux-6.1", "linux-6.12", "linux-7.2"] };

const groups = object({
  schema: { const: "ioasis/groups/1" },
  rules,
  groups: list(object({ id: count, devices })),
  ungrouped: list(object({ device, because })),
  recorded: nullable(list(object({ id: count, devices }))),
  agreement: nullable(
    object({
      compared: count,
      same: count,
      different: list(object({ computed: devices, recorded: devices, because })),
    }),
  ),
  edges: object({ certain: count, implementationDefined: count }),
  unknown: list(
    object({ device, missing: list({ enum: ["acs", "config", "windows", "topology", "ids"] }) }),
  ),
});

const id: Schema = { type: "string", pattern: "^[0-9a-f]{4}$" };
const verdict = object({ ok: { type: ["boolean", "null"] }, width: count, because }, ["width"]);
const reach = object({
  device,
  via: { enum: ["switch", "function", "root"] },
  certainty: { enum: ["certain", "implementation-defined"] },
  windows: list(span),
});
const deviceReport = object({
  device,
  name: text,
  ids: object({
    vendor: nullable(id),
    device: nullable(id),
    subVendor: nullable(id),
    subDevice: nullable(id),
    revision: nullable({ type: "string", pattern: "^[0-9a-f]{2}$" }),
    classCode: nullable({ type: "string", pattern: "^[0-9a-f]{6}$" }),
  }),
  slot: nullable(text),
  requesterIds: devices,
  aliasSet: count,
  isolationGroup: nullable(count),
  mustShare: object({ value: { type: "boolean" }, with: devices, because }),
  pasid: verdict,
  ats: verdict,
  pri: verdict,
  sva: verdict,
  reaches: list(reach),
  driver: nullable(text),
  viable: object({ value: { type: ["boolean", "null"] }, because }),
  externalFacing: { type: ["boolean", "null"] },
  untrusted: { type: ["boolean", "null"] },
  reserved: list(object({ first: address, last: address, kind: text, because })),
});
const deviceList = object({ schema: { const: "ioasis/devices/1" }, devices: list(deviceReport) });

const explain = object({
  schema: { const: "ioasis/explain/1" },
  same: { type: "boolean" },
  because,
  enlargedBy: because,
});

const pasid = object({
  schema: { const: "ioasis/pasid/1" },
  rules,
  devices: list(object({ device, pasid: verdict, ats: verdict, pri: verdict, sva: verdict })),
});

const p2p = object({
  schema: { const: "ioasis/p2p/1" },
  edges: object({ certain: count, implementationDefined: count }),
  pairs: list(
    object({
      from: device,
      to: device,
      how: { enum: ["below-root-complex", "through-root-complex", "no"] },
      via: nullable({ enum: ["switch", "function", "root"] }),
      certainty: nullable({ enum: ["certain", "implementation-defined"] }),
      windows: list(span),
    }),
  ),
});

const explainDma = object({
  schema: { const: "ioasis/explain-dma/1" },
  device,
  address,
  pasid: nullable(count),
  access: { enum: ["read", "write", "atomic"] },
  addressType: { enum: ["untranslated", "translation-request", "translated"] },
  hops: list(
    object({
      at: device,
      decision: text,
      reason: text,
      states: text,
      bits: list({ enum: ACS_BITS }),
      unknown: { type: "boolean" },
      cite: text,
    }),
  ),
  outcome: object({
    kind: text,
    at: nullable(device),
    requesterId: nullable(text),
    text,
  }),
  remarks: list(text),
  pasidAllowed: { type: ["boolean", "null"] },
  because,
});

const flag: Schema = { type: "boolean" };
const play = object({
  schema: { const: "ioasis/play/1" },
  plays: list(
    object({
      file: text,
      scenario: text,
      platform: text,
      rules,
      ok: flag,
      steps: list(
        object({
          line: nullable(count),
          action: text,
          text,
          outcome: text,
          ok: flag,
          mismatches: list(object({ field: text, expected: text, found: text })),
          broken: list(object({ rule: count, text })),
          trace: list({
            type: "object",
            properties: { kind: text, text },
            required: ["kind", "text"],
          }),
        }),
      ),
    }),
  ),
  differences: list(
    object({
      scenario: text,
      platform: text,
      step: text,
      outcomes: { type: "object", additionalProperties: text },
    }),
  ),
});

const all = object({ schema: { const: "ioasis/groups-all/1" }, results: list(groups) });

const SCHEMAS: Readonly<Record<string, readonly [title: string, schema: Schema]>> = {
  groups: ["Groups: computed, recorded, compared", groups],
  "groups-all": ["Groups under every rule set", all],
  devices: ["What each device is and may do", deviceList],
  explain: ["Why devices share a group", explain],
  pasid: ["PASID, ATS, PRI and SVA eligibility", pasid],
  p2p: ["Who reaches whom", p2p],
  "explain-dma": ["What happens to one transaction", explainDma],
  play: ["Scenarios as they played", play],
};

export function renderSchema(name: string): string {
  const entry = SCHEMAS[name];
  if (entry === undefined) throw new RangeError(`no schema named ${name}`);
  const whole = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: `urn:ioasis:schema:${name}:1`,
    title: entry[0],
    ...entry[1],
    $defs: { evidence },
  };
  return `${JSON.stringify(whole, undefined, 2)}\n`;
}

export const SCHEMA_NAMES = Object.keys(SCHEMAS);

function main(check: boolean): void {
  for (const name of SCHEMA_NAMES) {
    const path = new URL(`../../schemas/${name}.schema.json`, import.meta.url);
    const wanted = renderSchema(name);
    if (!check) writeFileSync(path, wanted);
    else if (readFileSync(path, "utf8") !== wanted) {
      throw new Error(
        `schemas/${name}.schema.json is not what tools/gen-schemas.ts makes; run npm run gen`,
      );
    }
  }
}

if (process.argv[1]?.endsWith("gen-schemas.js") === true) main(process.argv.includes("--check"));
