package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/itchyny/gojq"
	"go.yaml.in/yaml/v4"
)

// checkOutput refuses an unknown form of output before anything is done.
func (a *app) checkOutput() error {
	if !slices.Contains([]string{"table", "json", "ndjson", "yaml"}, a.output) {
		return usagef("-o %q: want table, json, ndjson or yaml", a.output)
	}
	if a.jq == "" {
		return nil
	}
	if a.output == "table" {
		a.output = "json"
	}
	if a.output == "yaml" {
		return usagef("--jq filters JSON: use it with -o json or ndjson")
	}
	_, err := a.filter()
	return err
}

func (a *app) filter() (*gojq.Code, error) {
	q, err := gojq.Parse(a.jq)
	if err != nil {
		return nil, usagef("--jq: %w", err)
	}
	code, err := gojq.Compile(q)
	if err != nil {
		return nil, usagef("--jq: %w", err)
	}
	return code, nil
}

// print writes one value in the form that was asked for: human is for a table.
func (a *app) print(raw json.RawMessage, human func(t *text)) error {
	if a.output != "table" {
		return a.printJSON(raw)
	}
	t := a.text()
	human(t)
	return t.flush()
}

// printList is print for a page of a list.
func (a *app) printList(raw json.RawMessage, human func(t *text)) error {
	if a.output != "ndjson" {
		return a.print(raw, human)
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	for _, item := range list.Items {
		if err := a.printJSON(item); err != nil {
			return err
		}
	}
	return nil
}

// printEach writes what a command says about each of the things it was given, once
// all is known: one as it is, several as a list, or one a line. A table is written as
// it goes.
func (a *app) printEach(raws []json.RawMessage, given int) error {
	switch {
	case a.output == "table":
		return nil
	case given == 1 && len(raws) == 1:
		return a.printJSON(raws[0])
	case a.output == "ndjson":
		for _, raw := range raws {
			if err := a.printJSON(raw); err != nil {
				return err
			}
		}
		return nil
	case raws == nil:
		raws = []json.RawMessage{}
	}
	raw, err := json.Marshal(raws)
	if err != nil {
		return err
	}
	return a.printJSON(raw)
}

// printJSON writes a value as JSON, one line of it, or YAML.
func (a *app) printJSON(raw json.RawMessage) error {
	if a.jq != "" {
		return a.printFiltered(raw)
	}
	switch a.output {
	case "yaml":
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(b)
		return err
	case "ndjson":
		return writeCompact(a.stdout, raw)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(a.stdout)
	return err
}

func (a *app) printFiltered(raw json.RawMessage) error {
	code, err := a.filter()
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err
	}
	for it := code.Run(v); ; {
		x, ok := it.Next()
		if !ok {
			return nil
		}
		if err, failed := x.(error); failed {
			return usagef("--jq: %w", err)
		}
		if s, is := x.(string); is {
			fmt.Fprintln(a.stdout, s)
			continue
		}
		b, err := gojq.Marshal(x)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\n", b); err != nil {
			return err
		}
	}
}

func writeCompact(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}
