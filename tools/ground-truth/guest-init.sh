#!/bin/busybox sh
# First process of the virtual machine: prepares the devices, writes a capture to the second serial
# port, switches the machine off. What to do is in /plan (one "word argument" per line).

/bin/busybox mkdir -p /bin /run /proc /sys /dev /out
/bin/busybox --install -s /bin
export PATH=/bin LC_ALL=C
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
echo 1 >/proc/sys/kernel/printk

functions() { ls /sys/bus/pci/devices; }

complain() { echo "$*" >>/out/problems.txt; }

# The modules carry their place in the loading order in front of their names.
for file in /modules/*.ko; do
  [ -e "$file" ] || continue
  insmod "$file" 2>/run/said || complain "insmod $file: $(cat /run/said)"
done
sleep 1

while read -r word argument; do
  case $word in
    sriov)
      count=${argument#*=}
      where=/sys/bus/pci/devices/${argument%=*}
      echo "$count" >"$where/sriov_numvfs" 2>/run/said ||
        complain "sriov $argument: $(cat /run/said)"
      sleep 1
      ;;
    stub)
      for name in $(functions); do
        where=/sys/bus/pci/devices/$name
        [ -e "$where/driver" ] && continue
        echo pci-stub >"$where/driver_override"
        echo "$name" >/sys/bus/pci/drivers_probe
      done
      ;;
    remove) echo 1 >"/sys/bus/pci/devices/$argument/remove" || complain "remove $argument" ;;
    rescan)
      echo 1 >/sys/bus/pci/rescan || complain rescan
      sleep 1
      ;;
  esac
done </plan

link() { [ -e "$1" ] && basename "$(readlink -f "$1")" || echo -; }
value() { cat "$1" 2>/dev/null | tr '\n ' ',,' | sed 's/,$//'; }

cd /sys/kernel/iommu_groups 2>/dev/null && for group in $(ls | sort -n); do
  for name in $(ls "$group/devices"); do echo "GROUP $group $name"; done
done >/out/groups.txt
touch /out/groups.txt

cd /sys/kernel/iommu_groups 2>/dev/null && for group in $(ls | sort -n); do
  echo "GROUP $group type=$(value "$group/type") name=$(value "$group/name")"
  cat "$group/reserved_regions"
done >/out/reserved.txt

for name in $(functions); do
  cd "/sys/bus/pci/devices/$name" || continue
  echo "DEV $name vendor=$(value vendor) device=$(value device)" \
    "sub=$(value subsystem_vendor):$(value subsystem_device) class=$(value class)" \
    "rev=$(value revision) group=$(link iommu_group) iommu=$(link iommu) driver=$(link driver)" \
    "ari=$(value ari_enabled) numvfs=$(value sriov_numvfs)/$(value sriov_totalvfs)" \
    "physfn=$(link physfn) secbus=$(value secondary_bus_number)" \
    "subbus=$(value subordinate_bus_number)" \
    "reset=$(value reset_method) numa=$(value numa_node) path=$(readlink -f .)"
done >/out/devices.txt

cd /
lspci $(cat /lspci-options) >/out/lspci.txt 2>/out/lspci-said.txt
lspci -t >/out/lspci-t.txt 2>/dev/null
dmesg >/out/dmesg.txt
cat /proc/cmdline >/out/cmdline.txt
{ uname -r; cat /proc/version; } >/out/kernel.txt
for table in DMAR IVRS IORT VIOT; do
  [ -e "/sys/firmware/acpi/tables/$table" ] || continue
  base64 "/sys/firmware/acpi/tables/$table" >"/out/$(echo $table | tr A-Z a-z).b64"
done

{ tar -C /out -c . | gzip | base64; echo END; } >"$(cat /answer-port)"
sync
poweroff -f
