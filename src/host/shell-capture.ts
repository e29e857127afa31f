/**
 * A capture without this program: one line for a shell, whose output loads like any other file.
 *
 * It needs lspci (pciutils) and the usual POSIX tools. Sections begin with `==> COMMAND <==`.
 * Nothing is written except the output file; without root the capture ends at the first 64 bytes of
 * each function and has no tables.
 */
export const SHELL_CAPTURE_SCRIPT = [
  'p() { echo "==> $* <=="; "$@"; echo; }',
  "p uname -a",
  "p cat /proc/cmdline",
  "p lspci -Dnnvvvxxxx",
  "p ls -l /sys/bus/pci/devices /sys/class/iommu",
  "p ls -l /sys/class/iommu/*/devices /sys/kernel/iommu_groups/*/devices",
  "p grep -s . /sys/bus/pci/slots/*/address /sys/bus/pci/devices/*/removable",
  "p grep -s . /sys/class/iommu/*/*-iommu/* /sys/kernel/iommu_groups/*/type",
  "p ls /sys/firmware/acpi/tables",
  "for t in DMAR IVRS IORT VIOT; do p base64 /sys/firmware/acpi/tables/$t; done",
].join("; ");

/** What to paste; writes `host.txt`. */
export const SHELL_CAPTURE = `sudo sh -c '${SHELL_CAPTURE_SCRIPT}' 2>/dev/null >host.txt`;
