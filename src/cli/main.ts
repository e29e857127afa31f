/**
 * The `ioasis` command. Arguments are read here; each command's code is loaded only when it runs.
 */
import { Command, CommanderError, Option } from "commander";
import { InputError, parseBdf } from "../units/index.js";
import type { CommonOptions, Run } from "./options.js";
import { type ExitCode, type Output, UsageError } from "./output.js";
import { parseRules, RULE_CHOICES, type RuleChoice } from "./rules.js";
import { standardOutput } from "./standard-output.io.js";
import { VERSION } from "./version.js";

const SOURCE_HELP = `
Sources (--from, may be repeated; default: this host's /sys):
  a file, a directory or a tar archive (plain, gz, xz, bz2); - is standard input.
  Recognised by content: lspci -vvv (also mangled by mail), -xxxx hex, lspci -t, dmesg, group lists,
  DMAR/IVRS/IORT/VIOT tables, sysfs trees, support bundles, files made by ioasis capture,
  and platform files: hosts written down in YAML or JSON (docs/platform-files.md).`;

const EXAMPLES: Readonly<Record<string, string>> = {
  groups: `
Examples:
  ioasis groups                              groups of this host
  ioasis groups --from lspci.txt             of a host whose sudo lspci -vvvnn somebody mailed
  ioasis groups --from bundle.tar.xz --check exit 1 when computed and recorded differ
  ioasis groups --rules all                  what other kernels would do, side by side
  sudo lspci -vvvnn | ioasis groups --from - --json`,
  devices: `
Examples:
  ioasis devices                             what each device of this host may do
  ioasis devices 03:00.0 --from lspci.txt    one device, in full`,
  explain: `
Examples:
  ioasis explain 03:00.0                     why this device is in its group
  ioasis explain 03:00.0 04:00.0             why these two are in one group, or are not
  ioasis explain 03:00.0 04:00.0 --json      the same as evidence`,
  pasid: `
Examples:
  ioasis pasid                               which devices can use PASIDs, and what stops the others
  ioasis pasid 6a:01.0 --rules linux-6.12`,
  p2p: `
Examples:
  ioasis p2p                                 who reaches whom without the IOMMU
  ioasis p2p 03:00.0 04:00.0 05:00.0         a matrix of these devices`,
  "explain-dma": `
Examples:
  ioasis explain-dma 03:00.0 --iova 0xfe000000     where a read of this device at that address goes
  ioasis explain-dma a --pasid 5 --iova 0x80104000 --platform examples/platforms/t2.yaml`,
  play: `
Examples:
  ioasis play examples/scenarios/s14-raw.yaml       one scenario, every hop and table entry
  ioasis play examples/scenarios --rules device-centric,linux-7.2
                                                    all of them, and where the rule sets differ
  ioasis play - < s13.yaml                          a scenario from standard input
  ioasis play s13.yaml --trace-file s13.json        for ui.perfetto.dev`,
  run: `
Examples:
  ioasis run -- lspci -tv                           what the default platform looks like
  ioasis run --platform host.yaml -- ./my-driver    a program that uses VFIO or /dev/iommu
  ioasis run --name lab -- ./my-driver              on a platform that ioasis serve runs`,
  serve: `
Examples:
  ioasis serve --name lab --platform host.yaml`,
  trace: `
Examples:
  ioasis trace lab                                  live
  ioasis trace lab --perfetto lab.json              for ui.perfetto.dev`,
  capture: `
Examples:
  sudo ioasis capture > host.json            everything the other commands need, to mail
  sudo ioasis capture --redact > host.json   without serial numbers, MAC addresses and host name
  ioasis capture --shell                     a one-line command for hosts without ioasis`,
};

/** Runs one command line; `out` is the terminal unless somebody else listens. */
export async function main(
  argv: readonly string[],
  out: Output = standardOutput(),
): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = makeProgram(async (run, args, options) => {
    code = await run(out, args, options, program);
  });
  for (const command of [program, ...program.commands]) {
    command.configureOutput({
      writeOut: (text) => out.line(text.trimEnd()),
      writeErr: (text) => out.note(text.trimEnd()),
    });
  }
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const isPlain = InputError.is(error) || error instanceof UsageError || isOfHost(error);
    if (isPlain || (error instanceof Error && error.name === "DaemonError")) {
      out.note(`ioasis: ${error.message}`);
      return 2;
    }
    throw error;
  }
  return code;
}

/** The host refused something: its message says what and where. */
function isOfHost(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error && "code" in error;
}

type Execute = (run: Run, args: readonly string[], options: CommonOptions) => Promise<void>;

interface CommandRow {
  readonly name: string;
  readonly operands: string;
  readonly text: string;
  readonly load: () => Promise<Run>;
  /** Works on an analysis: takes --from, --rules, --strict, --json. */
  readonly analysis: boolean;
}

const COMMANDS: readonly CommandRow[] = [
  {
    name: "groups",
    operands: "",
    text: "the isolation groups, computed, and compared with the kernel's",
    load: async () => (await import("./commands/groups.js")).run,
    analysis: true,
  },
  {
    name: "devices",
    operands: "[device...]",
    text: "what each device is, must share and may use",
    load: async () => (await import("./commands/devices.js")).run,
    analysis: true,
  },
  {
    name: "explain",
    operands: "[device...]",
    text: "why a device is in its group; why two share one or do not",
    load: async () => (await import("./commands/explain.js")).run,
    analysis: true,
  },
  {
    name: "pasid",
    operands: "[device...]",
    text: "PASID, ATS, PRI and SVA: who may, and what stops the rest",
    load: async () => (await import("./commands/pasid.js")).run,
    analysis: true,
  },
  {
    name: "p2p",
    operands: "[device...]",
    text: "who reaches whom without the IOMMU",
    load: async () => (await import("./commands/p2p.js")).run,
    analysis: true,
  },
  {
    name: "explain-dma",
    operands: "<device>",
    text: "what happens to one transaction, hop by hop",
    load: async () => (await import("./commands/explain-dma.js")).run,
    analysis: true,
  },
  {
    name: "play",
    operands: "<file...>",
    text: "scenarios: what software and devices of a platform do, step by step",
    load: async () => (await import("./commands/play.io.js")).run,
    analysis: false,
  },
  {
    name: "capture",
    operands: "",
    text: "write down this host as one file",
    load: async () => (await import("./commands/capture.js")).run,
    analysis: false,
  },
  {
    name: "run",
    operands: "[program...]",
    text: "a program on a platform: /dev/iommu, VFIO and sysfs without hardware",
    load: async () => (await import("./commands/run.io.js")).run,
    analysis: false,
  },
  {
    name: "serve",
    operands: "",
    text: "a platform that several programs share",
    load: async () => (await import("./commands/serve.io.js")).run,
    analysis: false,
  },
  {
    name: "ps",
    operands: "",
    text: "the platforms that run",
    load: async () => (await import("./commands/ps.io.js")).run,
    analysis: false,
  },
  {
    name: "why",
    operands: "[name]",
    text: "the last refusals of a running platform, with reasons",
    load: async () => (await import("./commands/why.io.js")).run,
    analysis: false,
  },
  {
    name: "trace",
    operands: "[name]",
    text: "what happens on a running platform: calls, DMA, faults",
    load: async () => (await import("./commands/trace.io.js")).run,
    analysis: false,
  },
  {
    name: "completion",
    operands: "<shell>",
    text: "completion script for bash, zsh or fish",
    load: async () => (await import("./commands/completion.js")).run,
    analysis: false,
  },
];

/** The whole command tree; also read by the completion and documentation generators. */
export function makeProgram(execute: Execute): Command {
  const program = new Command("ioasis")
    .description("Why devices share an IOMMU group, what each may do, and what can reach what.")
    .version(VERSION, "-V, --version")
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError("(ioasis --help lists the commands)")
    .configureHelp({ helpWidth: 100 })
    .addHelpText("after", SOURCE_HELP);
  for (const row of COMMANDS) addCommand(program, row, execute);
  return program;
}

function addCommand(program: Command, row: CommandRow, execute: Execute): void {
  const { name, operands, analysis } = row;
  const command = program
    .command(`${name} ${operands}`.trim())
    .description(row.text)
    .addHelpText("after", (EXAMPLES[name] ?? "") + (analysis ? SOURCE_HELP : ""))
    .exitOverride()
    .configureHelp({ helpWidth: 100 })
    .action(async (...given: unknown[]) => {
      const options = given[given.length - 2] as CommonOptions;
      const named = given.slice(0, -2).flat() as (string | undefined)[];
      const args = named.filter((a) => a !== undefined);
      const { devices, sources } = separateDevices(options.from ?? []);
      await execute(await row.load(), [...args, ...devices], { ...options, from: sources });
    });
  if (analysis) addAnalysisOptions(command);
  if (name === "explain-dma") {
    command
      .option("--iova <address>", "the address it sends to, 0x… or decimal")
      .option("--pasid <number>", "with this PASID")
      .option("--write", "a write instead of a read")
      .addOption(
        new Option(
          "--address-type <type>",
          "untranslated | translation-request | translated",
        ).default("untranslated"),
      )
      .option("--platform <file>", "a platform file as the host (as --from)");
  }
  if (name === "play") {
    command
      .addOption(
        new Option("--rules <sets>", "rule sets, with commas: device-centric, linux-7.2")
          .argParser((text: string) => text.split(","))
          .default(["device-centric"]),
      )
      .option("--verbose", "every step and every hop of more than two plays")
      .option("--trace-file <file>", "write a trace for Perfetto or Chrome's tracing page")
      .option("--json", "JSON: every step, every record of its trace, and the differences");
  }
  if (name === "run" || name === "serve") addPlatformOptions(command, name);
  if (name === "ps" || name === "why") command.option("--json", "JSON");
  if (name === "trace") {
    command.option("--perfetto <file>", "write a trace for Perfetto or Chrome's tracing page");
  }
  if (name === "capture") {
    command
      .option("--from <source...>", "convert another capture instead of reading this host")
      .option("--redact", "leave out serial numbers, MAC addresses and host names")
      .option("--shell", "print a one-line capture command for hosts without ioasis");
  }
}

function addPlatformOptions(command: Command, name: string): void {
  command
    .passThroughOptions()
    .option("--platform <file>", "a platform file, or the name of one that comes along")
    .option("--name <name>", name === "run" ? "join the running platform of this name" : "its name")
    .addOption(
      new Option(
        "--bind <functions>",
        "which functions vfio-pci has: addresses, all, none",
      ).argParser((text: string) => text.split(",")),
    )
    .option("--rules <set>", "device-centric | linux-7.2 (default: as the platform says)")
    .addOption(
      new Option(
        "--grant <caps>",
        "capabilities of all programs: ipc_lock, sys_rawio, sys_resource",
      ).argParser((text: string) => text.split(",")),
    )
    .option("--strict", "tell of calls that Linux lets pass without a word")
    .option("--trace <file>", "write a trace for Perfetto or Chrome's tracing page");
}

function addAnalysisOptions(command: Command): void {
  command
    .option("--from <source...>", "where the host is described (default: this host)")
    .addOption(
      new Option("--rules <set>", RULE_CHOICES.join(" | "))
        .default("auto" as RuleChoice)
        .argParser(parseRules),
    )
    .option("--strict", "count what hardware may route as if it did")
    .addOption(
      new Option(
        "--absent-acs <meaning>",
        "functions of one device without ACS: may reach each other (shares) or not (isolates)",
      ).choices(["shares", "isolates"]),
    )
    .option("--json", "JSON with a published schema (schemas/)")
    .option("--check", "exit 1 when the computed groups differ from the recorded ones");
}

/**
 * `--from` takes several sources, so devices written after it end up there: an address is a device.
 */
function separateDevices(from: readonly string[]): { devices: string[]; sources: string[] } {
  const isDevice = (text: string): boolean => parseBdf(text) !== undefined;
  return { devices: from.filter(isDevice), sources: from.filter((text) => !isDevice(text)) };
}
