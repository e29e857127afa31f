/**
 * One turn: its members, the rule for pairs, and the number of its edges without enumerating pairs.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Certainty, P2pSource, P2pTarget, P2pTurn, TurnKind } from "./p2p-graph-types.js";

/**
 * Which pairs are no edge.
 * `self`      a member towards itself
 * `siblings`  also members of one device (they have a turn of their own)
 * `domain`    also members of one root bus (likewise)
 */
export type PairRule = "self" | "siblings" | "domain";

export interface TurnMember<T> {
  readonly item: T;
  readonly index: number;
  readonly device: number;
  readonly domain: number;
  /** Has egress control on: pairs must be asked one by one. */
  readonly selective: boolean;
}

export interface TurnParts {
  readonly kind: TurnKind;
  readonly certainty: Certainty;
  readonly bridge: PciFunction | undefined;
  readonly sources: readonly TurnMember<P2pSource>[];
  readonly targets: readonly TurnMember<P2pTarget>[];
  readonly rule: PairRule;
  /** Asked for selective sources only, with indices; undefined: every pair is allowed. */
  readonly egress: ((source: number, target: number) => boolean) | undefined;
}

export class Turn implements P2pTurn {
  readonly kind: TurnKind;
  readonly certainty: Certainty;
  readonly bridge: PciFunction | undefined;
  readonly sources: readonly P2pSource[];
  readonly targets: readonly P2pTarget[];
  readonly uniform: boolean;
  /** (source, target window) pairs allowed. */
  readonly edgeCount: number;

  readonly #parts: TurnParts;
  // Made when a pair is first asked for.
  #sourceOf: ReadonlyMap<P2pSource, TurnMember<P2pSource>> | undefined;
  #targetOf: ReadonlyMap<P2pTarget, TurnMember<P2pTarget>> | undefined;

  constructor(parts: TurnParts) {
    this.kind = parts.kind;
    this.certainty = parts.certainty;
    this.bridge = parts.bridge;
    this.sources = parts.sources.map((s) => s.item);
    this.targets = parts.targets.map((t) => t.item);
    this.#parts = parts;
    const selective = parts.egress !== undefined && parts.sources.some((s) => s.selective);
    this.uniform = !selective && parts.rule === "self";
    this.edgeCount = this.#count();
  }

  allows(source: P2pSource, target: P2pTarget): boolean {
    this.#sourceOf ??= new Map(this.#parts.sources.map((s) => [s.item, s]));
    this.#targetOf ??= new Map(this.#parts.targets.map((t) => [t.item, t]));
    const s = this.#sourceOf.get(source);
    const t = this.#targetOf.get(target);
    return s !== undefined && t !== undefined && this.#allowsMembers(s, t);
  }

  #allowsMembers(s: TurnMember<P2pSource>, t: TurnMember<P2pTarget>): boolean {
    const { rule, egress } = this.#parts;
    if (s.index === t.index || excludedBy(rule, s) === excludedBy(rule, t)) return false;
    return !s.selective || egress === undefined || egress(s.index, t.index);
  }

  #count(): number {
    const { sources, targets, rule, egress } = this.#parts;
    let all = 0;
    const excluded = new Map<number, number>();
    for (const target of targets) {
      const windows = windowCount(target.item);
      all += windows;
      const key = excludedBy(rule, target);
      excluded.set(key, (excluded.get(key) ?? 0) + windows);
    }
    let count = 0;
    for (const source of sources) {
      if (!source.selective || egress === undefined) {
        count += all - (excluded.get(excludedBy(rule, source)) ?? 0);
        continue;
      }
      for (const target of targets) {
        if (this.#allowsMembers(source, target)) count += windowCount(target.item);
      }
    }
    return count;
  }
}

/** Members with equal keys are not peers in this turn. */
function excludedBy(rule: PairRule, member: TurnMember<unknown>): number {
  return rule === "self" ? member.index : rule === "siblings" ? member.device : member.domain;
}

function windowCount(target: P2pTarget): number {
  return Math.max(1, target.windows.length);
}
