/**
 * `ls -l` listings and `path: value` lines of sysfs, as people paste them, made into a tree and
 * read as one. Links without a directory of their own are taken as entries of /sys/bus/pci/devices.
 */
import type { CapturePart } from "../capture.js";
import { parseSysfs } from "./sysfs.js";
import { isSysfsPath, SysfsFiles } from "./sysfs-files.js";
import type { TextLines } from "./text.js";

const LINK = /(?:^|\s)(\/?(?:[\w.:+@-]+\/)*[\w.:+@-]+) -> (\S+)\s*$/;
const HEADER = /^(?:== )?(\/sys\/[^\s:]+(?::[^\s:]+)*):?(?: -> \S+)?\s*$/;
const VALUE = /^(\/(?:sys|proc)\/(?:[^\s/]{1,255}\/){0,40}[^\s/:]{1,255}): ?(.*)$/;
const DEVICES = "/sys/bus/pci/devices";

export function looksLikeSysfsListing(head: string): boolean {
  return (
    / -> \.\.\/\S*devices\/(?:pci[0-9a-f]{4}|virtual\/iommu)/i.test(head) ||
    /^(?:== )?\/sys\/(?:bus\/pci|class\/iommu|devices\/(?:pci|virtual\/iommu))/m.test(head)
  );
}

/** Undefined when nothing of use is listed. @throws InputError when a value is damaged. */
export function parseSysfsListing(text: TextLines): CapturePart | undefined {
  const tree = new SysfsFiles();
  let directory = DEVICES;
  for (const line of text.lines) {
    const value = VALUE.exec(line);
    if (value?.[2] && isSysfsPath(value[1] ?? "")) {
      tree.files.set(value[1] ?? "", encode(value[2]));
      continue;
    }
    const header = HEADER.exec(line);
    if (header !== null) {
      directory = headDirectory(header[1] ?? "");
      if (directory === "/sys/class/iommu") tree.directories.add(directory);
      if (line.includes(" -> ")) addLink(tree, header[1] ?? "", line.replace(/^.* -> /, "").trim());
      continue;
    }
    const link = LINK.exec(line);
    if (link === null) continue;
    const name = link[1] ?? "";
    addLink(tree, name.startsWith("/") ? name : `${directory}/${name}`, link[2] ?? "");
  }
  return parseSysfs(tree, { file: text.file });
}

const encode = (value: string): Uint8Array =>
  Uint8Array.from(value, (c) => Math.min(c.charCodeAt(0), 0x7f));

/** A unit of /sys/class/iommu is listed to show its devices. */
function headDirectory(path: string): string {
  return /\/iommu\/[^/]+$/.test(path) ? `${path}/devices` : path;
}

function addLink(tree: SysfsFiles, path: string, target: string): void {
  const unit = /^(\/sys\/bus\/pci\/devices)\/((?:dmar|ivhd|smmu3?\.)\S*)$/.exec(path);
  tree.links.set(unit === null ? path : `/sys/class/iommu/${unit[2]}`, target);
}
