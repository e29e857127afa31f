/**
 * `client/symbols.txt`: what the preload library does with each function of libc, as data.
 *
 * The file is written for people: a line `class: why` and under it, indented, the names it holds
 * for. A name may contain `*`. Names without `*` count before names with, of those the longest.
 */

export type SymbolClass = "wrapped" | "harmless" | "limit" | "none";

export interface SymbolRule {
  readonly name: string;
  readonly class: SymbolClass;
  readonly why: string;
}

const CLASSES: readonly string[] = ["wrapped", "harmless", "limit", "none"];

/** @throws Error naming the line that is not understood. */
export function parseSymbolRules(text: string): readonly SymbolRule[] {
  const rules: SymbolRule[] = [];
  let head: { readonly class: SymbolClass; readonly why: string } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("  ")) {
      if (head === undefined) throw new Error(`line ${index + 1}: names before a class`);
      for (const name of line.trim().split(/\s+/)) rules.push({ name, ...head });
      continue;
    }
    const [kind, why] = line.split(/: (.*)/);
    if (kind === undefined || why === undefined || !CLASSES.includes(kind)) {
      throw new Error(`line ${index + 1}: not a class and a reason: ${line}`);
    }
    head = { class: kind as SymbolClass, why };
  }
  return rules;
}

/** Functions in the output of `nm -D --defined-only --with-symbol-versions`, private ones apart. */
export function functionsOf(listing: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of listing.split("\n")) {
    const [, kind, symbol] = line.trim().split(/\s+/);
    if (kind === undefined || symbol === undefined || !/^[TWi]$/.test(kind)) continue;
    if (symbol.endsWith("GLIBC_PRIVATE") || symbol.includes("version_placeholder")) continue;
    names.add(symbol.replace(/@.*$/, ""));
  }
  return names;
}

/** Finds the rule of a function. */
export class SymbolTable {
  readonly #exact = new Map<string, SymbolRule>();
  readonly #patterns: { readonly rule: SymbolRule; readonly matches: RegExp }[] = [];

  constructor(rules: readonly SymbolRule[]) {
    for (const rule of rules) {
      if (!rule.name.includes("*")) this.#exact.set(rule.name, rule);
      else
        this.#patterns.push({ rule, matches: new RegExp(`^${rule.name.replaceAll("*", ".*")}$`) });
    }
    this.#patterns.sort((a, b) => b.rule.name.length - a.rule.name.length);
  }

  ruleOf(name: string): SymbolRule | undefined {
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    return this.#patterns.find(({ matches }) => matches.test(name))?.rule;
  }

  /** Names of the rules that say `wrapped`. */
  wrapped(): readonly string[] {
    return [...this.#exact.values()].filter((r) => r.class === "wrapped").map((r) => r.name);
  }
}
