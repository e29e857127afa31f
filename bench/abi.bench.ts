/**
 * Codecs: a generated decode of an argument struct against one written by hand, and against reading
 * the layout at run time, which is what generating saves.
 */
import { decodeIommuIoasMap } from "../src/abi/index.js";
import { type Bench, interleave, median } from "./harness.js";

const GOAL = { generated: 1.15 } as const;

export const bench: Bench = {
  name: "codecs",
  run: async ({ size, report }) => {
    const count = size === "ci" ? 500_000 : 1_000_000;
    const view = structs(64);
    const taken = await interleave(9, {
      generated: () => sum(view, count, decodeIommuIoasMap),
      byHand: () => sum(view, count, byHand),
      interpreted: () => sum(view, count, interpreted),
    });
    const ns = (times: readonly number[]): number => (median(times) / count) * 1e6;
    const [generated, hand] = [ns(taken.generated), ns(taken.byHand)];
    const floor = `by hand ${hand.toFixed(1)} ns, here ${generated.toFixed(1)} ns`;
    report({
      metric: "abi.decode.ioas-map",
      value: generated / hand,
      unit: "x",
      goal: GOAL.generated,
      floor,
    });
    report({
      metric: "abi.decode.interpreted",
      value: ns(taken.interpreted) / generated,
      unit: "x",
      floor,
    });
  },
};

interface MapStruct {
  readonly flags: number;
  readonly ioas_id: number;
  readonly length: bigint;
  readonly iova: bigint;
}

const STRUCT = 40;

function structs(count: number): DataView {
  const view = new DataView(new ArrayBuffer(count * STRUCT));
  for (let i = 0; i < view.byteLength; i += 4) view.setUint32(i, (i * 2_654_435_761) >>> 0, true);
  return view;
}

function sum(view: DataView, count: number, decode: (view: DataView, at: number) => MapStruct) {
  let total = 0;
  let wide = 0n;
  for (let i = 0; i < count; i++) {
    const found = decode(view, (i & 63) * STRUCT);
    total += found.flags + found.ioas_id;
    wide ^= found.length ^ found.iova;
  }
  return total + Number(wide & 1n);
}

function byHand(view: DataView, at: number) {
  return {
    size: view.getUint32(at, true),
    flags: view.getUint32(at + 4, true),
    ioas_id: view.getUint32(at + 8, true),
    __reserved: view.getUint32(at + 12, true),
    user_va: view.getBigUint64(at + 16, true),
    length: view.getBigUint64(at + 24, true),
    iova: view.getBigUint64(at + 32, true),
  };
}

const FIELDS = [
  ["size", 0, 4],
  ["flags", 4, 4],
  ["ioas_id", 8, 4],
  ["__reserved", 12, 4],
  ["user_va", 16, 8],
  ["length", 24, 8],
  ["iova", 32, 8],
] as const;

function interpreted(view: DataView, at: number): MapStruct {
  const out: Record<string, number | bigint> = {};
  for (const [name, offset, width] of FIELDS) {
    out[name] =
      width === 4 ? view.getUint32(at + offset, true) : view.getBigUint64(at + offset, true);
  }
  return out as unknown as MapStruct;
}
