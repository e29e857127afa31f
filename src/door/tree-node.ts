/**
 * The files of a platform as data: what a program finds below /dev, /sys and /proc.
 *
 * Modes are permission bits only. Contents that never change while a node stands are text; whatever
 * is worked out at each read, or takes writes, is an attribute and is served by its handlers.
 */
import type { Call, MappedRegion, MmapRequest, OpenFile } from "../files/index.js";

export interface DirectoryNode {
  readonly kind: "directory";
  readonly mode: number;
}

export interface LinkNode {
  readonly kind: "link";
  /** Relative, as Linux has it: `../../../bus/pci`. */
  readonly target: string;
}

export interface TextNode {
  readonly kind: "text";
  readonly mode: number;
  readonly text: string;
}

/** Handlers of a text attribute; absent: the attribute cannot be read, or written. */
export interface AttributeHandlers {
  /** The whole text. */
  show?(): string;
  /** Takes the whole text of one write, without a newline at its end. @throws UapiError. */
  store?(text: string, call: Call): void;
}

/** Handlers of a binary attribute. */
export interface BinaryHandlers {
  /** Short at the end of the file; empty beyond it. @throws UapiError. */
  read?(offset: number, length: number, call: Call): Uint8Array;
  /** @returns bytes taken. @throws UapiError. */
  write?(offset: number, bytes: Uint8Array, call: Call): number;
  mmap?(request: MmapRequest, call: Call): MappedRegion;
}

export interface AttributeNode {
  readonly kind: "attribute";
  readonly mode: number;
  /** As stat shows it: 4096 for text. */
  readonly size: number;
  readonly text?: AttributeHandlers | undefined;
  readonly binary?: BinaryHandlers | undefined;
}

/** A character device. */
export interface CharacterNode {
  readonly kind: "character";
  readonly mode: number;
  readonly major: number;
  readonly minor: number;
  /** @throws UapiError what opening the device throws. */
  open(call: Call): OpenFile;
}

export type TreeNode = DirectoryNode | LinkNode | TextNode | AttributeNode | CharacterNode;

/** Nodes by path. */
export type Nodes = ReadonlyMap<string, TreeNode>;

export const DIRECTORY: DirectoryNode = { kind: "directory", mode: 0o755 };

export const link = (target: string): LinkNode => ({ kind: "link", target });

export const text = (content: string, mode = 0o444): TextNode => ({
  kind: "text",
  mode,
  text: content,
});

export const attribute = (mode: number, handlers: AttributeHandlers): AttributeNode => ({
  kind: "attribute",
  mode,
  size: 4096,
  text: handlers,
});

export const binary = (mode: number, size: number, handlers: BinaryHandlers): AttributeNode => ({
  kind: "attribute",
  mode,
  size,
  binary: handlers,
});

/** Two nodes look the same to a program; handlers of attributes do not count. */
export function sameNode(a: TreeNode, b: TreeNode): boolean {
  if (a.kind === "link") return b.kind === "link" && a.target === b.target;
  if (a.kind !== b.kind || a.mode !== (b as DirectoryNode).mode) return false;
  switch (a.kind) {
    case "text":
      return a.text === (b as TextNode).text;
    case "attribute":
      return a.size === (b as AttributeNode).size;
    case "character":
      return a.major === (b as CharacterNode).major && a.minor === (b as CharacterNode).minor;
    default:
      return true;
  }
}
