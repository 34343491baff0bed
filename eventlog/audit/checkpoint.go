package audit

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Checkpoint is what the log's owner signs: its first Size events, all of them
// and in this order, have this Root.
type Checkpoint struct {
	Origin string // of the log: "wfd.dev/" and its ID
	Size   uint64
	Root   [32]byte
}

// text is the body of a C2SP tlog-checkpoint: three lines.
func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// parseCheckpoint is the inverse of text, and accepts nothing else.
func parseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) == 4 {
		c.Origin = lines[0]
		var root []byte
		c.Size, err = strconv.ParseUint(lines[1], 10, 64)
		if err == nil {
			root, err = base64.StdEncoding.DecodeString(lines[2])
		}
		if err == nil && len(root) == len(c.Root) && c.Size <= math.MaxInt64 {
			if c.Root = [32]byte(root); c.text() == text && validOrigin(c.Origin) {
				return c, nil
			}
		}
	}
	return Checkpoint{}, fmt.Errorf("%w: not the three lines of a checkpoint", ErrFormat)
}

const originPrefix = "wfd.dev/"

// validOrigin accepts the names of logs that [Open] makes up.
func validOrigin(s string) bool {
	id, ok := strings.CutPrefix(s, originPrefix)
	return ok && len(id) >= 8 && len(id) <= 64 && strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}

// signCheckpoint returns c as a signed note.
func signCheckpoint(c Checkpoint, by *signer) ([]byte, error) { return signNote(c.text(), by) }

// OpenCheckpoint returns the checkpoint in a signed note. An error that Is
// [ErrSignature] says that none of the keys that may sign a tree of this size
// has signed it.
func OpenCheckpoint(msg []byte, keys *Keys) (Checkpoint, error) {
	text, by, err := openNote(msg, keys.verifiers())
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := parseCheckpoint(text)
	if err != nil {
		return c, err
	}
	return c, keys.maySign(by, c)
}
