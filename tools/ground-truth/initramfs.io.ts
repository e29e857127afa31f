/** The guest's only file system: busybox, lspci with its libraries, modules, and the plan. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type CpioEntry, writeCpio } from "./cpio.js";
import { type KernelImage, loadableModules } from "./kernel-image.io.js";
import { ToolError } from "./tool-error.js";
import { libraryPath, type ToolRoot } from "./tool-root.io.js";
import { defaultLspci, type GuestActions, type Topology } from "./topology.js";

/** Libraries lspci is linked with, and the loader that starts it. */
const lspciLibraries =
  /^(ld-linux-x86-64\.so\.2|lib(c|pci|kmod|z|resolv|zstd|lzma|crypto|udev|cap)\.so\..*)$/;

/** The compressed archive for one topology. */
export function buildInitramfs(
  kernel: KernelImage,
  tools: ToolRoot,
  init: Uint8Array,
  topology: Topology,
): Uint8Array {
  const entries: CpioEntry[] = [
    ...[
      "bin",
      "dev",
      "lib64",
      "usr",
      "usr/lib",
      "usr/share",
      "usr/share/misc",
      "modules",
      "tmp",
    ].map((path) => ({ kind: "folder", path }) as const),
    { kind: "character-device", path: "dev/console", major: 5, minor: 1 },
    { kind: "file", path: "init", data: init, run: true },
    program("bin/busybox", find(tools, ["usr/bin/busybox", "bin/busybox"])),
    program("bin/lspci", find(tools, ["usr/bin/lspci", "usr/sbin/lspci"])),
    { kind: "file", path: "usr/share/misc/pci.ids", data: find(tools, ["usr/share/misc/pci.ids"]) },
    ...libraries(tools),
    text("plan", planOf(topology.guest ?? {})),
    text("lspci-options", topology.lspci ?? defaultLspci),
  ];
  loadableModules(kernel, tools, modulesOf(topology.guest ?? {})).forEach((module, index) => {
    const place = String(index).padStart(3, "0");
    entries.push({ kind: "file", path: `modules/${place}-${module.name}.ko`, data: module.data });
  });
  return gzipSync(writeCpio(entries), { level: 1 });
}

/** Modules to insert: those asked for, and the stub driver when it is to be bound. */
export function modulesOf(actions: GuestActions): readonly string[] {
  const wanted = actions.modules ?? [];
  return actions.stub === true ? [...wanted, "pci-stub"] : wanted;
}

/** Lines of the guest's `/plan`. */
export function planOf(actions: GuestActions): string {
  const lines = [
    ...(actions.sriov ?? []).map((one) => `sriov ${one}`),
    ...(actions.hotplug ?? []).map((one) => one.replace(":", " ")),
    ...(actions.stub === true ? ["stub"] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function libraries(tools: ToolRoot): CpioEntry[] {
  const found = new Map<string, Uint8Array>();
  for (const folder of libraryPath(tools)) {
    for (const name of readdirSync(folder)) {
      if (!lspciLibraries.test(name) || found.has(name)) continue;
      found.set(name, readFileSync(join(folder, name)));
    }
  }
  const loader = find(tools, [
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "usr/lib64/ld-linux-x86-64.so.2",
    "lib64/ld-linux-x86-64.so.2",
  ]);
  const files = [...found].map(([name, data]) => program(`usr/lib/${name}`, data));
  return [...files, program("lib64/ld-linux-x86-64.so.2", loader)];
}

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
