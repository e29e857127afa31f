/**
 * The platform's tree of files as real directories, so that listing, links and globs work without
 * asking anybody.
 *
 * Files whose contents somebody must serve carry the sticky bit. Below /dev such a file stands for
 * a character device, and its size is the device's number; elsewhere its size is the attribute's.
 * Permission bits are the node's, so that access(2) and the shell's tests are right; only this
 * user's programs come here.
 */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { SystemTree, TreeNode } from "../../door/index.js";

const STICKY = 0o1000;

export class FileTree {
  readonly #root: string;
  readonly #tree: SystemTree;
  #isMade = false;

  constructor(root: string, tree: SystemTree) {
    this.#root = root;
    this.#tree = tree;
  }

  /** Makes all of it, the first time; from then on it follows the tree. */
  make(): void {
    if (this.#isMade) return;
    this.#isMade = true;
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    for (const [path, node] of this.#tree.walk()) this.#add(path, node);
    // A program that reads only plain files and links needs no connection from now on.
    writeFileSync(`${this.#root}/.complete`, "");
    this.#tree.onChange((path, node) => {
      rmSync(this.#root + path, { recursive: node === undefined, force: true });
      if (node !== undefined) this.#add(path, node);
    });
  }

  #add(path: string, node: TreeNode): void {
    const place = this.#root + path;
    switch (node.kind) {
      case "directory":
        mkdirSync(place, { recursive: true });
        break;
      case "link":
        symlinkSync(node.target, place);
        break;
      case "text":
        putFile(place, node.mode, node.text, undefined);
        break;
      case "attribute":
        putFile(place, node.mode | STICKY, undefined, node.size);
        break;
      default:
        putFile(place, node.mode | STICKY, undefined, node.major * 2 ** 20 + node.minor);
    }
  }
}

function putFile(
  place: string,
  mode: number,
  text: string | undefined,
  size: number | undefined,
): void {
  const fd = openSync(place, "wx", 0o600);
  try {
    if (text !== undefined && text !== "") writeSync(fd, text);
    if (size !== undefined && size > 0) ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
  chmodSync(place, mode);
}
