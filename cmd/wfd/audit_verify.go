package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
	Problems    []finding    `json:"problems"`
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

// verifying are the flags of wfd audit verify.
type verifying struct {
	from, state string
	keys, kept  []string
	here        bool // in this process; see auditApart
}

func (a *app) auditVerify() *cobra.Command {
	var v verifying
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify a data directory; or an export, a proof or checkpoints with the public key alone",
		Long: `Verify a data directory that no daemon holds, or a copy of one: that all events are
undamaged and are those that were signed for, at every checkpoint. With --from,
verify what somebody else has handed over: an export, a proof, or signed
checkpoints; that needs the public key and nothing else. Exit 6 if anything is
damaged, missing, rewritten or forged; file, seqs and run are named as far as
they are known.

Without --key the data directory's own key counts, which says nothing about a log
that was replaced together with its key.`,
		Example: `  wfd audit verify --data copy --key log.pub --kept kept.txt
  wfd audit verify --from proof.json --key log.pub
  wfd audit verify --state verified.json     # the next time only what is new`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := readPublic(v.keys)
			if err != nil {
				return err
			}
			if v.from != "" {
				if keys == nil {
					return usagef("--from needs --key: who hands over the file does not choose the key")
				}
				if v.state != "" || len(v.kept) > 0 {
					return usagef("--state and --kept are for a data directory")
				}
				x, err := auditFile(v.from, keys)
				if err != nil {
					return err
				}
				return a.concludeAudit(v.from, x)
			}
			if a.sources["addr"] > a.sources["data"] {
				return usagef("wfd audit verify works on a directory that no daemon holds: use --data, with a copy if need be")
			}
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
				return &coded{exitNotFound, fmt.Errorf("there is no data directory %s", dir)}
			}
			if v.here {
				return a.auditHere(dir, keys, &v)
			}
			x, err := a.auditApart(cmd.Context(), dir, &v)
			if err != nil {
				return err
			}
			return a.concludeAudit(dir, x)
		},
	}
	f := cmd.Flags()
	f.StringVar(&v.from, "from", "", "verify this file: an export, a proof, or signed checkpoints")
	f.StringArrayVar(&v.keys, "key", nil, "file with the public key, or with rotations that lead on from it; may be repeated")
	f.StringArrayVar(&v.kept, "kept", nil, "file with checkpoints that were kept elsewhere; may be repeated")
	f.StringVar(&v.state, "state", "", "remember in this file how far the log was verified, and look only at what is new")
	f.BoolVar(&v.here, "here", false, "")
	f.MarkHidden("here")
	return cmd
}

// readPublic reads public keys and rotations; nil if no file is named.
func readPublic(files []string) (keys *audit.Keys, err error) {
	var public, chain []byte
	for _, name := range files {
		b, err := readFile(name)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(b, []byte("\n— ")) { // signed: rotations
			chain = append(chain, b...)
		} else {
			public = append(append(public, b...), '\n')
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	if keys, err = audit.ParseKeys(public); err != nil {
		return nil, usagef("--key: %w", err)
	}
	if keys, err = keys.Follow(chain); err != nil {
		return nil, asAudit("--key", err)
	}
	return keys, nil
}

// readNotes reads signed notes, one behind the other; lines with # are for people.
func readNotes(b []byte) (notes [][]byte, err error) {
	var text strings.Builder
	for l := range strings.Lines(string(b)) {
		if !strings.HasPrefix(l, "#") {
			text.WriteString(l)
		}
	}
	rest := strings.TrimLeft(text.String(), "\n")
	for rest != "" {
		said, after, ok := strings.Cut(rest, "\n\n")
		if !ok || !strings.HasPrefix(after, "— ") {
			return nil, fmt.Errorf("%w: note %d has no signature", audit.ErrFormat, len(notes)+1)
		}
		signed, next, _ := strings.Cut(after, "\n\n")
		notes = append(notes, []byte(said+"\n\n"+strings.TrimRight(signed, "\n")+"\n"))
		rest = strings.TrimLeft(next, "\n")
	}
	return notes, nil
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
	{audit.ErrForked, "forked"},
	{audit.ErrSignature, "not-signed"},
	{audit.ErrDamaged, "damaged"},
	{audit.ErrProof, "not-proven"},
	{audit.ErrFormat, "malformed"},
	{audit.ErrUnsigned, "unsigned"},
	{audit.ErrKey, "key"},
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
	e, err := audit.VerifyExport(r, keys, audit.VerifyExportOptions{Describe: api.Describe, Event: func(e eventlog.Event) { at, run = e.Seq, e.Run }})
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

func (x *audited) signed(c audit.Checkpoint) {
	if c.Size >= x.Signed {
		x.Signed, x.Root = c.Size, hex.EncodeToString(c.Root[:])
	}
}

// auditApart has the log verified by another process: a file that the disk
// cannot read ends the process that has it mapped.
func (a *app) auditApart(ctx context.Context, dir string, v *verifying) (*audited, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"audit", "verify", "--here", "--data", dir}
	for flag, files := range map[string][]string{"--key": v.keys, "--kept": v.kept, "--state": {v.state}} {
		for _, name := range files {
			if name != "" {
				args = append(args, flag, name)
			}
		}
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), "WFD_ADDR=") // else the two would exclude each other
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	x := &audited{}
	if json.Unmarshal(out.Bytes(), x) == nil && x.Problems != nil {
		return x, nil
	}
	said := strings.TrimPrefix(strings.TrimSpace(errs.String()), "wfd: ")
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Exited() && !strings.Contains(said, "fatal error: ") {
		return nil, &coded{ended.ExitCode(), errors.New(said)}
	}
	x = &audited{Of: "log", Problems: []finding{{Class: "damaged", What: fmt.Sprintf("damaged: the process that read the log was ended (%v): the disk cannot read a file; wfd check names it", err)}}}
	return x, nil
}

// auditHere verifies a data directory, and prints what it found as JSON.
func (a *app) auditHere(dir string, keys *audit.Keys, v *verifying) error {
	o := audit.VerifyOptions{Keys: keys, State: v.state}
	for _, name := range v.kept {
		b, err := readFile(name)
		if err != nil {
			return err
		}
		notes, err := readNotes(b)
		if err != nil {
			return asAudit(name, err)
		}
		o.Checkpoints = append(o.Checkpoints, notes...)
	}
	x := &audited{Of: "log", Problems: []finding{}}
	r, err := verifyLog(dir, o)
	switch {
	case err == nil:
		x.Origin, x.From, x.To, x.Events, x.Checkpoints = r.Origin, r.From, r.Head, r.Events, r.Checkpoints
		x.signed(r.Signed)
		for _, p := range r.Problems {
			x.found(p)
		}
		if len(r.Problems) == 0 && r.Signed.Size == 0 && r.Head > 0 {
			x.found(fmt.Errorf("%w: checkpoints.txt has no checkpoint of these %d events: nothing is proven", audit.ErrUnsigned, r.Head))
		}
	case !x.found(err):
		var held *eventlog.LockedError
		if errors.As(err, &held) {
			return fmt.Errorf("%w\nhint: stop the daemon, verify a copy, or verify what wfd audit export writes", held)
		}
		return asStorage(dir, err)
	}
	return json.NewEncoder(a.stdout).Encode(x)
}

// verifyLog verifies a whole log; or, where a state says how far it was verified
// before, what is new.
func verifyLog(dir string, o audit.VerifyOptions) (*audit.Report, error) {
	if o.State != "" {
		if _, err := os.Stat(o.State); err == nil {
			return verifyNew(dir, o)
		}
	}
	return audit.VerifyDir(dir, o)
}

func verifyNew(dir string, o audit.VerifyOptions) (r *audit.Report, err error) {
	// Opening makes what is not there.
	if _, err := os.Stat(filepath.Join(dir, "catalog.db")); err != nil {
		return audit.VerifyDir(dir, o)
	}
	db, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		var corrupt *eventlog.CorruptError
		if errors.As(err, &corrupt) {
			return nil, fmt.Errorf("%w: %w", audit.ErrDamaged, err)
		}
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	x, err := audit.Open(dir, db, audit.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	return x.VerifyNew(o)
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
		return &coded{exitStorage, fmt.Errorf("%s: not verified: %d problems", of, n)}
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
	t.printf("log %s\nroot %s\n", x.Origin, x.Root)
}

// place is the finding on one line, with the file where the error has none.
func (f *finding) place() string {
	if f.File == "" || strings.Contains(f.What, f.File) {
		return f.What
	}
	return f.File + ": " + f.What
}
