package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// checked is what wfd check found.
type checked struct {
	Segments     int      `json:"segments"`
	Events       uint64   `json:"events"`
	Streams      int      `json:"streams"` // runs, and system streams
	Blobs        int      `json:"blobs"`
	Root         string   `json:"root,omitempty"`
	Unreferenced []string `json:"unreferenced,omitempty"`
	Views        string   `json:"views,omitempty"` // "equal", or the first difference
	Folded       int      `json:"folded"`
	Problems     []defect `json:"problems"`
	Unsound      bool     `json:"unsound,omitempty"` // the log itself is damaged, and was not looked into
}

// defect is one place where the data is not as it should be.
type defect struct {
	File string       `json:"file,omitempty"`
	Seq  eventlog.Seq `json:"seq,omitempty"`
	To   eventlog.Seq `json:"to,omitempty"` // the last one, if it is of several
	Run  string       `json:"run,omitempty"`
	What string       `json:"what"`
	// Class is that of a problem of what was signed; none: damaged.
	Class string `json:"class,omitempty"`
}

func (d *defect) String() string {
	s := cmp.Or(d.Class, "damaged")
	if d.File != "" {
		s += ": " + d.File
	}
	if d.Seq != 0 {
		s += fmt.Sprintf(", seq %d", d.Seq)
	}
	if d.To > d.Seq {
		s += fmt.Sprintf(" to %d", d.To)
	}
	if d.Run != "" {
		s += ", run " + d.Run
	}
	return s + ": " + d.What
}

// defectOf returns what an audit found as what a check found.
func defectOf(p *audit.Problem) defect {
	d := defect{File: p.File, Seq: p.From, To: p.To, What: p.What, Class: className(p)}
	if d.Class == "damaged" {
		d.Class = ""
	}
	if cause := p.Err.Error(); d.What == "" || d.Class != "" && cause != d.Class {
		d.What = strings.TrimSuffix(cause+": "+d.What, ": ")
	}
	if !p.Run.IsZero() {
		d.Run = p.Run.String()
	}
	return d
}

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use:   "check [BACKUP]",
		Short: "Verify a data directory: files, events, views, and every run; or a backup",
		Long: `Verify a data directory that no daemon holds: the structure of every file, every
checksum, that the events are dense and the tree over them is theirs, that the
views are what the events make them, that every run folds to a lawful state, and that
the events are those that were signed for, if any were.
The log's files are changed in no way. Of a BACKUP, that every file is as it was
written; see wfd backup verify. Exit 6 if anything is damaged.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.verifyBackup(cmd.Context(), args[0])
			}
			if a.sources["addr"] > a.sources["data"] {
				return usagef("wfd check works on a directory that no daemon holds: use --data")
			}
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
				return &coded{exitNotFound, fmt.Errorf("there is no data directory %s", dir)}
			}
			c, err := a.checkFiles(cmd.Context(), dir)
			if err == nil && !c.Unsound {
				err = a.checkMeaning(cmd.Context(), dir, c)
			}
			if err != nil {
				return err
			}
			raw, err := json.Marshal(c)
			if err != nil {
				return err
			}
			if err := a.print(raw, func(t *text) { showChecked(t, c) }); err != nil {
				return err
			}
			if len(c.Problems) > 0 {
				return &coded{exitStorage, fmt.Errorf("%s: %s", dir, many(len(c.Problems), "problem"))}
			}
			return nil
		},
	}
}

func showChecked(t *text, c *checked) {
	for i := range c.Problems {
		t.printf("%s\n", c.Problems[i].String())
	}
	if len(c.Problems) > 0 {
		return
	}
	t.printf("ok: %d events in %d segments, %d blobs; views equal; %d runs folded\n", c.Events, c.Segments, c.Blobs, c.Folded)
	t.printf("root %s\n", c.Root)
	if n := len(c.Unreferenced); n > 0 {
		t.printf("%d files in blobs/ belong to no event; they do no harm\n", n)
	}
}

// checkFiles has the log checked by another process: a file that the disk cannot
// read ends the process that has it mapped, and that must not be this one.
func (a *app) checkFiles(ctx context.Context, dir string) (*checked, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "check-log", "--data", dir, "--key-file", a.keyFile)
	cmd.Args[0] = os.Args[0]
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 64<<20)
	at := ""
	for lines.Scan() {
		var l struct {
			At     string
			Report *checked
			Locked *eventlog.LockedError
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue // the process died while it wrote it
		}
		switch {
		case l.Locked != nil:
			return nil, l.Locked
		case l.Report != nil:
			return l.Report, nil
		}
		at = l.At
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) && !ended.Exited() {
		return &checked{Unsound: true, Problems: []defect{{File: at, What: "the process that read it was ended: " + ended.String()}}}, nil
	}
	return nil, asStorage(dir, fmt.Errorf("it could not be checked: %s", bytes.TrimSpace(errs.Bytes())))
}

// checkLog is what checkFiles runs.
func (a *app) checkLog() *cobra.Command {
	return &cobra.Command{
		Use: "check-log", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			enc := json.NewEncoder(a.stdout)
			last := ""
			keys, err := a.dataKeys()
			if err != nil {
				return err
			}
			c, err := checkDir(a.data, keys, func(file string, _ uint64) {
				if file != last {
					last = file
					enc.Encode(map[string]string{"At": file}) // to a pipe, for the case that this process dies here
				}
			})
			var held *eventlog.LockedError
			if errors.As(err, &held) {
				return enc.Encode(map[string]any{"Locked": held})
			}
			if err != nil {
				return err
			}
			return enc.Encode(map[string]any{"Report": c})
		},
	}
}

// checkDir checks a log, and that it is what was signed for, if anything was.
func checkDir(dir string, keys crypt.Keys, progress func(file string, events uint64)) (*checked, error) {
	log := watchedDir{audit.Dir(dir), keys, progress}
	var found []*audit.Problem
	rep, err := (*eventlog.CheckReport)(nil), error(nil)
	if audit.Signs(dir) {
		var r *audit.Report
		r, err = audit.VerifyBy(log, dir, audit.VerifyOptions{Announced: api.Announced})
		switch {
		case err == nil:
			rep, found = r.Log, r.Problems
		case className(err) != "": // of the files beside the log
			found, err = []*audit.Problem{{Err: err}}, nil
		}
	}
	if rep == nil && err == nil {
		if rep, err = log.Check(eventlog.CheckOptions{}); err == nil {
			for _, p := range rep.Problems {
				found = append(found, audit.Damaged(p))
			}
		}
	}
	if err != nil {
		return nil, err
	}
	c := &checked{Segments: rep.Segments, Events: rep.Events, Streams: rep.Runs, Blobs: rep.Blobs, Root: fmt.Sprintf("%x", rep.Root), Unreferenced: rep.Unreferenced}
	c.Problems, c.Unsound = []defect{}, rep.Err() != nil
	for _, p := range found {
		c.Problems = append(c.Problems, defectOf(p))
	}
	return c, nil
}

// watchedDir is a directory that tells what of it is being read.
type watchedDir struct {
	audit.Dir
	keys     crypt.Keys
	progress func(file string, events uint64)
}

// Check implements [audit.Checker].
func (d watchedDir) Check(o eventlog.CheckOptions) (*eventlog.CheckReport, error) {
	o.Progress, o.Keys = d.progress, d.keys
	return d.Dir.Check(o)
}

// checkMeaning opens the log, which is sound, and checks what is made of it.
func (a *app) checkMeaning(ctx context.Context, dir string, c *checked) error {
	log, err := a.logger(0)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "catalog.db")); err != nil {
		return nil // an empty directory
	}
	keys, err := a.dataKeys()
	if err != nil {
		return err
	}
	db, views, err := engine.Store(dir, keys, log, nil)
	if err != nil {
		return asStorage(dir, err)
	}
	p := &progress{a: a}
	err = views.Verify(ctx, p.seq)
	c.Views = "equal"
	if err != nil && ctx.Err() == nil {
		c.Views = err.Error()
		c.Problems = append(c.Problems, defect{File: "views", What: err.Error()})
		err = nil
	}
	if err == nil {
		err = c.erasures(ctx, db)
	}
	if err == nil {
		err = foldAll(ctx, db, views, c, p)
	}
	p.done()
	return errors.Join(err, views.Close(), db.Close())
}

// progress tells the one at a terminal how far a check is.
type progress struct {
	a     *app
	shown time.Time
}

func (p *progress) seq(done, head eventlog.Seq) { p.show("views", uint64(done), uint64(head)) }

func (p *progress) show(what string, done, all uint64) {
	if !isTerminal(p.a.stderr) || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.a.stderr, "\r%s: %d of %d ", what, done, all)
}

func (p *progress) done() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.a.stderr, "\r\x1b[K")
	}
}
