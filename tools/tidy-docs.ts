/**
 * House rules about words: glossary, decisions, evidence sentences, and what has no place in a
 * repository.
 */
import { brandNames } from "./tidy-code.js";
import { isTest, type Problem, type SourceFile } from "./tidy-source.js";

const GLOSSARY = "docs/glossary.md";

/** Terms defined in the glossary: the bold words that begin its table rows. */
export function glossaryTerms(text: string): Set<string> {
  return new Set([...text.matchAll(/^\| \*\*(.+?)\*\*/gm)].map((m) => m[1] as string));
}

export function checkGlossary(sources: readonly SourceFile[]): Problem[] {
  const glossary = sources.find((s) => s.path === GLOSSARY);
  if (glossary === undefined) return [{ file: GLOSSARY, message: "is missing" }];
  const inCode = new Set([...glossary.text.matchAll(/`(\w+)`/g)].map((m) => m[1] as string));
  return brandNames(sources)
    .filter((name) => !inCode.has(name))
    .map((name) => ({ file: GLOSSARY, message: `has no entry that names the type \`${name}\`` }));
}

const DECISION = /^docs\/decisions\/(\d{4})-[a-z0-9-]+\.md$/;
const DECISION_PARTS = ["## Context", "## Decision", "## Consequences"];

export function checkDecisions(sources: readonly SourceFile[]): Problem[] {
  const problems: Problem[] = [];
  const seen: number[] = [];
  for (const source of sources.filter((s) => s.path.startsWith("docs/decisions/"))) {
    if (source.path.endsWith("/README.md")) continue;
    const number = DECISION.exec(source.path)?.[1];
    if (number === undefined) {
      problems.push({ file: source.path, message: "must be named NNNN-words.md" });
      continue;
    }
    seen.push(Number(number));
    if (!source.lines[0]?.startsWith(`# ${number}. `)) {
      problems.push({ file: source.path, line: 1, message: `must begin with "# ${number}. "` });
    }
    if (!/^Status: (?:accepted|superseded by \d{4}), \d{4}-\d\d-\d\d$/m.test(source.text)) {
      const message = "needs a line `Status: accepted, YYYY-MM-DD` (or `superseded by NNNN, …`)";
      problems.push({ file: source.path, message });
    }
    for (const part of DECISION_PARTS) {
      if (!source.lines.includes(part)) {
        problems.push({ file: source.path, message: `lacks the heading "${part}"` });
      }
    }
  }
  seen
    .sort((a, b) => a - b)
    .forEach((number, i) => {
      if (number === i + 1) return;
      const message = `numbers run from 0001 without gaps; found ${number} in place ${i + 1}`;
      problems.push({ file: "docs/decisions", message });
    });
  return problems;
}

/** Each kind of evidence is produced somewhere, and has a sentence. */
export function checkEvidence(sources: readonly SourceFile[], kinds: readonly string[]): Problem[] {
  const product = sources.filter((s) => s.path.startsWith("src/") && !isTest(s.path));
  const holds = (files: readonly SourceFile[], kind: string): boolean =>
    files.some((s) => s.text.includes(`"${kind}"`) || s.text.includes(`\n  ${kind}:`));
  const views = product.filter((s) => /^src\/view\/evidence-text.*\.ts$/.test(s.path));
  const makers = product.filter(
    (s) => !views.includes(s) && s.path !== "src/isolation/evidence.ts",
  );
  return kinds.flatMap((kind) => {
    const problems: Problem[] = [];
    const file = "src/isolation/evidence.ts";
    if (!holds(views, kind)) {
      problems.push({
        file,
        message: `kind "${kind}" has no sentence in src/view/evidence-text*.ts`,
      });
    }
    if (!holds(makers, kind)) {
      problems.push({
        file,
        message: `kind "${kind}" is produced nowhere: remove it or produce it`,
      });
    }
    return problems;
  });
}

const SENTENCES = "src/view/refusal-sentences.ts";

/** Evidence that a refusal gives has a sentence, of the analysis or of refusals. */
export function checkRefusals(sources: readonly SourceFile[], kinds: readonly string[]): Problem[] {
  const known = new Set(kinds);
  for (const { text } of sources.filter((s) => s.path === SENTENCES))
    for (const [, quoted, bare] of text.matchAll(/^ {2}(?:"([a-z-]+)"|([a-z]+)): \(\{/gm))
      known.add(quoted ?? bare ?? "");
  const product = sources.filter((s) => s.path.startsWith("src/") && !isTest(s.path));
  return product.flatMap(({ path, text }) =>
    [...text.matchAll(/evidence(?::| =)[^;]{0,80}?\bkind: "([a-z0-9-]+)"/g)].flatMap(([, kind]) =>
      kind === undefined || known.has(kind)
        ? []
        : [{ file: path, message: `kind "${kind}" has no sentence in ${SENTENCES}` }],
    ),
  );
}

const GUARANTEES = "docs/guarantees.md";

/** Each row of the guarantees names a file and words that stand in it. */
export function checkGuarantees(sources: readonly SourceFile[]): Problem[] {
  const page = sources.find((s) => s.path === GUARANTEES);
  if (page === undefined) return [{ file: GUARANTEES, message: "is missing" }];
  const texts = new Map(sources.map((s) => [s.path, s.text]));
  const rows = page.lines.flatMap((text, i) =>
    text.startsWith("| ") && !text.startsWith("| promise") ? [{ text, line: i + 1 }] : [],
  );
  return rows.flatMap(({ text, line }) => {
    const held = /\]\(\.\.\/([^)]+)\): "([^"]+)" \|$/.exec(text);
    if (held === null) {
      const message = 'must end in [file](../file): "words of the test"';
      return [{ file: GUARANTEES, line, message }];
    }
    if (texts.get(held[1] as string)?.includes(held[2] as string)) return [];
    return [{ file: GUARANTEES, line, message: `"${held[2]}" does not stand in ${held[1]}` }];
  });
}

const OUT_OF_PLACE: readonly (readonly [RegExp, string])[] = [
  [
    /(?<![\w.])\/(?:(?:work|root|home)\/\w|tmp\/(?:wt|prompts|deliver))/,
    "names a path of one machine",
  ],
  [
    /\b(?:this|that|the|an?|earlier|later|previous) (?:coding |work(?:ing)? )?session\b/i,
    "speaks of a session",
  ],
  [
    /\b(?:sub-?agents?|AI (?:agent|assistant)|LLM|Claude|ChatGPT|Copilot)\b/i,
    "speaks of who wrote it",
  ],
  [
    /\b(?:captures|rules|fabric|config|lspci|truth|report|lead) engineer\b/i,
    "speaks of who wrote it",
  ],
  [/\bissues? (?:#|no\. ?|section )?\d/i, "points at an issue: say the reason itself"],
  [
    /\b(?:TODO|FIXME|XXX|HACK)\b/,
    "is a note to oneself: do it, or write down what is missing in the docs",
  ],
];

export function checkWords(sources: readonly SourceFile[]): Problem[] {
  return sources
    .filter((s) => !s.path.startsWith("tools/tidy") && s.path !== "test/tidy.test.ts")
    .flatMap((source) =>
      source.lines.flatMap((text, i) =>
        OUT_OF_PLACE.flatMap(([pattern, why]) => {
          const match = pattern.exec(text);
          if (match === null) return [];
          return [{ file: source.path, line: i + 1, message: `"${match[0]}" ${why}` }];
        }),
      ),
    );
}
