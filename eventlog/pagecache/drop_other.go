//go:build !linux

package pagecache

import "os"

// Drop does nothing where there is no way to ask for it.
func Drop(*os.File) {}
