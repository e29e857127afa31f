/** Command line of the tool. */
import { parseArgs } from "node:util";
import { ToolError } from "../debian/tool-error.js";
import { type KernelName, kernelSources } from "./kernel-source.js";

export interface Options {
  readonly help: boolean;
  readonly list: boolean;
  /** Compare with what is stored instead of writing. */
  readonly check: boolean;
  readonly refresh: boolean;
  readonly only: readonly string[] | undefined;
  readonly kernel: KernelName | undefined;
  readonly cache: string | undefined;
  readonly out: string | undefined;
  readonly mirror: string | undefined;
  readonly qemu: string | undefined;
}

export const usage = `usage: npm run ground-truth -- [options]

Boots Debian's kernels in QEMU and stores the PCI captures and IOMMU groups they make.

  --list             name the topologies and their kernels, boot nothing
  --only NAME,...    only these topologies
  --kernel VERSION   only this kernel: ${kernelSources.map((one) => one.name).join(", ")}
  --check            compare the groups with the stored ones; write nothing (exit 1: different)
  --out DIR          write below DIR instead of the repository
  --cache DIR        packages and unpacked kernels (default ~/.cache/ioasis-ground-truth)
  --refresh          fetch the package lists again
  --mirror URL       Debian mirror (default: the one this machine's apt uses)
  --qemu PROGRAM     use this QEMU instead of Debian's
  --help             this text
`;

/** Throws {@link ToolError} for an unknown option or kernel. */
export function parseOptions(argv: readonly string[]): Options {
  const values = parse(argv);
  const kernel = kernelSources.find((one) => one.name === values.kernel)?.name;
  if (values.kernel !== undefined && kernel === undefined) {
    const known = kernelSources.map((one) => one.name).join(", ");
    throw new ToolError(`--kernel ${values.kernel}: known kernels are ${known}`);
  }
  return {
    help: values.help === true,
    list: values.list === true,
    check: values.check === true,
    refresh: values.refresh === true,
    only: values.only?.split(","),
    kernel,
    cache: values.cache,
    out: values.out,
    mirror: values.mirror,
    qemu: values.qemu,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        help: { type: "boolean", short: "h" },
        list: { type: "boolean" },
        check: { type: "boolean" },
        refresh: { type: "boolean" },
        only: { type: "string" },
        kernel: { type: "string" },
        cache: { type: "string" },
        out: { type: "string" },
        mirror: { type: "string" },
        qemu: { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new ToolError(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
}
