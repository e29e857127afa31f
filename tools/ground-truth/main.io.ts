/**
 * `npm run ground-truth`: a real kernel as judge.
 *
 * For each topology and kernel: build a first root file system, boot it in QEMU, read the capture
 * the guest wrote, store it as a fixture or compare it with the stored one. Exit status: 0 done,
 * 1 something differs or failed, 2 wrong usage or a missing package.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Architecture } from "../debian/apt.io.js";
import { hostMirror, openRelease } from "../debian/apt.io.js";
import { ToolError } from "../debian/tool-error.js";
import { surprises } from "./expectation.js";
import { fixtureFiles, fixtureName, type Provenance, problemsOf } from "./fixture.js";
import { writeIndex } from "./index-page.io.js";
import { buildInitramfs } from "./initramfs.io.js";
import { type KernelImage, prepareKernel } from "./kernel-image.io.js";
import {
  guestPackages,
  hostPackages,
  type KernelName,
  type KernelSource,
  kernelPackage,
  kernelSources,
  toolSuite,
} from "./kernel-source.js";
import { boot, cmdlineOf, qemuOf } from "./machine.io.js";
import { groupSets } from "./normalize.js";
import { type Options, parseOptions, usage } from "./options.js";
import { prepareToolRoot, type ToolRoot } from "./tool-root.io.js";
import { demonstrationTopology, topologies } from "./topologies/index.js";
import { platformOf, type Topology } from "./topology.js";

/** The repository: this file runs from dist/tools/ground-truth. */
const repository = fileURLToPath(new URL("../../../", import.meta.url));

interface Bench {
  readonly options: Options;
  /** QEMU and other programs that run on this machine. */
  readonly host: ToolRoot;
  readonly init: Uint8Array;
  readonly guestOf: (architecture: Architecture) => ToolRoot;
  readonly kernelOf: (name: KernelName, architecture: Architecture) => KernelImage;
}

function main(argv: readonly string[]): number {
  const options = parseOptions(argv);
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const chosen = choose(options);
  if (options.list) {
    process.stdout.write(chosen.map((one) => listed(one, options)).join(""));
    return 0;
  }
  const bench = prepare(options);
  let failed = 0;
  for (const topology of chosen) {
    for (const kernel of kernelsOf(topology, options)) {
      if (!bootOne(bench, topology, kernel)) failed += 1;
    }
  }
  if (!options.check) writeIndex(outputRoot(options));
  return failed === 0 ? 0 : 1;
}

function listed(topology: Topology, options: Options): string {
  return `${topology.name}  [${kernelsOf(topology, options).join(" ")}]\n  ${topology.shows}\n`;
}

function choose(options: Options): readonly Topology[] {
  for (const name of options.only ?? []) {
    if (!topologies.some((one) => one.name === name)) {
      throw new ToolError(`--only ${name}: no such topology; --list names them`);
    }
  }
  return topologies.filter((one) => options.only?.includes(one.name) ?? true);
}

function kernelsOf(topology: Topology, options: Options): readonly KernelName[] {
  return topology.kernels.filter((one) => options.kernel === undefined || one === options.kernel);
}

function prepare(options: Options): Bench {
  const { XDG_CACHE_HOME: base = join(homedir(), ".cache") } = process.env;
  const cache = options.cache ?? join(base, "ioasis-ground-truth");
  const mirror = options.mirror ?? hostMirror();
  mkdirSync(cache, { recursive: true });
  const open = (suite: string, architecture: Architecture) =>
    openRelease(cache, suite, architecture, mirror, options.refresh);
  say(`packages of Debian ${toolSuite} (${hostPackages.join(", ")}) into ${cache}`);
  const host = prepareToolRoot(open(toolSuite, "amd64"), cache, "host", hostPackages);
  const guestOf = remember((architecture: Architecture) => {
    say(`packages for the guest (${guestPackages.join(", ")}), ${architecture}`);
    return prepareToolRoot(open(toolSuite, architecture), cache, "guest", guestPackages);
  });
  const kernels = { amd64: kernelsFor("amd64"), arm64: kernelsFor("arm64") };
  function kernelsFor(architecture: Architecture) {
    return remember((name: KernelName) => {
      const { suite } = sourceOf(name);
      say(`kernel ${name} of Debian ${suite}, ${architecture}`);
      return prepareKernel(open(suite, architecture), cache, name);
    });
  }
  const init = readFileSync(join(repository, "tools/ground-truth/guest-init.sh"));
  return { options, host, init, guestOf, kernelOf: (name, arch) => kernels[arch](name) };
}

/** `make`, called once for each key. */
function remember<K, V>(make: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    const before = known.get(key);
    if (before !== undefined) return before;
    const value = make(key);
    known.set(key, value);
    return value;
  };
}

function sourceOf(name: KernelName): KernelSource {
  const source = kernelSources.find((one) => one.name === name);
  if (source === undefined) throw new ToolError(`no kernel ${name}`);
  return source;
}

/** Boots one topology; false when it failed or, with --check, when the groups differ. */
function bootOne(bench: Bench, topology: Topology, kernel: KernelName): boolean {
  const started = Date.now();
  const label = fixtureName(topology, kernel);
  const platform = platformOf(topology);
  const image = bench.kernelOf(kernel, platform.architecture);
  const guest = bench.guestOf(platform.architecture);
  const initramfs = buildInitramfs(image, bench.host, guest, bench.init, topology);
  const qemu = qemuOf(bench.host, platform, bench.options.qemu);
  let answer: Map<string, Uint8Array>;
  try {
    answer = boot(qemu, image.file, initramfs, topology);
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    say(`${label}: ${error.message}`);
    return false;
  }
  for (const problem of problemsOf(answer)) say(`${label}: guest: ${problem}`);
  const files = fixtureFiles(topology, answer, provenanceOf(bench, topology, kernel));
  const [groups, devices] = [files.get("groups.txt") ?? "", files.get("devices.txt") ?? ""];
  for (const one of surprises(topology, kernel, groups, devices)) say(`${label}: ${one}`);
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const sets = groupSets(groups);
  const folder = folderOf(bench.options, topology, kernel);
  if (bench.options.check) return compare(label, folder, sets);
  store(folder, files);
  const bytes = [...files.values()].reduce((sum, text) => sum + text.length, 0);
  say(`${label}: ${sets.length} groups, ${bytes} bytes, ${seconds} s`);
  return problemsOf(answer).length === 0;
}

function provenanceOf(bench: Bench, topology: Topology, kernel: KernelName): Provenance {
  const { options, host } = bench;
  const platform = platformOf(topology);
  const version = (name: string): string => host.versions.get(name) ?? "unknown";
  const quoted = `-append '${cmdlineOf(topology)}'`;
  const firmware = platform.firmware === undefined ? "" : "-bios QEMU_EFI.fd ";
  const boot = `${firmware}-kernel vmlinuz -initrd initramfs.gz ${quoted}`;
  return {
    kernel,
    suite: sourceOf(kernel).suite,
    kernelPackage: kernelPackage(platform.architecture),
    qemuPackage: platform.package,
    qemuVersion: options.qemu ?? version(platform.package),
    pciutilsVersion: version("pciutils"),
    command: `${basename(platform.program)} ${platform.arguments.join(" ")} ${boot} ARGUMENTS`,
  };
}

function outputRoot(options: Options): string {
  return options.out ?? repository;
}

function folderOf(options: Options, topology: Topology, kernel: KernelName): string {
  const root = outputRoot(options);
  if (topology === demonstrationTopology) return join(root, "examples", topology.name);
  return join(root, "test/fixtures/ground-truth", fixtureName(topology, kernel));
}

function store(folder: string, files: ReadonlyMap<string, string>): void {
  for (const name of ["dmar.b64", "ivrs.b64", "iort.b64", "viot.b64", "reserved.txt"]) {
    rmSync(join(folder, name), { force: true });
  }
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

function compare(label: string, folder: string, sets: readonly string[]): boolean {
  let stored: string[];
  try {
    stored = groupSets(readFileSync(join(folder, "groups.txt"), "utf8"));
  } catch {
    say(`${label}: nothing is stored in ${folder}`);
    return false;
  }
  const now = new Set(sets);
  const before = new Set(stored);
  const lost = stored.filter((one) => !now.has(one));
  const gained = sets.filter((one) => !before.has(one));
  if (lost.length + gained.length === 0) {
    say(`${label}: same ${sets.length} groups`);
    return true;
  }
  for (const one of lost) say(`${label}: only stored: {${one}}`);
  for (const one of gained) say(`${label}: only now: {${one}}`);
  return false;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ToolError)) throw error;
  process.stderr.write(`ground-truth: ${error.message}\n`);
  process.exitCode = 2;
}
