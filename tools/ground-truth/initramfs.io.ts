/** The guest's only file system: busybox, lspci with its libraries, modules, and the plan. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Architecture } from "../debian/apt.io.js";
import { ToolError } from "../debian/tool-error.js";
import { type CpioEntry, writeCpio } from "./cpio.js";
import { modulesOf, planOf } from "./guest-plan.js";
import { type KernelImage, loadableModules } from "./kernel-image.io.js";
import { libraryPath, type ToolRoot } from "./tool-root.io.js";
import { defaultLspci, platformOf, type Topology } from "./topology.js";

/** Libraries lspci is linked with, and the loader that starts it. */
const lspciLibraries =
  /^(ld-linux-[a-z0-9-]+\.so\.[12]|lib(c|pci|kmod|z|resolv|zstd|lzma|crypto|udev|cap)\.so\..*)$/;

/** The compressed archive for one topology. */
export function buildInitramfs(
  kernel: KernelImage,
  host: ToolRoot,
  guest: ToolRoot,
  init: Uint8Array,
  topology: Topology,
): Uint8Array {
  const entries: CpioEntry[] = [
    ...baseEntries(guest, init),
    { kind: "folder", path: "modules" },
    text("plan", planOf(topology.guest ?? {})),
    text("lspci-options", topology.lspci ?? defaultLspci),
    text("answer-port", platformOf(topology).answerPort),
  ];
  loadableModules(kernel, host, modulesOf(topology.guest ?? {})).forEach((module, index) => {
    const place = String(index).padStart(3, "0");
    entries.push({ kind: "file", path: `modules/${place}-${module.name}.ko`, data: module.data });
  });
  return gzipSync(writeCpio(entries), { level: 1 });
}

/** `init` with what it needs to run: busybox, lspci, and the libraries of both. */
export function baseEntries(guest: ToolRoot, init: Uint8Array): CpioEntry[] {
  const folders = ["bin", "dev", "lib", "lib64", "usr", "usr/lib", "usr/share", "usr/share/misc"];
  return [
    ...folders.map((path) => ({ kind: "folder", path }) as const),
    { kind: "character-device", path: "dev/console", major: 5, minor: 1 },
    { kind: "file", path: "init", data: init, run: true },
    program("bin/busybox", find(guest, ["usr/bin/busybox", "bin/busybox"])),
    program("bin/lspci", find(guest, ["usr/bin/lspci", "usr/sbin/lspci"])),
    { kind: "file", path: "usr/share/misc/pci.ids", data: find(guest, ["usr/share/misc/pci.ids"]) },
    ...libraries(guest),
  ];
}

function libraries(tools: ToolRoot): CpioEntry[] {
  const found = new Map<string, Uint8Array>();
  for (const folder of libraryPath(tools)) {
    for (const name of readdirSync(folder)) {
      if (!lspciLibraries.test(name) || found.has(name)) continue;
      found.set(name, readFileSync(join(folder, name)));
    }
  }
  const [name, folder] = loaderOf[tools.architecture];
  const loader = find(tools, [`usr/${folder}/${name}`, `${folder}/${name}`]);
  const files = [...found].map(([file, data]) => program(`usr/lib/${file}`, data));
  return [...files, program(`${folder}/${name}`, loader)];
}

/** The dynamic loader that programs of an architecture name, and its folder. */
const loaderOf: Readonly<Record<Architecture, readonly [string, string]>> = {
  amd64: ["ld-linux-x86-64.so.2", "lib64"],
  arm64: ["ld-linux-aarch64.so.1", "lib"],
};

function find(tools: ToolRoot, paths: readonly string[]): Uint8Array {
  for (const path of paths) {
    try {
      return readFileSync(join(tools.folder, path));
    } catch {
      // the next place is tried
    }
  }
  throw new ToolError(`none of ${paths.join(", ")} is below ${tools.folder}`);
}

function program(path: string, data: Uint8Array): CpioEntry {
  return { kind: "file", path, data, run: true };
}

function text(path: string, content: string): CpioEntry {
  return { kind: "file", path, data: new TextEncoder().encode(content) };
}
