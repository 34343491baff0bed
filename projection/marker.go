package projection

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// The marker says how far the file of the views can be trusted. Commits to it
// are not synced: the kernel has them, so a crash of the process loses nothing,
// but a crash of the machine may leave any mixture of pages. So the marker says
// "dirty", with the ID of this boot of the kernel, before the first commit; and
// "clean" after a sync. Dirty under another boot means: build anew.
const markerFile = "state"

// fileFormat is the layout of the files in the directory.
const fileFormat = 1

// bootID names this boot of the kernel; it is empty where the system has no
// such name, and then a dirty file is never trusted.
var bootID = func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// sealedMark is the last line of the marker of a file whose values are sealed.
const sealedMark = "sealed"

// writeMarker is on disk when it returns.
func writeMarker(dir string, sealed, clean bool) error {
	state := "dirty"
	if clean {
		state = "clean"
	}
	text := fmt.Sprintf("wfd views %d\n%s\nboot %s\n", fileFormat, state, bootID())
	if sealed {
		text += sealedMark + "\n"
	}
	return durable.WriteFile(filepath.Join(dir, markerFile), []byte(text), 0o600)
}

// readMarker returns why the files of dir cannot be trusted, or "". sealed says whether
// their values are to be.
func readMarker(dir string, sealed bool) (clean bool, reason string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, markerFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, "nothing says that they were kept", nil
	}
	if err != nil {
		return false, "", err
	}
	var format int
	var state, boot string
	if _, err := fmt.Sscanf(string(b), "wfd views %d\n%s\nboot %s\n", &format, &state, &boot); err != nil && state == "" {
		return false, "their state file is damaged", nil
	}
	switch is := strings.HasSuffix(string(b), "\n"+sealedMark+"\n"); {
	case is && !sealed:
		return false, "they are encrypted, and the log is not any more", nil
	case !is && sealed:
		return false, "they are not encrypted, and the log is", nil
	case format != fileFormat:
		return false, fmt.Sprintf("their format is %d, this is %d", format, fileFormat), nil
	case state == "clean":
		return true, "", nil
	case state != "dirty":
		return false, "their state file is damaged", nil
	case boot == "" || boot != bootID():
		return false, "the machine stopped while they were written", nil
	}
	return false, "", nil
}
