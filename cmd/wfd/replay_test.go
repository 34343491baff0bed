package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// wfd runs a command on a directory and returns what it printed.
func wfdOn(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	err := a.run(context.Background(), append(args, "--data", dir))
	return out.String(), err
}

// A run in whose history one event does not follow is named, with the event, by
// verify and in its exit code; others pass.
func TestVerifyNamesAWrongEvent(t *testing.T) {
	dir := t.TempDir()
	id := eventlog.RunID{1, 2, 3}
	wf, problems := workflow.Load("w.yaml", []byte("name: w\nnodes:\n  a: {exec: {command: [x]}}\n  b: {exec: {command: [x]}, needs: [a]}\n"))
	if wf == nil {
		t.Fatal(problems)
	}
	text, err := wf.Def.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(run eventlog.RunID, expect eventlog.Version, records ...eventlog.Record) {
		t.Helper()
		if _, err := log.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(expect + 1), Run: run, Expect: expect, Records: records}); err != nil {
			t.Fatal(err)
		}
	}
	def := &event.DefinitionRegistered{Name: "w", Version: 1, Hash: wf.Hash.String(), Definition: string(text)}
	write(projection.Workflows, 0, eventlog.Record{Time: 1, Kind: def.Kind(), Actor: "ann", Payload: event.Encode(def)})
	s := run.New(id)
	decide := func(c machine.Command) (records []eventlog.Record) {
		t.Helper()
		events, err := machine.Decide(wf, s, machine.Meta{At: 10, Actor: "ann"}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			records = append(records, e.Record)
		}
		return records
	}
	first := decide(machine.Start{Version: 1})
	second := decide(machine.Result{Node: "a", Visit: 1, Attempt: 1, Value: event.MustValue(1)})
	wrong := &event.NodeScheduled{Node: "b", Visit: 2}
	second[2].Payload = event.Encode(wrong)
	write(id, 0, first...)
	write(id, eventlog.Version(len(first)), second...)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	out, err := wfdOn(t, dir, "verify", id.String())
	if exitCode(err) != exitFailed || !strings.Contains(out, "differs at version 6 (seq 7): node.scheduled: visit is 2, and 1 follows") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = wfdOn(t, dir, "verify", "--all", "-o", "ndjson", "--jq", ".difference.recorded.data.visit, .difference.decided.data.visit, .verified")
	if exitCode(err) != exitFailed || out != "2\n1\n3\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

// The examples of docs/replay.md print what it says, but for IDs and times.
func TestReplayDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	t.Chdir(work)
	dir := filepath.Join(work, "data")
	ids := map[string]string{}
	varying := regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b|\b\d+(\.\d+)?(ms|µs|s)\b|\d\d:\d\d:\d\d\.\d+`)
	plain := func(s string) string {
		s = varying.ReplaceAllString(s, "*")
		return regexp.MustCompile(` +`).ReplaceAllString(s, " ")
	}
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```(\\w+)( \\S+)?\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		kind, name, body := block[1], strings.TrimSpace(block[2]), block[3]
		if name != "" {
			if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if kind != "console" {
			continue
		}
		for _, part := range strings.Split(body, "$ wfd ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			commands++
			var args []string
			for _, a := range strings.Fields(command) {
				for k, v := range ids {
					a = strings.ReplaceAll(a, k, v)
				}
				args = append(args, strings.Trim(a, "'"))
			}
			got, err := wfdOn(t, dir, args...)
			var c *coded
			if err != nil && !errors.As(err, &c) {
				t.Fatalf("wfd %s: %v", command, err)
			}
			if args[0] == "run" {
				ids["RUN"+string(rune('1'+len(ids)))] = strings.Fields(got)[0]
			}
			got, _, _ = strings.Cut(got, "\nTOOK") // another order every time
			if plain(strings.TrimSpace(got)) != plain(strings.TrimSpace(want)) {
				t.Errorf("wfd %s:\n%s\nthe page has:\n%s", command, got, want)
			}
		}
	}
	if commands < 6 {
		t.Errorf("only %d commands", commands)
	}
}
