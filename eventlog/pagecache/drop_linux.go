package pagecache

import (
	"os"

	"golang.org/x/sys/unix"
)

// Drop asks the kernel to forget the pages of a file that was synced, so that
// reading it again reads what is on the disk.
func Drop(f *os.File) {
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // a wish: if it is not heard, what is read is what the kernel holds
}
