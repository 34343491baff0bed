//go:build !linux

package doctor

import (
	"golang.org/x/sys/unix"
)

func volumeOf(dir string) (v volume, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return v, err
	}
	name := make([]byte, 0, len(s.Fstypename))
	for _, c := range s.Fstypename {
		if c == 0 {
			break
		}
		name = append(name, byte(c))
	}
	v.kind = string(name)
	v.free, v.all = uint64(s.Bavail)*uint64(s.Bsize), uint64(s.Blocks)*uint64(s.Bsize)
	return v, nil
}

// synchronised: it cannot be told here.
func synchronised() bool { return true }
