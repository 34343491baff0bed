package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/projection/event"
)

// auditFile verifies what somebody hands over, with public keys alone.
func auditFile(name string, keys *audit.Keys) (*audited, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer f.Close()
	x := &audited{Origin: keys.Origin(), Problems: []finding{}}
	r := bufio.NewReaderSize(f, 64<<10)
	head, err := r.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(`{"format":"wfd-export`)):
		err = x.export(r, keys)
	case bytes.HasPrefix(head, []byte(`{"specversion"`)):
		return nil, usagef("%s: CloudEvents prove nothing; export with --format jsonl", name)
	default:
		// Of a proof, the payload as base64, and indentation.
		b, e := io.ReadAll(io.LimitReader(r, 2*eventlog.MaxPayload+1<<20))
		if e != nil {
			return nil, e
		}
		var d struct{ Format string }
		switch json.Unmarshal(b, &d); {
		case strings.HasPrefix(d.Format, "wfd-consistency"):
			err = x.consistency(b, keys)
		case bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")):
			err = x.proof(b, keys)
		default:
			err = x.checkpoints(b, keys)
		}
	}
	if err != nil && !x.found(err) {
		return nil, err
	}
	for i := range x.Problems {
		if x.Problems[i].File == "" {
			x.Problems[i].File = name
		}
	}
	return x, nil
}

func (x *audited) export(r io.Reader, keys *audit.Keys) error {
	x.Of = "export"
	at, run := eventlog.Seq(0), eventlog.RunID{}
	e, err := audit.VerifyExport(r, keys, audit.VerifyExportOptions{Describe: api.Describe, Announced: api.Announced, Event: func(e eventlog.Event) { at, run = e.Seq, e.Run }})
	if err != nil {
		if at > 0 {
			err = fmt.Errorf("%w (the last event read is seq %d, run %s)", err, at, run)
		}
		if x.found(err) {
			x.Problems[len(x.Problems)-1].Seq = at
			return nil
		}
		return err
	}
	x.From, x.To, x.Events, x.Disclosed = e.From, e.To, e.Events, e.Disclosed
	x.signed(e.Checkpoint)
	return nil
}

func (x *audited) proof(b []byte, keys *audit.Keys) error {
	x.Of = "proof"
	var d struct {
		Event struct {
			Seq eventlog.Seq
			Run string
		}
	}
	p, err := audit.CheckProof(b, keys)
	if err != nil {
		if json.Unmarshal(b, &d) == nil && x.found(err) { // what it claims to be of
			f := &x.Problems[0]
			f.Seq, f.Run = d.Event.Seq, d.Event.Run
			if f.Seq != 0 {
				f.What += fmt.Sprintf(": it claims to be of seq %d, run %s", f.Seq, f.Run)
			}
			return nil
		}
		return err
	}
	v, err := event.ViewOf(p.Event)
	if err != nil {
		v.Data = p.Event.Payload // of a kind that is not known here: proven all the same
	}
	x.Event, x.Events, x.From, x.To = &v, 1, p.Event.Seq, p.Event.Seq
	x.signed(p.Checkpoint)
	return nil
}

func (x *audited) consistency(b []byte, keys *audit.Keys) error {
	x.Of = "consistency"
	from, to, err := audit.CheckConsistency(b, keys)
	if err == nil {
		x.Earlier = from.Size
		x.signed(to)
	}
	return err
}

func (x *audited) checkpoints(b []byte, keys *audit.Keys) error {
	x.Of = "checkpoints"
	notes, err := readNotes(b)
	if err == nil && len(notes) == 0 {
		err = fmt.Errorf("%w: neither an export nor a proof nor checkpoints", audit.ErrFormat)
	}
	for i, n := range notes {
		c, err := audit.OpenCheckpoint(n, keys)
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", i+1, err)
		}
		x.Checkpoints++
		x.signed(c)
	}
	return err
}
