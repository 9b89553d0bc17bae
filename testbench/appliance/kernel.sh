#!/bin/sh
# kernel.sh ROOT ARCH: mmdebstrap's customize hook. It takes Debian's kernel without installing it, which would run
# update-initramfs (many minutes under emulation), and keeps only the modules that the test's machines use.
set -eu
root=$1 arch=$2
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
package=$(apt-cache depends "linux-image-$arch" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -q "$package" && dpkg-deb -x "$package"_*.deb tree)

version=${package#linux-image-}
from=$work/tree/lib/modules/$version to=$root/usr/lib/modules/$version
mkdir -p "$to" "$root/boot"
cp "$work/tree/boot/vmlinuz-$version" "$root/boot/vmlinuz"
cp "$from"/modules.builtin "$from"/modules.builtin.modinfo "$from"/modules.order "$to/"
depmod -b "$work/tree" "$version"
# A line of modules.dep names a module and all that it needs.
for module in virtio_pci virtio_blk virtio_net virtio_rng ext4 crc32c_generic autofs4 xhci_pci usbserial ftdi_sio \
	cdc_acm hci_vhci algif_hash algif_skcipher cmac ecb aes_generic sha256_generic; do
	pattern=$(echo "$module" | sed 's/_/[-_]/g') # the kernel takes both for the same, and its files have either
	sed -n "s,^\(.*/$pattern\.ko\):,\1,p" "$from/modules.dep" | grep . || echo "$module is not there" >&2
done | tr ' ' '\n' | sort -u | while read -r file; do
	[ -n "$file" ] || continue
	mkdir -p "$to/$(dirname "$file")"
	cp "$from/$file" "$to/$file"
done
depmod -b "$root" "$version"
# What a test machine has no use for, and would have to copy at every start.
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/locale/* "$root"/usr/share/man/* "$root"/var/cache/apt/*.bin \
	"$root"/var/lib/apt/lists/*_* "$root"/var/cache/debconf/*-old
