package eventlogtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// Disk is a file system of its own whose power can be cut: ext4 in a file, by way of a
// loop device. What a cut leaves is what the file system had written to its device.
type Disk struct {
	Dir  string // where it is mounted
	t    testing.TB
	loop string
}

// NewDisk makes a disk of so many megabytes. Where that is not possible the test is
// skipped, with the reason.
func NewDisk(t testing.TB, megabytes int64) *Disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("power cuts are skipped: they need root, to mount a file system")
	}
	for _, tool := range []string{"losetup", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("power cuts are skipped: %s is not installed", tool)
		}
	}
	root := t.TempDir()
	image := filepath.Join(root, "disk.img")
	d := &Disk{t: t, Dir: filepath.Join(root, "mnt")}
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(megabytes << 20)
		f.Close()
	}
	if err == nil {
		err = os.Mkdir(d.Dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("power cuts are skipped: no loop device: %v: %s", err, out)
	}
	d.loop = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		syscall.Unmount(d.Dir, syscall.MNT_DETACH)
		exec.Command("losetup", "-d", d.loop).Run()
	})
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.loop).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if err := d.mount(); err != nil {
		t.Skipf("power cuts are skipped: mount: %v", err)
	}
	return d
}

func (d *Disk) mount() error { return syscall.Mount(d.loop, d.Dir, "ext4", 0, "") }

// Ext4's ioctl that takes the file system down, without writing anything more.
const (
	ioctlShutdown = 0x8004587d
	noLogFlush    = 2
)

// Cut cuts the power. From then on everything on the disk fails.
func (d *Disk) Cut() {
	d.t.Helper()
	f, err := os.Open(d.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	how := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Skipf("power cuts are skipped: the file system cannot be shut down: %v", errno)
	}
}

// Restore mounts the disk again after a cut. Nobody may have anything open on it.
func (d *Disk) Restore() {
	d.t.Helper()
	if err := syscall.Unmount(d.Dir, 0); err != nil {
		d.t.Fatalf("unmount: %v", err)
	}
	if err := d.mount(); err != nil {
		d.t.Fatalf("the file system does not mount after a cut: %v", err)
	}
}
