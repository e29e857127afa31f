/**
 * Who imports whom: ranks, cycles, the form of a path.
 *
 * A file of the product imports from its own folder and from folders of a lower rank, never up. The
 * compiler's project references refuse the same; this check names the rule, and sees cycles inside
 * one folder too.
 */
import { posix } from "node:path";
import { isTest, lineAt, type Problem, type SourceFile } from "./tidy-source.js";

/** Lowest first. A folder below another entry belongs to the longest match. */
export const RANKS: readonly string[] = [
  "src/units",
  "src/abi",
  "src/memory",
  "src/formats",
  "src/pcie",
  "src/iommu",
  "src/isolation",
  "src/devices",
  "src/platform",
  "src/machine",
  "src/driver",
  "src/files",
  "src/iommufd",
  "src/vfio",
  "src/system",
  "src/door",
  "src/play",
  "src/host",
  "src/host/io",
  "src/view",
  "src/daemon",
  "src/cli",
];

export interface ImportEdge {
  readonly from: string;
  /** As written. */
  readonly specifier: string;
  /** The source file meant, for a relative import; it may not exist. */
  readonly target: string | undefined;
  readonly line: number;
}

const IMPORT = /(?:^|[;{}\n])\s*(?:import|export)\b[^;"'`]*?\bfrom\s*(["'])([^"'\n]+)\1/g;
const BARE_IMPORT = /(?:^|[;{}\n])\s*import\s*(["'])([^"'\n]+)\1/g;
const DYNAMIC_IMPORT = /\bimport\(\s*(["'])([^"'\n]+)\1\s*\)/g;

export function importsOf(source: SourceFile): ImportEdge[] {
  const edges: ImportEdge[] = [];
  for (const pattern of [IMPORT, BARE_IMPORT, DYNAMIC_IMPORT]) {
    for (const match of source.text.matchAll(pattern)) {
      const specifier = match[2] as string;
      const at = (match.index ?? 0) + match[0].search(/\b(?:import|export)\b/);
      // What a comment or a string holds is no import: there the code is blank.
      if (source.code.slice(at, at + 6).trim() === "") continue;
      edges.push({
        from: source.path,
        specifier,
        target: resolveRelative(source.path, specifier),
        line: lineAt(source.text, at),
      });
    }
  }
  return edges;
}

function resolveRelative(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, ".ts");
}

/** Position in {@link RANKS}; undefined outside of the product. */
export function rankOf(path: string): number | undefined {
  let best: number | undefined;
  RANKS.forEach((folder, rank) => {
    if (!path.startsWith(`${folder}/`)) return;
    if (best === undefined || folder.length > (RANKS[best] as string).length) best = rank;
  });
  return best;
}

export function checkRanks(sources: readonly SourceFile[]): Problem[] {
  const problems: Problem[] = [];
  for (const source of sources) {
    if (!source.path.startsWith("src/") || isTest(source.path)) continue;
    const own = rankOf(source.path);
    if (own === undefined) {
      const message = "stands in a folder without a rank: add it to RANKS in tools/tidy-imports.ts";
      problems.push({ file: source.path, message });
      continue;
    }
    for (const { target, line } of importsOf(source)) {
      if (target === undefined) continue;
      const other = rankOf(target);
      if (other === undefined) {
        const message = `imports ${target}: the product imports nothing outside of src/`;
        problems.push({ file: source.path, line, message });
      } else if (other > own) {
        const message = `${RANKS[own]} imports ${target} of a higher rank: pass it in instead`;
        problems.push({ file: source.path, line, message });
      }
    }
  }
  return problems;
}

export function checkImportForm(sources: readonly SourceFile[]): Problem[] {
  const problems: Problem[] = [];
  const known = new Set(sources.map((s) => s.path));
  for (const source of sources.filter((s) => s.path.endsWith(".ts"))) {
    for (const { specifier, target, line } of importsOf(source)) {
      if (target === undefined) continue;
      if (!/\.(?:js|mjs|json)$/.test(specifier)) {
        const message = `relative import "${specifier}" must end in .js, as Node resolves it`;
        problems.push({ file: source.path, line, message });
      } else if (target.endsWith(".ts") && !known.has(target)) {
        problems.push({
          file: source.path,
          line,
          message: `imports ${target}, which does not exist`,
        });
      }
    }
  }
  return problems;
}

/** Each cycle once, as a path that returns to its start. Tarjan's strongly connected components. */
export function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const cycles: string[][] = [];
  const visit = (node: string): void => {
    const own = index.size;
    index.set(node, own);
    low.set(node, own);
    stack.push(node);
    onStack.add(node);
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) visit(next);
      if (onStack.has(next)) low.set(node, Math.min(low.get(node) ?? own, low.get(next) ?? own));
    }
    if (low.get(node) !== own) return;
    const component = stack.splice(stack.indexOf(node));
    for (const member of component) onStack.delete(member);
    if (component.length > 1 || edges.get(node)?.includes(node)) {
      cycles.push([...component, node]);
    }
  };
  for (const node of edges.keys()) if (!index.has(node)) visit(node);
  return cycles;
}

export function checkCycles(sources: readonly SourceFile[]): Problem[] {
  const known = new Set(sources.map((s) => s.path));
  const edges = new Map<string, string[]>();
  for (const source of sources) {
    const targets = importsOf(source).flatMap((e) => (e.target === undefined ? [] : [e.target]));
    edges.set(
      source.path,
      targets.filter((target) => known.has(target)),
    );
  }
  return findCycles(edges).map((cycle) => ({
    file: cycle[0] as string,
    message: `import cycle: ${cycle.join(" -> ")}; move what both need into a file below both`,
  }));
}
