package projection

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
)

// maxPart is how much of a name stands in a key; of a longer one, its hash.
const maxPart = 512

// part appends a name to a key so that no name is the beginning of another.
func part(key []byte, s string) []byte {
	if len(s) > maxPart {
		h := sha256.Sum256([]byte(s))
		s = s[:maxPart-len(h)] + string(h[:])
	}
	key = binary.AppendUvarint(key, uint64(len(s)))
	return append(key, s...)
}

// newest appends seq so that later ones sort first.
func newest(key []byte, seq eventlog.Seq) []byte {
	return binary.BigEndian.AppendUint64(key, ^uint64(seq))
}

// ErrCursor: a cursor that no list gave out, or one of another list.
var ErrCursor = errors.New("cursor does not belong to this list")

// A cursor names the key after which a page begins, and the list it is of. Keys
// that are added meanwhile move nothing: pages neither repeat nor skip a row
// that stays in the list.
func makeCursor(list string, last []byte) string {
	h := sha256.Sum256([]byte(list))
	return base64.RawURLEncoding.EncodeToString(append(h[:4:4], last...))
}

// after returns the first key of the page that begins at cursor.
func after(list, cursor string, prefix []byte) ([]byte, error) {
	if cursor == "" {
		return prefix, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 4 {
		return nil, fmt.Errorf("%w: %q", ErrCursor, clip(cursor, 80))
	}
	h := sha256.Sum256([]byte(list))
	if [4]byte(b) != [4]byte(h[:4]) {
		return nil, ErrCursor
	}
	return append(append(append([]byte(nil), prefix...), b[4:]...), 0), nil
}
