/** Text for a terminal: at most 100 columns, colour only where it is shown. */
import picocolors from "picocolors";

export const MAX_COLUMNS = 100;

export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly cyan: (text: string) => string;
}

/** Colour functions; identity when the output is no terminal or NO_COLOR is set. */
export function makePaint(colour: boolean): Paint {
  return picocolors.createColors(colour);
}

/**
 * Greedy word wrap. The first line starts with `first` spaces, the others with `indent`. Words
 * longer than the line stay whole; single spaces separate words.
 */
export function wrap(text: string, indent = 0, first = 0, columns = MAX_COLUMNS): string {
  return flow(" ".repeat(first), text, indent, columns);
}

/** A label in its own column, then text that wraps beside it. `paint` colours the label only. */
export function labelled(
  label: string,
  column: number,
  text: string,
  paint: (text: string) => string = (t) => t,
): string {
  const padded = label.length < column ? label.padEnd(column) : `${label} `;
  const body = flow(padded, text, column, MAX_COLUMNS);
  return paint(padded) + body.slice(padded.length);
}

function flow(start: string, text: string, indent: number, columns: number): string {
  const lines: string[] = [];
  let line = start;
  let empty = true;
  for (const word of text.split(/ +/)) {
    if (!empty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = " ".repeat(indent);
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  lines.push(line);
  return lines.join("\n");
}

/** Cuts to `columns` with an ellipsis. */
export function fit(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

export interface Column {
  readonly title: string;
  /** The column that gives way when the line is too long. */
  readonly flexible?: boolean;
  readonly right?: boolean;
}

/** Columns two spaces apart; the flexible one shrinks so that a row fits in `columns`. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width = MAX_COLUMNS,
): string[] {
  const widths = columns.map((column, i) =>
    rows.reduce((w, row) => Math.max(w, (row[i] ?? "").length), column.title.length),
  );
  const total = widths.reduce((sum, w) => sum + w, 2 * (columns.length - 1));
  const flexible = columns.findIndex((column) => column.flexible === true);
  if (total > width && flexible >= 0) {
    widths[flexible] = Math.max(8, (widths[flexible] ?? 8) - (total - width));
  }
  const draw = (cells: readonly string[]): string =>
    columns
      .map((column, i) => {
        const w = widths[i] ?? 0;
        const cell = fit(cells[i] ?? "", w);
        return column.right === true ? cell.padStart(w) : cell.padEnd(w);
      })
      .join("  ")
      .trimEnd();
  return [draw(columns.map((column) => column.title)), ...rows.map(draw)];
}
