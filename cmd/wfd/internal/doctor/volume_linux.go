package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// magics names file systems by the number that statfs gives. It is that of the kernel's
// linux/magic.h, and of the file systems that are not in there.
var magics = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	0x2fc12fc1: "zfs", 0xca451a4e: "bcachefs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs",
	unix.NFS_SUPER_MAGIC: "nfs", 0xff534d42: "cifs", unix.SMB2_SUPER_MAGIC: "smb2", unix.SMB_SUPER_MAGIC: "smb", unix.V9FS_MAGIC: "9p",
	unix.AFS_SUPER_MAGIC: "afs", unix.CEPH_SUPER_MAGIC: "ceph", 0x0bd00bd0: "lustre", unix.OCFS2_SUPER_MAGIC: "ocfs2", 0x01161970: "gfs2",
	0x786f4256: "vboxsf", unix.FUSE_SUPER_MAGIC: "fuse", unix.MSDOS_SUPER_MAGIC: "vfat", 0x2011bab0: "exfat",
}

func volumeOf(dir string) (v volume, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return v, err
	}
	kind := int64(uint32(s.Type))
	if v.kind = magics[kind]; v.kind == "" {
		v.kind = fmt.Sprintf("file system %#x", kind)
	}
	v.free, v.all = s.Bavail*uint64(s.Bsize), s.Blocks*uint64(s.Bsize)
	v.nodes, v.nodesFree = s.Files, s.Ffree
	return v, nil
}

// synchronised reports whether somebody keeps the clock right, or that cannot be told.
func synchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err != nil || state != unix.TIME_ERROR
}
