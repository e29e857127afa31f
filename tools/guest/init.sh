#!/bin/busybox sh
# First process of a guest with a DMA engine passed through: prints on the console what lspci sees,
# resets the engine, has it copy eight bytes of the guest's memory, and switches the machine off.
#
# The kernel is to leave memory at 0x8000000 alone (memmap=1M$0x8000000): /dev/mem may reach it.

/bin/busybox mkdir -p /bin /run /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin LC_ALL=C
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
echo 1 >/proc/sys/kernel/printk

lspci -vv -nn 2>/dev/null

FROM=0x8000000 TO=0x8001000

engine() {
  for where in /sys/bus/pci/devices/*; do
    [ "$(cat "$where/vendor")$(cat "$where/device")" = 0x1af40x10d0 ] && echo "$where"
  done
}

# copy DEVICE: registers as in docs/devices/dma-engine.md.
copy() {
  read -r bar rest <"$1/resource"
  base=$((bar + 0x1000))
  devmem $FROM 64 0x1122334455667788
  devmem $TO 64 0
  echo "ID $(devmem $base 32)"
  devmem $((base + 0x10)) 32 1
  devmem $((base + 0x20)) 64 $FROM
  devmem $((base + 0x28)) 64 $TO
  devmem $((base + 0x30)) 32 8
  devmem $((base + 0x08)) 32 1
  echo "STATUS $(devmem $((base + 0x0c)) 32) ERROR $(devmem $((base + 0x44)) 32)"
  echo "COPIED $(devmem $TO 64)"
}

# set_command DEVICE OCTAL: low byte of the command register.
set_command() { printf "\\$2" | dd of="$1/config" bs=1 seek=4 conv=notrunc 2>/dev/null; }

device=$(engine)
if [ -n "$device" ]; then
  echo "RESET BY $(cat "$device/reset_method")"
  echo 1 >"$device/reset" && echo "RESET DONE"
  set_command "$device" 002
  echo "WITHOUT BUS MASTERING"
  copy "$device"
  set_command "$device" 006
  echo "WITH BUS MASTERING"
  copy "$device"
fi
poweroff -f
