package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// logPayload makes events of about 184 bytes, as the layout was chosen by.
const logPayload = 112

// log appends to the log alone. The disk is asked for the same after every append, so
// that both see the same minute; with several clients it is asked afterwards.
func (b *bench) log(ctx context.Context) (err error) {
	l := &life{}
	log, err := eventlog.Open(filepath.Join(b.dir, "data"), eventlog.Options{Keys: b.keys, OnCommit: l.noted.note})
	if err != nil {
		return err
	}
	l.log = log
	defer func() { err = errors.Join(err, log.Close()) }()
	payload := make([]byte, logPayload)
	rand.Read(payload) // never fails: see crypto/rand
	records := make([]eventlog.Record, b.Steps)
	for i := range records {
		records[i] = eventlog.Record{Time: time.Now().UnixNano(), Kind: 9, Actor: "engine", Payload: payload}
	}
	one := func(i int) error {
		_, err := log.Append(ctx, eventlog.Append{ID: eventlog.AppendID(i + 1), Run: runNo(i), Records: records})
		return err
	}
	if b.Clients > 1 {
		if err := b.measure(ctx, l, one); err != nil {
			return err
		}
		batches, err := l.batches(0)
		if err != nil {
			return err
		}
		return b.rawOf(batches, float64(b.r.Runs*b.Steps), 1)
	}
	d, err := openDisk(b.dir)
	if err != nil {
		return err
	}
	defer d.close()
	var took, raw spread
	before := spentBy(l)
	for end := time.Now().Add(b.Limit); len(took) < b.Runs && time.Now().Before(end) && ctx.Err() == nil; {
		began := time.Now()
		if err := one(len(took)); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		t, err := d.write(b.Steps * (envelope + len("engine") + logPayload))
		if err != nil {
			return err
		}
		raw = append(raw, t)
	}
	if len(took) == 0 {
		return ctx.Err()
	}
	b.took(took, took.sum())
	b.r.Cost = spentBy(l).since(before, float64(len(took)*b.Steps))
	b.raw(float64(len(raw)*b.Steps)/raw.sum().Seconds(), raw.at(0.5), raw.at(0.99))
	return nil
}
