/**
 * Routing of memory requests: where a request of a function ends, and every hop with its reason.
 *
 * A {@link Router} is a compiled fabric. `route` returns data to read; `walk` is the same journey
 * for data paths, whose result is a reused record of numbers.
 */
import type { Rid } from "../units/index.js";
import { type AcsBit, acsBitNames } from "./capability/acs.js";
import { Fabric } from "./fabric.js";
import type { Bus, PciFunction } from "./function.js";
import { RouteModel } from "./route-model.js";
import type { RouteOptions } from "./route-options.js";
import {
  REASON_KINDS,
  ROUTE_REASONS,
  type RouteDecision,
  type RouteReason,
} from "./route-reason.js";
import { HOP_SIZE, Outcome, RouteWalk } from "./route-walk.js";
import { type AddressType, isPosted, type MemoryRequest, type PasidPrefix } from "./tlp.js";
import type { ArrivedRequest, TranslationAgent } from "./translation-agent.js";

export interface RouteHop {
  readonly at: PciFunction;
  /** The bus on which `at` sits. */
  readonly bus: Bus;
  readonly decision: RouteDecision;
  readonly reason: { readonly kind: RouteReason; readonly cite: string };
  /** The ACS bits that decided. */
  readonly bits: readonly AcsBit[];
  /** The capture does not show a fact that this decision rests on; the options filled it in. */
  readonly unknown: boolean;
}

/**
 * What the requester sees of an error: a completion with this status, or nothing because the
 * request was posted (PCIe 6 § 2.3.1, § 6.12.4).
 */
export type ErrorHandling = "completer-abort" | "unsupported-request" | "dropped";

export type RouteResult =
  /** Delivered to a BAR; `byAgent` only by the translation agent's decision, else without it. */
  | {
      readonly kind: "peer";
      readonly function: PciFunction;
      readonly bar: number;
      readonly byAgent: boolean;
    }
  /** Reaches the translation agent as `arrived`; without an agent given this is the end. */
  | { readonly kind: "translation-agent"; readonly arrived: ArrivedRequest }
  /** Passed the agent and goes to memory (or whatever else the root complex has there). */
  | {
      readonly kind: "memory";
      readonly arrived: ArrivedRequest;
      readonly pfn: number;
      readonly offset: number;
    }
  | { readonly kind: "translation-completed"; readonly arrived: ArrivedRequest }
  | { readonly kind: "refused"; readonly arrived: ArrivedRequest; readonly reason: string }
  | {
      readonly kind: "acs-violation";
      readonly at: PciFunction;
      readonly bits: readonly AcsBit[];
      readonly handling: ErrorHandling;
    }
  | {
      readonly kind: "unsupported-request" | "prefix-blocked";
      readonly at: PciFunction;
      readonly handling: ErrorHandling;
    }
  /** A receiver discards a malformed packet and reports it; nobody answers. */
  | { readonly kind: "malformed"; readonly at: PciFunction };

export interface Route {
  readonly hops: readonly RouteHop[];
  readonly result: RouteResult;
}

/** A fabric compiled for routing. It is a snapshot: make a new one when registers change. */
export class Router {
  readonly model: RouteModel;
  readonly #walk: RouteWalk;

  constructor(fabric: Fabric, options: RouteOptions = {}) {
    this.model = new RouteModel(fabric, options);
    this.#walk = new RouteWalk(this.model);
  }

  /**
   * The hot path: no allocation, no bigints. `from` is `model.indexOf(function)`. The returned
   * record is reused by the next call on this router.
   */
  walk(from: number, tlp: MemoryRequest): RouteWalk {
    this.#walk.run(from, tlp);
    return this.#walk;
  }

  /**
   * Routes one request of `from`, and on through `agent` when one is given.
   * @throws RangeError when `from` is not a function of this fabric.
   */
  route(from: PciFunction, tlp: MemoryRequest, agent?: TranslationAgent): Route {
    const walk = this.walk(this.model.indexOf(from), tlp);
    const result =
      walk.outcome === Outcome.TranslationAgent
        ? this.#beyond(arrivedRequest(this.model, walk, tlp), tlp, agent)
        : this.#result(tlp, false);
    return { hops: readHops(this.model, walk), result };
  }

  #beyond(
    arrived: ArrivedRequest,
    tlp: MemoryRequest,
    agent: TranslationAgent | undefined,
  ): RouteResult {
    if (agent === undefined) return { kind: "translation-agent", arrived };
    const answer = agent.translate(arrived);
    if (answer.kind === "completed") return { kind: "translation-completed", arrived };
    if (answer.kind === "refused") return { kind: "refused", arrived, reason: answer.reason };
    const { pfn, offset } = answer;
    const outcome = this.#walk.descend(pfn, offset);
    return outcome === Outcome.None
      ? { kind: "memory", arrived, pfn, offset }
      : this.#result(tlp, true);
  }

  #result(tlp: MemoryRequest, byAgent: boolean): RouteResult {
    const walk = this.#walk;
    const at = this.model.functions[walk.at] as PciFunction;
    const dropped = isPosted(tlp.access);
    const unsupported = dropped ? "dropped" : "unsupported-request";
    switch (walk.outcome) {
      case Outcome.Peer:
        return { kind: "peer", function: at, bar: walk.bar, byAgent };
      case Outcome.AcsViolation: {
        const handling = dropped ? "dropped" : "completer-abort";
        return { kind: "acs-violation", at, bits: acsBitNames(walk.bits), handling };
      }
      case Outcome.PrefixBlocked:
        return { kind: "prefix-blocked", at, handling: unsupported };
      case Outcome.Malformed:
        return { kind: "malformed", at };
      default:
        return { kind: "unsupported-request", at, handling: unsupported };
    }
  }
}

/**
 * Where a memory request of `from` goes. For more than one request make a {@link Router} and use
 * it: a fabric given here is compiled for this one.
 */
export function routeMemory(
  fabric: Fabric | Router,
  from: PciFunction,
  tlp: MemoryRequest,
  options: RouteOptions & { readonly agent?: TranslationAgent | undefined } = {},
): Route {
  const router = fabric instanceof Fabric ? new Router(fabric, options) : fabric;
  return router.route(from, tlp, options.agent);
}

const ADDRESS_TYPES: readonly AddressType[] = ["untranslated", "translation-request", "translated"];

/** What the translation agent sees of a request that ended there. */
function arrivedRequest(model: RouteModel, walk: RouteWalk, tlp: MemoryRequest): ArrivedRequest {
  const prefix: PasidPrefix | undefined = tlp.prefix;
  return {
    segment: (model.functions[walk.at] as PciFunction).segment,
    requester: walk.requester as Rid,
    prefix,
    addressType: ADDRESS_TYPES[walk.addressType] ?? "untranslated",
    access: tlp.access,
    pfn: tlp.pfn,
    offset: tlp.offset,
    length: tlp.length,
  };
}

/** The hops of the last walk, as data. */
export function readHops(model: RouteModel, walk: RouteWalk): RouteHop[] {
  const out: RouteHop[] = [];
  for (let i = 0; i < walk.hopCount * HOP_SIZE; i += HOP_SIZE) {
    const [fn = 0, domain = 0, reason = 0, bits = 0, unknown = 0] = walk.hops.subarray(i);
    const kind = REASON_KINDS[reason] as RouteReason;
    out.push(makeHop(model, fn, domain, kind, bits, unknown !== 0));
  }
  return out;
}

/** A hop from its parts: indices of function and domain, and a word of ACS bits. */
export function makeHop(
  model: RouteModel,
  fn: number,
  domain: number,
  kind: RouteReason,
  bits: number,
  unknown: boolean,
): RouteHop {
  const { decision, cite } = ROUTE_REASONS[kind];
  return {
    at: model.functions[fn] as PciFunction,
    bus: model.buses[domain] as Bus,
    decision,
    reason: { kind, cite },
    bits: acsBitNames(bits),
    unknown,
  };
}
