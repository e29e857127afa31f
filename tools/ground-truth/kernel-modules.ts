/**
 * Which kernel modules a driver needs, read from the module files themselves.
 *
 * A module's `.modinfo` section holds NUL-terminated `key=value` strings; `depends` lists modules
 * by name, separated by commas. File names use "-" or "_", the kernel's names only "_".
 */

/** Kernel spelling of a module name. */
export function moduleName(name: string): string {
  return name.replaceAll("-", "_");
}

/** Name of the module in a file such as `drivers/nvme/host/nvme.ko.xz`; undefined when none. */
export function moduleOfPath(path: string): string | undefined {
  const match = /([^/]+)\.ko(?:\.xz|\.zst|\.gz)?$/.exec(path);
  return match?.[1] === undefined ? undefined : moduleName(match[1]);
}

/** The modules this one needs, by kernel name. `image` is the uncompressed module. */
export function dependsOf(image: Uint8Array): string[] {
  const text = Buffer.from(image.buffer, image.byteOffset, image.length).toString("latin1");
  const match = /(?:^|\0)depends=([^\0]*)\0/.exec(text);
  const list = match?.[1] ?? "";
  return list === "" ? [] : list.split(",").map(moduleName);
}

/** `wanted` and all they need, needed ones first. `dependencies` answers for one module. */
export function loadOrder(
  wanted: readonly string[],
  dependencies: (name: string) => readonly string[],
): string[] {
  const order: string[] = [];
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const needed of dependencies(name)) visit(needed);
    order.push(name);
  };
  for (const name of wanted) visit(moduleName(name));
  return order;
}
