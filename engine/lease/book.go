package lease

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection/event"
)

// Lease is what a worker holds.
type Lease struct {
	Task ID `json:"task"`
	Claim
	Length     time.Duration `json:"length"` // how long it lasts unless it is renewed
	Since      event.Time    `json:"since"`
	Deadline   event.Time    `json:"deadline,omitzero"` // of the attempt; 0 = none
	Checkpoint event.Value   `json:"checkpoint,omitempty"`
}

const (
	format = 1
	// spare is how much more than what counts the file may hold before it is written
	// anew: few enough rewrites for many leases, and a small file for few.
	spare = 1 << 20
)

// header is the first line of the file.
type header struct {
	Format int    `json:"wfd_leases"`
	Key    []byte `json:"key"`
}

// line is every other one.
type line struct {
	*Lease
	Ended *ID `json:"ended,omitempty"`
}

// Book remembers leases. It is safe for concurrent use. A book whose file cannot be
// written goes on in memory: what it keeps is worth less than the work.
type Book struct {
	slog *slog.Logger
	ring *crypt.Ring // lines are sealed as events are
	path string      // "": in memory only
	key  [32]byte    // of the codes of tokens

	mu     sync.Mutex
	file   *os.File // nil: in memory only, or it cannot be written
	leases map[ID]Lease
	size   int64 // of the file
	live   int64 // of it: what a file written anew would have, nearly
	sick   bool  // the last write failed
}

// Open opens the book at path, and begins one if there is none; "" is a book in
// memory. ring has the data keys of the log, if that is encrypted. A book that cannot be
// read is begun anew, with a key of its own. The caller sees to it that nobody else has
// it open.
func Open(path string, ring *crypt.Ring, logger *slog.Logger) (*Book, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	b := &Book{slog: logger, ring: ring, path: path, leases: map[ID]Lease{}}
	rand.Read(b.key[:]) // never fails: see crypto/rand
	if path == "" {
		return b, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("leases: %w", err)
	}
	if err == nil {
		b.read(text)
	}
	if err := b.rewrite(); err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	return b, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// place is what lines are encrypted for.
var place = []byte("lease")

// seal makes a line of the file.
func (b *Book) seal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("lease: " + err.Error()) // of plain fields
	}
	if s := b.ring.Series(); s != nil {
		text = base64.StdEncoding.AppendEncode(nil, s.Box(place, text))
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text)
}

// unseal returns what a line holds; ok is false if it is not whole.
func (b *Book) unseal(text []byte) (content []byte, ok bool) {
	if len(text) < 10 || text[8] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(text[:8]), 16, 32)
	content = text[9:]
	if err != nil || uint32(sum) != crc32.Checksum(content, castagnoli) {
		return nil, false
	}
	if len(content) == 0 || content[0] == '{' { // which base64 does not have
		return content, true
	}
	box, err := base64.StdEncoding.AppendDecode(nil, content)
	if err == nil {
		content, err = b.ring.Open(place, box)
	}
	return content, err == nil
}

// read takes up what a file says.
func (b *Book) read(text []byte) {
	damaged := 0
	first := true
	for l := range bytes.Lines(text) {
		content, ok := b.unseal(bytes.TrimSuffix(l, []byte("\n")))
		if first {
			var h header
			if !ok || json.Unmarshal(content, &h) != nil || h.Format != format || len(h.Key) != len(b.key) {
				b.slog.Warn("the book of leases cannot be read and is begun anew: tasks that workers hold are handed out again", "file", b.path)
				return
			}
			copy(b.key[:], h.Key)
			first = false
			continue
		}
		var e line
		if len(l) == 1 { // between what a failed write left and the next line
			continue
		}
		if !ok || json.Unmarshal(content, &e) != nil {
			damaged++
			continue
		}
		switch {
		case e.Ended != nil:
			delete(b.leases, *e.Ended)
		case e.Lease != nil:
			b.leases[e.Lease.Task] = *e.Lease
		}
	}
	if damaged > 0 {
		b.slog.Warn("the book of leases has damaged lines, which are passed over", "file", b.path, "lines", damaged)
	}
}

// Leases returns the leases that are held, oldest first.
func (b *Book) Leases() []Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.leases), func(l, o Lease) int {
		return cmp.Or(cmp.Compare(l.Since, o.Since), cmp.Compare(l.Task.String(), o.Task.String()))
	})
}

// Put notes leases as they stand. When it returns they survive the death of the
// process.
func (b *Book) Put(leases ...Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(leases...)
}

// put is Put with mu held.
func (b *Book) put(leases ...Lease) {
	var text []byte
	for _, l := range leases {
		if old, held := b.leases[l.Task]; held {
			b.live -= width(&old)
		}
		b.leases[l.Task] = l
		b.live += width(&l)
		text = append(text, b.seal(line{Lease: &l})...)
	}
	b.write(text)
}

// Renew is Put for a lease that may have ended meanwhile: then it is nothing.
func (b *Book) Renew(l Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, held := b.leases[l.Task]; held && old.Attempt == l.Attempt {
		b.put(l)
	}
}

// End notes that a lease on an attempt has ended. A later attempt's is not touched.
func (b *Book) End(id ID, attempt int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, held := b.leases[id]
	if !held || l.Attempt != attempt {
		return
	}
	delete(b.leases, id)
	b.live -= width(&l)
	b.write(b.seal(line{Ended: &id}))
}

// width is about what a lease takes in the file.
func width(l *Lease) int64 { return int64(256 + len(l.Worker) + 2*len(l.Checkpoint)) }

// write appends to the file. Called with mu held.
func (b *Book) write(text []byte) {
	if b.path == "" {
		return
	}
	if b.sick || b.size > 2*b.live+spare {
		b.note(b.rewrite())
		return // what was to be written is in it
	}
	n, err := b.file.Write(text)
	b.size += int64(n)
	b.note(err)
}

// note says once that the file cannot be written, and once that it can again.
func (b *Book) note(err error) {
	switch {
	case err != nil && !b.sick:
		b.slog.Error("the book of leases cannot be written: after a restart tasks that workers hold are handed out again", "file", b.path, "error", err)
	case err == nil && b.sick:
		b.slog.Info("the book of leases is written again", "file", b.path)
	}
	b.sick = err != nil
}

// Scrub takes what has ended out of the file.
func (b *Book) Scrub() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" {
		return nil
	}
	err := b.rewrite()
	b.note(err)
	return err
}

// rewrite puts a new file with what counts in the place of the old one. If we crash
// before the rename, the old one stands.
func (b *Book) rewrite() (err error) {
	text := b.seal(header{format, b.key[:]})
	b.live = 0
	for _, l := range b.leases {
		b.live += width(&l)
		text = append(text, b.seal(line{Lease: &l})...)
	}
	f, err := os.OpenFile(b.path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync() // else a rename may survive a power cut that its content does not
	}
	if err == nil {
		err = os.Rename(f.Name(), b.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if b.file != nil {
		b.file.Close() // it has no name any more
	}
	b.file, b.size = f, int64(len(text))
	return nil
}

// Close closes the file. Nothing may be noted any more.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}
