package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

// auditApart has the log verified by another process: a file that the disk
// cannot read ends the process that has it mapped.
func (a *app) auditApart(ctx context.Context, dir string, v *verifying) (*audited, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"audit", "verify", "--here", "--data", dir, "--key-file", a.keyFile}
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
func (a *app) auditHere(dir string, keys []*audit.Keys, v *verifying) error {
	dataKeys, err := a.dataKeys()
	if err != nil {
		return err
	}
	o := audit.VerifyOptions{Keys: keys, DataKeys: dataKeys, State: v.state, Announced: api.Announced}
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
		for _, p := range r.Past {
			x.Restored = append(x.Restored, restoredFrom{p.Origin, p.Size, p.Signed})
		}
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
	db, err := eventlog.Open(dir, eventlog.Options{Keys: o.DataKeys})
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
