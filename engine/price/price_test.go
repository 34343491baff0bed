package price

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/projection/event"
)

func parse(t *testing.T, src string) *Book {
	t.Helper()
	b, err := Parse("prices.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The book in the binary can be read, says of which day it is, and has prices
// that make sense: what is cached costs no more than what is not, and what comes
// out costs at least what goes in.
func TestDefault(t *testing.T) {
	b := Default()
	if b.AsOf == "" || len(b.models) < 40 {
		t.Fatalf("%d models as of %q", len(b.models), b.AsOf)
	}
	for _, l := range b.Lines() {
		prices := []event.Price{l.Price}
		if l.Long != nil {
			prices = append(prices, *l.Long)
			if l.Long.Input < l.Price.Input || l.Long.Output < l.Price.Output {
				t.Errorf("%s: long input is cheaper", l.Model)
			}
		}
		for _, p := range prices {
			if p.Input <= 0 || p.Cached > p.Input || p.Output < p.Input {
				t.Errorf("%s: %+v", l.Model, p)
			}
		}
	}
}

// Models are found under the names that providers and users have for them.
func TestNames(t *testing.T) {
	b := parse(t, `
models:
  gpt-5: {input: 1.25, cached: 0.125, output: 10}
  gpt-5-mini: {input: 0.25, output: 2}
  claude-opus-4-5: {input: 5, output: 25}
  vendor/special: {input: 7, output: 7}
`)
	for name, want := range map[string]string{
		"gpt-5": "1.25", "GPT-5": "1.25", "gpt-5-2025-08-07": "1.25", "openai/gpt-5": "1.25", "gpt-5-latest": "1.25",
		"openrouter/openai/gpt-5-mini-2025-08-07": "0.25", "claude-opus-4.5-20251101": "5", "vendor/special": "7",
		"special": "", "gpt-5-pro": "", "gpt": "", "": "", "/": "", "-latest": "", "gpt-5-2025": "",
	} {
		got := ""
		if p := b.Price(name, 1); p != nil {
			got = p.Input.String()
		}
		if got != want {
			t.Errorf("%q costs %q, want %q", name, got, want)
		}
	}
}

// A call whose input is beyond the bound is charged at the other price as a
// whole; one at the bound is not.
func TestLongInput(t *testing.T) {
	b := parse(t, `models: {m: {input: 2, output: 8, over: {tokens: 1000, input: 4, cached: 1, output: 12}}}`)
	for input, want := range map[int64]event.Price{
		0:    {Input: 2_000_000, Cached: 2_000_000, Output: 8_000_000},
		1000: {Input: 2_000_000, Cached: 2_000_000, Output: 8_000_000},
		1001: {Input: 4_000_000, Cached: 1_000_000, Output: 12_000_000},
	} {
		if got := *b.Price("m", input); got != want {
			t.Errorf("%d tokens: %+v", input, got)
		}
	}
}

func TestOver(t *testing.T) {
	base := parse(t, `{as_of: 2026-01-01, models: {a: {input: 1, output: 1}, b: {input: 2, output: 2}}}`)
	own := parse(t, `models: {B: {input: 0, output: 0}, c: {input: 0.000001, output: 3}}`)
	b := own.Over(base)
	for model, want := range map[string]event.Micros{"a": 1_000_000, "b": 0, "c": 1} {
		if got := b.Price(model, 1); got == nil || got.Input != want {
			t.Errorf("%s: %+v", model, got)
		}
	}
	if base.Price("c", 1) != nil || b.AsOf != "2026-01-01" {
		t.Error("the base has changed")
	}
}

// Every problem of a file is told, with its place.
func TestProblems(t *testing.T) {
	for src, want := range map[string]string{
		"":                                            "empty",
		"[1]":                                         "1:1: error[type]: a price list is a list",
		"as_of: 2026-01-01":                           "error[missing-field]: a price list needs models",
		"models: {}\nas_of: soon":                     "2:8: error[type]: as_of is no day",
		"models: {}\nmodel: {}":                       `2:1: error[unknown-field]: a price list has no field "model" (did you mean models?)`,
		"models: [a]":                                 "1:9: error[type]: models is a list",
		"models:\n  a: 3":                             `2:6: error[type]: the price of "a" is a number`,
		"models:\n  a: {input: 1}":                    `the price of "a" has no output`,
		"models:\n  a: {inptu: 1}":                    `no field "inptu" (did you mean input?)`,
		"models: {a: {input: -1, output: 1}}":         "input is no amount",
		"models: {a: {input: .nan, output: 1}}":       "infinity and NaN are no values",
		"models: {a: {input: .inf, output: 1}}":       "infinity and NaN are no values",
		"models: {a: {input: 1e300, output: 1}}":      "input is no amount",
		"models: {a: {input: 0.0000001, output: 1}}":  "more than six decimals",
		"models: {a: {input: 2000000, output: 1}}":    "more than 1000000 dollars",
		"models: {a: {input: true, output: 1}}":       "input is no amount",
		"models: {a: {input: 1, output: 1, over: 5}}": "for long input is a number",
		"models: {a: {input: 1, output: 1, over: {tokens: 0, input: 1, output: 1}}}": "needs tokens",
		"models: {a: {input: 1, output: 1, over: {tokens: 5, output: 1}}}":           "has no input",
		"models: {a.1: {input: 1, output: 1}, A-1: {input: 1, output: 1}}":           `"A-1" and "a.1" are the same model`,
	} {
		_, err := Parse("p.yaml", []byte(src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  gives %v\n  want  %s", src, err, want)
		}
	}
	_, err := Parse("p.yaml", []byte("models:\n  a: {input: x}\n  b: {output: y}\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("not all problems at once: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("models: {a: {input: 1, output: 2, over: {tokens: 3, input: 4, output: 5}}}"))
	if b, err := os.ReadFile(filepath.Join(".", "prices.yaml")); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		b, err := Parse("p.yaml", src)
		if err != nil {
			return
		}
		for _, l := range b.Lines() {
			if l.Price.Input < 0 || l.Price.Input > event.MaxPrice || l.Price.Output < 0 || l.Price.Output > event.MaxPrice {
				t.Fatalf("%+v", l)
			}
		}
	})
}
