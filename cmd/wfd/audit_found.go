package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/projection/event"
)

// audited is what wfd audit verify found.
type audited struct {
	Of          string       `json:"of"` // log, proof, consistency, export or checkpoints
	Origin      string       `json:"origin,omitempty"`
	From        eventlog.Seq `json:"from,omitempty"`
	To          eventlog.Seq `json:"to,omitempty"`
	Events      uint64       `json:"events"`                // that were looked at
	Disclosed   uint64       `json:"disclosed,omitempty"`   // of an export: with their payloads
	Checkpoints int          `json:"checkpoints,omitempty"` // that were compared
	Signed      uint64       `json:"signed"`                // size of the last checkpoint that holds
	Root        string       `json:"root,omitempty"`        // of that checkpoint
	Earlier     uint64       `json:"earlier,omitempty"`     // of a consistency proof: size of the first
	Event       *event.View  `json:"event,omitempty"`       // of a proof
	// Restored are the logs that this one was restored from, the oldest first.
	Restored []restoredFrom `json:"restored,omitempty"`
	Problems []finding      `json:"problems"`
}

// restoredFrom is a log whose first events another one begins with.
type restoredFrom struct {
	Origin string `json:"origin"`
	At     uint64 `json:"at"`     // events that were restored
	Signed uint64 `json:"signed"` // that it is known to have been signed for
}

// finding is one thing that is wrong, and where.
type finding struct {
	Class string       `json:"class"`
	File  string       `json:"file,omitempty"`
	Seq   eventlog.Seq `json:"seq,omitempty"`
	To    eventlog.Seq `json:"to,omitempty"`
	Run   string       `json:"run,omitempty"`
	What  string       `json:"what"` // all of it in one line
	Hint  string       `json:"hint,omitempty"`
}

// asAudit makes what an audit ended in an error with its exit code.
func asAudit(of string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", of, err)
	for _, class := range classes {
		if errors.Is(err, class.err) {
			return &coded{exitStorage, err}
		}
	}
	return err
}

// classes are what can be wrong with a log, and with what is said of it.
var classes = []struct {
	err  error
	name string
}{
	{audit.ErrTruncated, "truncated"},
	{audit.ErrRewritten, "rewritten"},
	{audit.ErrRestored, "restored"},
	{audit.ErrForked, "forked"},
	{audit.ErrSignature, "not-signed"},
	{audit.ErrDamaged, "damaged"},
	{audit.ErrProof, "not-proven"},
	{audit.ErrFormat, "malformed"},
	{audit.ErrUnsigned, "unsigned"},
	{audit.ErrKey, "key"},
}

// className returns the class of an error, "" if it is of none.
func className(err error) string {
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return ""
}

// found adds an error to what was found, if it is one of a class.
func (x *audited) found(err error) bool {
	for _, c := range classes {
		if !errors.Is(err, c.err) {
			continue
		}
		f := finding{Class: c.name, What: err.Error(), Hint: api.AuditHint(err)}
		if c.err == audit.ErrKey && errors.Is(err, fs.ErrNotExist) {
			f.Hint = "a log that was never signed has none: wfd audit head signs it; else it was removed: bring the key with --key"
		}
		var p *audit.Problem
		if errors.As(err, &p) {
			f.File, f.Seq, f.To = p.File, p.From, p.To
			if !p.Run.IsZero() {
				f.Run = p.Run.String()
			}
		}
		x.Problems = append(x.Problems, f)
		return true
	}
	return false
}

func (x *audited) signed(c audit.Checkpoint) {
	if c.Size >= x.Signed {
		x.Signed, x.Root = c.Size, hex.EncodeToString(c.Root[:])
	}
}

// concludeAudit prints what was found. Anything wrong is exit 6.
func (a *app) concludeAudit(of string, x *audited) error {
	raw, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := a.print(raw, func(t *text) { showAudited(t, x) }); err != nil {
		return err
	}
	if n := len(x.Problems); n > 0 {
		return &coded{exitStorage, fmt.Errorf("%s: not verified: %s", of, many(n, "problem"))}
	}
	return nil
}

func showAudited(t *text, x *audited) {
	hint := ""
	for _, p := range x.Problems {
		t.printf("%s\n", p.place())
		if hint == "" { // of the first: what follows may follow from it
			hint = p.Hint
		}
	}
	if hint != "" {
		t.printf("hint: %s\n", hint)
	}
	if len(x.Problems) > 0 {
		return
	}
	switch x.Of {
	case "log":
		t.printf("ok: seq %d to %d are as they were signed for at %d checkpoints; the last one is of %d events\n", x.From, x.To, x.Checkpoints, x.Signed)
		if n := uint64(x.To) - x.Signed; n > 0 {
			t.printf("the %d events after it are not signed for yet\n", n)
		}
	case "export":
		t.printf("ok: all %d events from seq %d to %d, %d of them with payloads, as signed for at %d events\n", x.Events, x.From, x.To, x.Disclosed, x.Signed)
	case "proof":
		e := x.Event
		t.printf("ok: seq %d is in the log, as signed for at %d events\n", e.Seq, x.Signed)
		t.printf("%s  %s  %s  run %s, version %d\n", e.Time.Std().Format(time.RFC3339Nano), e.Kind, e.Actor, e.Run, e.Version)
		if b, err := json.Marshal(e.Data); err == nil {
			t.printf("%s\n", line(string(b), 400))
		}
	case "consistency":
		t.printf("ok: from %d to %d events the log was only appended to\n", x.Earlier, x.Signed)
	case "checkpoints":
		t.printf("ok: %d checkpoints are signed; the last one is of %d events\n", x.Checkpoints, x.Signed)
	}
	for _, p := range x.Restored {
		t.printf("restored from %s at %d events", p.Origin, p.At)
		if p.Signed > p.At {
			t.printf("; %d more that it was signed for were left behind", p.Signed-p.At)
		}
		t.printf("\n")
	}
	t.printf("log %s\nroot %s\n", x.Origin, x.Root)
}

// place is the finding on one line, with the file where the error has none.
func (f *finding) place() string {
	if f.File == "" || strings.Contains(f.What, f.File) {
		return f.What
	}
	return f.File + ": " + f.What
}
