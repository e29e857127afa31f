/**
 * SystemTree: the directories of a platform, and who is told when they change.
 *
 * Paths are absolute and canonical: no `.`, no `..`, no slash at the end. Directories above a node
 * are made as needed. What stands in the directory of a device is not kept: it is mounted as a
 * function that makes it anew each time it is asked for, so that a host with very many functions
 * stays small.
 *
 * Changes are told one path at a time, directories before what is in them; a directory that goes
 * takes everything in it, in one change.
 */
import { UapiError } from "../abi/index.js";
import { DIRECTORY, type DirectoryNode, type Nodes, sameNode, type TreeNode } from "./tree-node.js";

/** Told of a node that appeared or changed, or (undefined) went. */
export type TreeListener = (path: string, node: TreeNode | undefined) => void;

/** Makes what is in a mounted directory, by path relative to it. */
export type Contents = () => Nodes;

/** Where a path leads when links are followed. */
export interface Resolved {
  readonly path: string;
  readonly node: TreeNode;
}

class Directory {
  readonly entries = new Map<string, Directory | TreeNode>();
  contents: Contents | undefined;
  readonly node: DirectoryNode = DIRECTORY;
}

/** Links that one path may go through; Linux MAXSYMLINKS. */
const MAX_LINKS = 40;

/** See the head of the file. */
export class SystemTree {
  readonly #root = new Directory();
  readonly #listeners = new Set<TreeListener>();

  /** @returns ends it. */
  onChange(listener: TreeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Puts a node at a path, or replaces what differs there. */
  put(path: string, node: TreeNode): void {
    const parts = split(path);
    const name = parts.pop();
    if (name === undefined) return;
    const above = this.#makeDirectory(parts);
    const old = above.entries.get(name);
    if (node.kind === "directory") {
      if (old instanceof Directory) return;
      this.#makeDirectory([...parts, name]);
      return;
    }
    above.entries.set(name, node);
    if (old === undefined || old instanceof Directory || !sameNode(old, node)) {
      this.#tell(path, node);
    }
  }

  putAll(nodes: Nodes): void {
    for (const [path, node] of nodes) this.put(path, node);
  }

  /** Nothing is to be there before: a directory whose contents are made when asked for. */
  mount(path: string, contents: Contents): void {
    const directory = this.#makeDirectory(split(path));
    directory.contents = contents;
    if (this.#listeners.size === 0) return;
    for (const [name, node] of contents()) this.#tell(`${path}/${name}`, node);
  }

  /** The contents of a mounted directory are others now. @param before as they were. */
  remount(path: string, before: Nodes, contents: Contents): void {
    const directory = this.#directory(path);
    if (directory === undefined) return;
    directory.contents = contents;
    if (this.#listeners.size === 0) return;
    const after = contents();
    let gone: string | undefined;
    for (const [name] of before) {
      if (after.has(name)) continue;
      if (gone !== undefined && name.startsWith(`${gone}/`)) continue;
      gone = name;
      this.#tell(`${path}/${name}`, undefined);
    }
    for (const [name, node] of after) {
      const old = before.get(name);
      if (old === undefined || !sameNode(old, node)) this.#tell(`${path}/${name}`, node);
    }
  }

  /** Takes a node away, with everything in it. Nothing happens when there is none. */
  remove(path: string): void {
    const parts = split(path);
    const name = parts.pop();
    const above = this.#walkTo(parts);
    if (name !== undefined && above?.entries.delete(name) === true) this.#tell(path, undefined);
  }

  /** The node at a canonical path; links are not followed. */
  find(path: string): TreeNode | undefined {
    let at = this.#root;
    const parts = split(path);
    for (const [i, name] of parts.entries()) {
      const next = at.entries.get(name);
      if (next instanceof Directory) {
        at = next;
        continue;
      }
      if (next !== undefined) return i === parts.length - 1 ? next : undefined;
      return at.contents?.().get(parts.slice(i).join("/"));
    }
    return at.node;
  }

  /**
   * Follows links, also at the end of the path. `..` goes up from where a link has led.
   * @throws UapiError ENOENT, ENOTDIR, ELOOP.
   */
  resolve(path: string): Resolved {
    const rest = split(path).reverse();
    let at: string[] = [];
    let links = 0;
    let node: TreeNode = DIRECTORY;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === ".") continue;
      if (node.kind !== "directory") {
        throw new UapiError("ENOTDIR", "a part of the path is no directory", {
          evidence: [{ kind: "path", path: `/${at.join("/")}` }],
        });
      }
      if (name === "..") {
        at.pop();
        continue;
      }
      const next: TreeNode | undefined = this.find(`/${[...at, name].join("/")}`);
      if (next === undefined) {
        throw new UapiError("ENOENT", "the platform has no such file", {
          evidence: [{ kind: "path", path: `/${[...at, name].join("/")}` }],
        });
      }
      if (next.kind !== "link") {
        at.push(name);
        node = next;
        continue;
      }
      if (++links > MAX_LINKS) throw new UapiError("ELOOP", "the path goes through too many links");
      if (next.target.startsWith("/")) at = [];
      rest.push(...split(next.target).reverse());
    }
    return { path: `/${at.join("/")}`, node };
  }

  /** Names in a directory, in the order they came; undefined when it is none. */
  list(path: string): readonly string[] | undefined {
    const directory = this.#directory(path);
    if (directory === undefined) return this.#listGenerated(path);
    const names = [...directory.entries.keys()];
    for (const name of directory.contents?.().keys() ?? []) {
      if (!name.includes("/") && !directory.entries.has(name)) names.push(name);
    }
    return names;
  }

  /** Every node, directories before what is in them; the root is not told. */
  walk(): IterableIterator<readonly [string, TreeNode]> {
    return walkDirectory("", this.#root);
  }

  #listGenerated(path: string): readonly string[] | undefined {
    const parts = split(path);
    for (let n = parts.length - 1; n > 0; n--) {
      const nodes = this.#walkTo(parts.slice(0, n))?.contents?.();
      if (nodes === undefined) continue;
      const inside = parts.slice(n).join("/");
      if (nodes.get(inside)?.kind !== "directory") return undefined;
      const names: string[] = [];
      for (const name of nodes.keys()) {
        const rest = name.startsWith(`${inside}/`) ? name.slice(inside.length + 1) : "";
        if (rest !== "" && !rest.includes("/")) names.push(rest);
      }
      return names;
    }
    return undefined;
  }

  #directory(path: string): Directory | undefined {
    return this.#walkTo(split(path));
  }

  #walkTo(parts: readonly string[]): Directory | undefined {
    let at = this.#root;
    for (const name of parts) {
      const next = at.entries.get(name);
      if (!(next instanceof Directory)) return undefined;
      at = next;
    }
    return at;
  }

  #makeDirectory(parts: readonly string[]): Directory {
    let at = this.#root;
    let path = "";
    for (const name of parts) {
      path += `/${name}`;
      const next = at.entries.get(name);
      if (next instanceof Directory) {
        at = next;
        continue;
      }
      const made = new Directory();
      at.entries.set(name, made);
      this.#tell(path, made.node);
      at = made;
    }
    return at;
  }

  #tell(path: string, node: TreeNode | undefined): void {
    for (const listener of this.#listeners) listener(path, node);
  }
}

function* walkDirectory(
  path: string,
  directory: Directory,
): IterableIterator<readonly [string, TreeNode]> {
  if (directory.contents !== undefined) {
    for (const [name, node] of directory.contents()) yield [`${path}/${name}`, node];
  }
  for (const [name, entry] of directory.entries) {
    const at = `${path}/${name}`;
    if (!(entry instanceof Directory)) {
      yield [at, entry];
      continue;
    }
    yield [at, entry.node];
    yield* walkDirectory(at, entry);
  }
}

function split(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}
