/**
 * `lspci` output of any verbosity, with or without hex, as capture parts.
 *
 * Blocks of one address are one function (a listing followed by `-vvv`, decoded text followed by
 * hex). Where decoded text and hex disagree the hex wins and a note names line and offset. Group
 * numbers go to the recorded groups only.
 */
import { CapabilityId, CONFIG_SIZE } from "../../../pcie/index.js";
import { type Bdf, formatBdf, hex, type InputPlace } from "../../../units/index.js";
import type { CapturedFunction, CapturePart, Note, RecordedGroups } from "../../capture.js";
import { NameResolver, type NameTable } from "../names.js";
import { builtInNames } from "../names-built-in.js";
import type { TextLines } from "../text.js";
import type { FunctionBlock } from "./block.js";
import { eachBlock } from "./blocks.js";
import { type Draft, draftFunction, groupOf, missesList } from "./function-from-block.js";
import { readMachineBlocks } from "./machine.js";
import { RegisterWriter } from "./registers.js";

export interface LspciOptions {
  /** More name tables (a pci.ids file of the host), asked before the built-in one. */
  readonly names?: readonly NameTable[] | undefined;
}

/** The functions of a text; no part when it holds none. */
export function parseLspci(text: TextLines, options: LspciOptions = {}): CapturePart[] {
  const names = new NameResolver([...(options.names ?? []), builtInNames()]);
  const writer = new RegisterWriter();
  const drafts = new Map<Bdf, Draft>();
  const notes: Note[] = [];
  const take = (block: FunctionBlock): void => {
    const { bdf } = block.header;
    const before = drafts.get(bdf);
    const whole = before === undefined ? block : joinBlocks(before, block, text, notes);
    if (whole === before?.block) return;
    const draft = draftFunction(whole, writer, text.place(whole.index), names);
    drafts.set(bdf, draft);
    noteDifference(draft, text, notes);
  };
  eachBlock(text, take);
  for (const block of readMachineBlocks(text)) take(block);
  if (drafts.size === 0) return [];
  completeLists(drafts, writer, names);
  withoutExtendedSpace(drafts);
  noteSilent(drafts, text, notes);
  return [partOf([...drafts.values()], text, notes)];
}

/**
 * Where lists are shown (the capture was made by root), a list that is announced and not shown has
 * no entry; only the last function may have been cut off.
 */
function completeLists(drafts: Map<Bdf, Draft>, writer: RegisterWriter, names: NameResolver): void {
  const all = [...drafts];
  if (!all.some(([, d]) => d.block.capabilities.length > 0)) return;
  for (const [bdf, draft] of all.slice(0, -1)) {
    if (!missesList(draft.block) || draft.block.hexLength > 0) continue;
    drafts.set(bdf, draftFunction(draft.block, writer, draft.captured.place, names, true));
  }
}

/** So many PCI Express functions without one extended capability cannot be chance. */
const EXPRESS_WITHOUT_EXTENDED = 3;

/**
 * A kernel without access to extended configuration space shows the same text as functions without
 * extended capabilities. Where no function of the file has any, they are not known rather than
 * absent.
 */
function withoutExtendedSpace(drafts: Map<Bdf, Draft>): void {
  let express = 0;
  for (const { block } of drafts.values()) {
    if (block.capabilities.some((c) => c.extended)) return;
    if (block.hexLength > 256) return;
    if (block.capabilities.some((c) => c.id === CapabilityId.PciExpress)) express++;
  }
  if (express < EXPRESS_WITHOUT_EXTENDED) return;
  for (const [bdf, draft] of drafts) {
    const { config } = draft.captured;
    if (config.extent !== CONFIG_SIZE) continue;
    drafts.set(bdf, { ...draft, captured: { ...draft.captured, config: config.cutTo(256) } });
  }
}

function noteSilent(drafts: ReadonlyMap<Bdf, Draft>, text: TextLines, notes: Note[]): void {
  for (const { block, captured } of drafts.values()) {
    if (!block.dead) continue;
    notes.push({
      severity: "info",
      text: `${formatBdf(captured.bdf)} did not answer (registers read ff): powered down or gone`,
      place: text.place(block.index),
    });
  }
}

function partOf(drafts: readonly Draft[], text: TextLines, notes: readonly Note[]): CapturePart {
  const driversShown = drafts.some((d) => d.block.properties.has("Kernel driver in use"));
  const functions = drafts.map((d) => withDriver(d, driversShown));
  const pureHex = drafts.every((d) => !d.decoded && d.block.hexLength >= 64);
  const place: InputPlace = { file: text.file };
  const recorded = recordedGroups(drafts, place);
  return {
    kind: pureHex ? "lspci-hex" : "lspci-text",
    place,
    functions,
    ...(recorded === undefined ? {} : { recorded }),
    ...(notes.length === 0 ? {} : { notes }),
  };
}

/** No driver line where driver lines are shown means: no driver. */
function withDriver(draft: Draft, driversShown: boolean): CapturedFunction {
  const { captured, decoded, kernelLines, block } = draft;
  if (captured.driver !== undefined) return captured;
  const detail = decoded && !block.dead && block.properties.size > 0;
  return kernelLines || (driversShown && detail) ? { ...captured, driver: null } : captured;
}

function recordedGroups(drafts: readonly Draft[], place: InputPlace): RecordedGroups | undefined {
  const groups = new Map<number, Bdf[]>();
  for (const { group, captured } of drafts) {
    if (group === undefined) continue;
    const members = groups.get(group);
    if (members === undefined) groups.set(group, [captured.bdf]);
    else members.push(captured.bdf);
  }
  if (groups.size === 0) return undefined;
  const list = [...groups].map(([id, devices]) => ({ id, devices }));
  return { from: "lspci", place, groups: list.sort((a, b) => a.id - b.id) };
}

function noteDifference(draft: Draft, text: TextLines, notes: Note[]): void {
  const { difference, captured, block } = draft;
  if (difference < 0 || !block.decoded || notes.length >= NOTE_LIMIT) return;
  const at = formatBdf(captured.bdf);
  notes.push({
    severity: "conflict",
    text: `${at}: text and hex dump differ at offset 0x${hex(difference, 2)}; the dump is used`,
    place: text.place(
      block.hexIndex >= 0 ? block.hexIndex : block.index,
      `0x${hex(difference, 2)}`,
    ),
  });
}

/**
 * Two blocks of one function: the hex of one with the text of the other; of two texts the richer.
 * Returns the first block itself when the second adds nothing, which also bounds the work for a
 * listing repeated for ever.
 */
function joinBlocks(
  before: Draft,
  block: FunctionBlock,
  text: TextLines,
  notes: Note[],
): FunctionBlock {
  const old = before.block;
  const group = groupOf(block.properties);
  if (group !== undefined && before.group !== undefined && group !== before.group) {
    noteTwoGroups(before, group, text.place(block.index), notes);
  }
  const [rich, poor] = richness(block) > richness(old) ? [block, old] : [old, block];
  const takesHex = rich.hexLength < poor.hexLength;
  if (takesHex) {
    rich.hex = poor.hex;
    rich.hexLength = poor.hexLength;
    rich.hexIndex = poor.hexIndex;
  }
  let takesText = false;
  for (const [key, value] of poor.properties) {
    if (rich.properties.has(key)) continue;
    rich.properties.set(key, value);
    takesText = true;
  }
  return rich === old && (takesHex || takesText) ? rich.copy() : rich;
}

/** A text can repeat itself for ever; the notes about it must not. */
const NOTE_LIMIT = 1000;

function noteTwoGroups(before: Draft, group: number, place: InputPlace, notes: Note[]): void {
  if (notes.length >= NOTE_LIMIT) return;
  const at = formatBdf(before.captured.bdf);
  notes.push({
    severity: "conflict",
    text: `${at} is listed twice, in groups ${before.group} and ${group}`,
    place,
  });
}

function richness(block: FunctionBlock): number {
  let registers = 0;
  for (const capability of block.capabilities) if (capability.registers.size > 0) registers++;
  return block.capabilities.length * 4 + block.properties.size + registers * 8;
}
