package eventlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
)

// Bounds of one batch, and with it of one commit; an append that does not fit
// waits until the writer has taken the batch. One append larger than that
// makes a batch of its own.
const (
	maxBatchEvents = 16384
	maxBatchBytes  = 4 << 20
)

// runHead is where a run stands.
type runHead struct {
	version Version
	time    int64
}

// entry is an encoded append in a batch.
type entry struct {
	run    RunID
	first  Version
	times  []int64
	bytes  []byte // the records, each behind its CRC
	ends   []int  // of each record in bytes
	isBlob []bool // per record; nil if none refers to a blob
	leaves [][32]byte
}

func (e *entry) head() runHead {
	return runHead{e.first + Version(len(e.times)) - 1, e.times[len(e.times)-1]}
}

// entries recycles the buffers of appends.
var entries = sync.Pool{New: func() any { return new(entry) }}

// batch is what one commit stores.
type batch struct {
	entries []*entry
	events  int
	bytes   int
	taken   chan struct{} // closed when the batch takes no more
	done    chan struct{} // closed when base and err are final
	base    Seq           // of its first event
	err     error
}

func newBatch(spare []*entry) *batch {
	return &batch{entries: spare[:0], taken: make(chan struct{}), done: make(chan struct{})}
}

// Append implements [Log].
//
// Encoding, hashing and the writing of blobs happen here, in the caller's
// goroutine and outside of any lock; what is left to the writer is to copy
// bytes and to join hashes. Who appends alone does that too: to wake the writer, and
// to be woken by it, would be a good part of what a lone append takes. Where others
// append as well, the moment until the writer is awake lets them join.
func (d *DB) Append(ctx context.Context, a Append) (Seq, error) {
	if err := a.Validate(); err != nil {
		return 0, err
	}
	if d.opts.ReadOnly {
		return 0, ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := d.quarantined(a.Run); err != nil {
		return 0, err
	}
	blobs := false
	for i := range a.Records {
		blobs = blobs || len(a.Records[i].Payload) > BlobOver
	}
	if blobs {
		// Do not write a blob for an append that is going to be refused.
		if err := d.precheck(&a); err != nil {
			return 0, err
		}
		d.blobs.referring.RLock()
	}
	e, err := d.encode(&a, blobs)
	var b *batch
	var offset int
	var own bool
	if err == nil {
		b, offset, own, err = d.enqueue(ctx, &a, e)
	}
	if err != nil {
		if blobs {
			d.blobs.referring.RUnlock()
		}
		return 0, err
	}
	if own {
		d.storeOwn(b)
	}
	if err := b.wait(ctx); err != nil {
		return 0, err
	}
	return b.base + Seq(offset), nil
}

// wait waits for the outcome. Whoever gives up does not learn it, unless it is final by then.
func (b *batch) wait(ctx context.Context) error {
	if ctx.Done() == nil {
		<-b.done // cheaper than to wait for either
		return b.err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
	}
	select {
	case <-b.done:
		return b.err
	default:
		return fmt.Errorf("%w: gave up waiting: %w", ErrUnknown, ctx.Err())
	}
}

// encode turns a into the bytes and leaves of its events.
func (d *DB) encode(a *Append, blobs bool) (*entry, error) {
	n := len(a.Records)
	e := entries.Get().(*entry)
	*e = entry{run: a.Run, first: a.Expect + 1, times: e.times[:0], bytes: e.bytes[:0], ends: e.ends[:0], leaves: e.leaves[:0]}
	if blobs {
		e.isBlob = make([]bool, n)
	}
	var few [16 * 16]byte
	salts := few[:]
	if n*16 > len(salts) {
		salts = make([]byte, n*16)
	}
	rand.Read(salts[:n*16]) // never fails: it crashes the program instead
	r := record{run: a.Run, append: a.ID}
	for i := range a.Records {
		src := &a.Records[i]
		r.version, r.time, r.kind, r.actor = e.first+Version(i), src.Time, src.Kind, src.Actor
		copy(r.salt[:], salts[16*i:])
		r.form, r.payload, r.hash = payloadInline, src.Payload, payloadHash(&r.salt, src.Payload)
		if len(src.Payload) > BlobOver {
			ref, err := d.blobs.store(src.Payload)
			if err != nil {
				entries.Put(e)
				return nil, d.blobFailed(err)
			}
			r.form, r.payload, r.blob = payloadBlob, nil, ref
			e.isBlob[i] = true
		}
		e.bytes = r.appendTo(e.bytes)
		e.ends = append(e.ends, len(e.bytes))
		e.times = append(e.times, r.time)
		e.leaves = append(e.leaves, leafHash(&r.run, r.version, r.kind, r.time, r.actor, r.hash))
	}
	return e, nil
}

// blobFailed decides what a blob that could not be written means: nothing was
// stored, and unless it is for want of space, the disk is not to be trusted.
func (d *DB) blobFailed(err error) error {
	if outOfSpace(err) {
		return fmt.Errorf("blob: %w: %w", ErrFull, err)
	}
	d.stop(err)
	return fmt.Errorf("blob: %w: %w", ErrStopped, err)
}

// refusal returns why the log accepts nothing. The caller holds mu.
func (d *DB) refusal() error {
	switch {
	case d.closing:
		return ErrClosed
	case d.failed != nil:
		return fmt.Errorf("%w: %w", ErrStopped, stripUnknown(d.failed))
	}
	return nil
}

// stripUnknown returns the cause of the error that stopped the log: what comes
// after it was certainly not stored, so its error must not be ErrUnknown.
func stripUnknown(err error) error {
	if errors.Is(err, ErrUnknown) {
		return errors.New(err.Error())
	}
	return err
}

// enqueue puts e into the open batch, if the run is where a expects it, and
// returns the batch and the place of e's first event in it. From then on e is
// the writer's; with own, the batch is taken and the caller has to store it.
// A caller that may give up waiting is never asked to.
func (d *DB) enqueue(ctx context.Context, a *Append, e *entry) (_ *batch, offset int, own bool, _ error) {
	var cold runHead
	var coldAt *[]*segment // the segments that cold was looked up in
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if err := d.refusal(); err != nil {
			return nil, 0, false, err
		}
		b := d.batch
		if b.events > 0 && (b.events+len(e.ends) > maxBatchEvents || b.bytes+len(e.bytes) > maxBatchBytes) {
			d.mu.Unlock()
			select {
			case <-b.taken:
			case <-ctx.Done():
				d.mu.Lock()
				return nil, 0, false, ctx.Err()
			}
			d.mu.Lock()
			continue
		}
		h, ok := d.warmHead(a.Run)
		if !ok {
			// The run has not been seen in the open segment. Looking for it in
			// the others may take reads, so it is done outside of mu; the answer
			// holds as long as no other segment becomes the open one.
			if segs := d.segs.Load(); segs != coldAt {
				d.mu.Unlock()
				head, err := headIn(*segs, a.Run)
				d.mu.Lock()
				if err != nil {
					return nil, 0, false, err
				}
				cold, coldAt = head, segs
				continue
			}
			h = cold
		}
		if err := a.follows(h.version, h.time); err != nil {
			return nil, 0, false, err
		}
		offset = b.events
		b.entries = append(b.entries, e)
		b.events += len(e.ends)
		b.bytes += len(e.bytes)
		d.pending[a.Run] = e.head()
		if !d.busy && d.alone && ctx.Done() == nil && len(d.cuts) == 0 {
			return d.take(), offset, true, nil
		}
		poke(d.wake)
		return b, offset, false, nil
	}
}

// precheck refuses early what enqueue would refuse.
func (d *DB) precheck(a *Append) error {
	d.mu.Lock()
	err := d.refusal()
	h, ok := d.warmHead(a.Run)
	d.mu.Unlock()
	if err == nil && !ok {
		h, err = headIn(*d.segs.Load(), a.Run)
	}
	if err != nil {
		return err
	}
	return a.follows(h.version, h.time)
}

// warmHead returns where run stands if it has enqueued appends or events in
// the open segment. The caller holds mu.
func (d *DB) warmHead(run RunID) (runHead, bool) {
	if h, ok := d.pending[run]; ok {
		return h, true
	}
	e, n, _ := d.open().entry(run, false) // from RAM: no error
	return runHead{e.first + Version(n) - 1, e.time}, n > 0
}

// headIn returns where run stands by its durable events.
func headIn(segs []*segment, run RunID) (runHead, error) {
	_, e, n, err := find(segs, run)
	if err != nil || n == 0 {
		return runHead{}, err
	}
	return runHead{e.first + Version(n) - 1, e.time}, nil
}
