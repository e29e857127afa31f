/** A Debian kernel taken from its packages: the image to boot and its modules. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AptRelease, closure, download, unpack } from "../debian/apt.io.js";
import { ToolError } from "../debian/tool-error.js";
import { dependsOf, loadOrder, moduleOfPath } from "./kernel-modules.js";
import { type KernelName, kernelPackage } from "./kernel-source.js";
import { runInRoot, type ToolRoot } from "./tool-root.io.js";

export interface KernelImage {
  readonly name: KernelName;
  /** File to boot. */
  readonly file: string;
  /** Module files by kernel name. */
  readonly modules: ReadonlyMap<string, string>;
}

/**
 * Fetches and unpacks the kernel of `release` below `cache`; reused when nothing changed.
 * @param wanted the package whose dependency names the kernel.
 */
export function prepareKernel(
  release: AptRelease,
  cache: string,
  name: KernelName,
  wanted = kernelPackage(release.architecture),
): KernelImage {
  const files = closure(release, [wanted]).filter((one) => one.name.startsWith("linux-"));
  const folder = join(cache, `kernel-${name}-${release.architecture}`);
  const stamp = join(folder, ".packages");
  const list = `${files.map((one) => one.file).join("\n")}\n`;
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== list) {
    unpack(download(release, files), folder);
    writeFileSync(stamp, list);
  }
  const wantedRelease = files
    .map((one) => /^linux-image-(\d.*)$/.exec(one.name)?.[1])
    .find((one) => one !== undefined);
  if (wantedRelease === undefined) throw new ToolError(`${release.suite} has no kernel package`);
  const boot = ["boot", "usr/boot"].map((one) => join(folder, one, `vmlinuz-${wantedRelease}`));
  const modules = ["lib/modules", "usr/lib/modules"].map((one) => join(folder, one, wantedRelease));
  const file = boot.find((one) => existsSync(one)) ?? findImage(folder, wantedRelease);
  const tree = modules.find((one) => existsSync(one));
  if (tree === undefined) throw new ToolError(`no modules of ${wantedRelease} below ${folder}`);
  return { name, file, modules: indexModules(tree) };
}

function findImage(folder: string, release: string): string {
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const found = all.find((one) => /vmlinuz/.test(one) && one.includes(release));
  if (found === undefined) throw new ToolError(`no kernel image of ${release} below ${folder}`);
  return join(folder, found);
}

function indexModules(tree: string): Map<string, string> {
  const modules = new Map<string, string>();
  for (const path of readdirSync(tree, { recursive: true, encoding: "utf8" })) {
    const name = moduleOfPath(path);
    if (name !== undefined) modules.set(name, join(tree, path));
  }
  return modules;
}

/** One module ready to be inserted. */
export interface LoadableModule {
  readonly name: string;
  readonly data: Uint8Array;
}

/**
 * `wanted` and all they need, uncompressed, in the order to insert them. A name the kernel has no
 * module for is taken to be built in.
 */
export function loadableModules(
  kernel: KernelImage,
  tools: ToolRoot,
  wanted: readonly string[],
): LoadableModule[] {
  const images = new Map<string, Uint8Array>();
  const imageOf = (name: string): Uint8Array | undefined => {
    const path = kernel.modules.get(name);
    if (path === undefined) return undefined;
    const known = images.get(name);
    if (known !== undefined) return known;
    const raw = readFileSync(path);
    const image = path.endsWith(".xz") ? runInRoot(tools, "usr/bin/xz", ["-dc"], raw) : raw;
    images.set(name, image);
    return image;
  };
  const order = loadOrder(wanted, (name) => {
    const image = imageOf(name);
    return image === undefined ? [] : dependsOf(image);
  });
  return order.flatMap((name) => {
    const data = imageOf(name);
    return data === undefined ? [] : [{ name, data }];
  });
}
