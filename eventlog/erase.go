package eventlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Span names the events From to To of one run.
type Span struct {
	Run      RunID
	From, To Version
}

// Erased is what [DB.Erase] did.
type Erased struct {
	Events   int   // whose payload is gone
	Segments int   // that were rewritten
	Blobs    int   // that were removed
	Bytes    int64 // by which the log's files have become smaller
}

// Erase takes the payloads and salts of the events in spans out of every file of
// the log, and leaves what left returns in their place: nil, or bytes that the
// producer can still decode. The events' leaves keep the payloads' salted hashes,
// so every proof stays valid. An event that was erased before comes with what is
// left of it, and may lose more. left must give the same answer each time: after a
// crash the erasure is not complete, and is to be repeated, and [DB.Sweep] called.
//
// Whether it may be done, and that it was, is for the caller to say, in the log,
// before it is done. The segments concerned are rewritten one after the other
// while the log goes on; each is out of reach for the time of a rename.
func (d *DB) Erase(ctx context.Context, spans []Span, left func(Event) ([]byte, error)) (Erased, error) {
	var done Erased
	if d.opts.ReadOnly {
		return done, ErrReadOnly
	}
	d.erasing.Lock() // one at a time: two could not rewrite the same segment
	defer d.erasing.Unlock()
	work, err := d.located(spans)
	if err != nil {
		return done, err
	}
	if open := d.open(); len(work[open]) > 0 {
		if err := d.cut(ctx); err != nil {
			return done, err
		}
	}
	blobs := make(map[string]bool)
	for _, s := range slices.SortedFunc(maps.Keys(work), func(a, b *segment) int { return int(a.first) - int(b.first) }) {
		seqs := work[s]
		next, ok := nextSegmentEdge(*d.segs.Load(), s)
		if !ok {
			return done, fmt.Errorf("%s: not sealed", s.name)
		}
		n := 0
		freed, err := d.rewrite(ctx, s, next, func(seq Seq, r *record) error {
			if _, ok := slices.BinarySearch(seqs, seq); !ok {
				return nil
			}
			n++
			return d.eraseRecord(seq, r, left, blobs)
		})
		if err != nil {
			return done, err
		}
		done.Events += n
		done.Segments++
		done.Bytes += freed
	}
	if len(blobs) == 0 {
		return done, nil
	}
	removed, freed, err := d.sweep(func(name string, isBlob bool) bool { return isBlob && blobs[name] })
	done.Blobs += len(removed)
	done.Bytes += freed
	return done, err
}

// eraseRecord makes r an erased one, and notes the blob it no longer refers to.
func (d *DB) eraseRecord(seq Seq, r *record, left func(Event) ([]byte, error), blobs map[string]bool) error {
	e := Event{
		Seq: seq, Run: r.run, Version: r.version, Time: r.time, Kind: r.kind, Actor: r.actor,
		Payload: r.payload, Append: r.append, Salt: r.salt,
	}
	switch r.form {
	case payloadErased:
		e.Erased, e.Hash = true, r.hash
	case payloadBlob:
		p, err := d.blobs.load(&r.blob)
		if err != nil {
			return err
		}
		e.Payload = p
		for _, name := range d.blobs.names(&r.blob.sum) {
			blobs[name] = true
		}
	}
	rest, err := left(e)
	if err != nil {
		return err
	}
	if len(rest) > BlobOver {
		return fmt.Errorf("%w: %d bytes are left of the payload of event %d, limit %d", ErrTooLarge, len(rest), seq, BlobOver)
	}
	r.hash = e.PayloadHash()
	r.form, r.payload, r.blob, r.salt = payloadErased, rest, blobRef{}, [16]byte{}
	return nil
}

// located returns the seqs of the events in spans, by segment and in order.
func (d *DB) located(spans []Span) (map[*segment][]Seq, error) {
	segs, err := d.readable()
	if err != nil {
		return nil, err
	}
	work := make(map[*segment][]Seq)
	for _, span := range spans {
		p := probesOf(span.Run)
		for _, s := range segs {
			if s.without(p) {
				continue
			}
			e, n, err := s.entry(span.Run, true)
			if err != nil {
				return nil, err
			}
			for v := max(span.From, e.first); n > 0 && v <= min(span.To, e.first+Version(n)-1); v++ {
				work[s] = append(work[s], s.first+Seq(e.offs[v-e.first]))
			}
		}
	}
	for s := range work {
		slices.Sort(work[s])
		work[s] = slices.Compact(work[s])
	}
	return work, nil
}

// Usage says what the files of the log take.
type Usage struct {
	Segments int64 `json:"segments"`
	Blobs    int64 `json:"blobs"`
	Archives int64 `json:"archives"`
	Catalog  int64 `json:"catalog"`
}

// Usage returns the bytes of the log's files.
func (d *DB) Usage() (u Usage, err error) {
	if fi, err := os.Stat(filepath.Join(d.dir, catalogName)); err == nil {
		u.Catalog = fi.Size()
	}
	for dir, n := range map[string]*int64{logDir: &u.Segments, "blobs": &u.Blobs, archiveDir: &u.Archives} {
		if *n, err = treeSize(filepath.Join(d.dir, dir)); err != nil {
			return u, err
		}
	}
	return u, nil
}

// An Eraser is what a [Log] may offer besides: to take payloads out of it.
type Eraser interface {
	Erase(ctx context.Context, spans []Span, left func(Event) ([]byte, error)) (Erased, error)
	WriteArchive(ctx context.Context, spans []Span) (Archive, error)
	AdoptArchive(id ArchiveID) error
	EraseArchived(ctx context.Context, spans []Span) error
	Archives() ([]Archive, error)
	SweepArchives() (removed []string, err error)
	Sweep() (removed []string, err error)
	// Settled and Settle keep the seq of the last event whose erasures are
	// complete: what the log orders after it is to be done again.
	Settled() (Seq, error)
	Settle(Seq) error
	Usage() (Usage, error)
}

var _ Eraser = (*DB)(nil)

var keySettled = []byte("settled")

// Settled implements [Eraser].
func (d *DB) Settled() (seq Seq, err error) {
	err = d.catalog.view(func(tx storeTx) error {
		v := tx.get(bucketMeta, keySettled)
		switch len(v) {
		case 0:
		case 8:
			seq = Seq(binary.BigEndian.Uint64(v))
		default:
			return &CorruptError{File: catalogName, What: "seq of the last erasure"}
		}
		return nil
	})
	return seq, err
}

// Settle implements [Eraser].
func (d *DB) Settle(seq Seq) error {
	if d.opts.ReadOnly {
		return ErrReadOnly
	}
	return d.updateCatalog(func(tx storeTx) error { return tx.put(bucketMeta, keySettled, seqKey(seq)) })
}
