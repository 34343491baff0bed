package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wfd-dev/wfd/eventlog"
)

// forge DIR OLD NEW writes the log of a data directory anew, with a text replaced by
// another of the same length: as somebody who can write to the disk, and knows the
// format, but does not have the key. Every checksum, hash and head is right.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: forge DIR OLD NEW, of one length")
	}
	dir := ts.MkAbs(args[0])
	made := dir + ".forged"
	n, err := rewriteLog(dir, made, []byte(args[1]), []byte(args[2]))
	ts.Check(err)
	if n == 0 {
		ts.Fatalf("no event of %s has %q", args[0], args[1])
	}
	for _, name := range []string{"log", "catalog.db", "blobs", "views", "archives"} {
		ts.Check(os.RemoveAll(filepath.Join(dir, name)))
		if err := os.Rename(filepath.Join(made, name), filepath.Join(dir, name)); !os.IsNotExist(err) {
			ts.Check(err)
		}
	}
	ts.Check(os.RemoveAll(made))
	for _, name := range []string{"audit.key", "audit.key.next"} { // which he does not have
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			ts.Fatalf("%v", err)
		}
	}
}

// rewriteLog copies the events of a log to another, in the appends they were made in,
// and returns how many of them it changed.
func rewriteLog(from, to string, old, new []byte) (changed int, err error) {
	src, err := eventlog.Open(from, eventlog.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer src.Close()
	dst, err := eventlog.Open(to, eventlog.Options{})
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	for after := eventlog.Seq(0); ; {
		page, err := src.ReadFrom(after, 1)
		if err != nil || len(page) == 0 {
			return changed, err
		}
		e := page[0]
		after = e.Seq
		if p := bytes.ReplaceAll(e.Payload, old, new); !bytes.Equal(p, e.Payload) {
			e.Payload = p
			changed++
		}
		a := eventlog.Append{ID: e.Append, Run: e.Run, Expect: e.Version - 1, Records: []eventlog.Record{{Time: e.Time, Kind: e.Kind, Actor: e.Actor, Payload: e.Payload}}}
		if _, err := dst.Append(context.Background(), a); err != nil {
			return changed, err
		}
	}
}

// forge-archive DIR FORGED RUN makes the log in DIR take the payloads of a run from an
// archive that was made of FORGED.
func forgeArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: forge-archive DIR FORGED RUN")
	}
	run, err := eventlog.ParseRunID(args[2])
	ts.Check(err)
	forged, err := eventlog.Open(ts.MkAbs(args[1]), eventlog.Options{})
	ts.Check(err)
	defer forged.Close()
	last, err := forged.Version(run)
	ts.Check(err)
	a, err := forged.WriteArchive(context.Background(), []eventlog.Span{{Run: run, From: 1, To: last}})
	ts.Check(err)
	name := filepath.Join("archives", a.ID.String()+".wfda")
	ts.Check(os.Rename(filepath.Join(ts.MkAbs(args[1]), name), filepath.Join(ts.MkAbs(args[0]), name)))
	db, err := eventlog.Open(ts.MkAbs(args[0]), eventlog.Options{})
	ts.Check(err)
	defer db.Close()
	ts.Check(db.AdoptArchive(a.ID))
}
