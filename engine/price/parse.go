package price

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
	"github.com/wfd-dev/wfd/projection/event"
)

// words are what is said of a file that cannot be read.
var words = source.Words{
	Content:   "price list",
	Empty:     "write `models:` with a line such as `gpt-5: {input: 1.25, output: 10}`",
	Documents: "put the prices into one",
	Syntax:    true,
}

// Parse reads a price list, YAML or JSON. The error, a workflow.Problems, holds
// everything that is wrong with it.
func Parse(file string, src []byte) (*Book, error) {
	text, t, problem := source.Read(file, src, words)
	if problem != nil {
		return nil, workflow.Problems{*problem}
	}
	p := &parser{text: text, book: &Book{models: map[string]entry{}}}
	p.file(t)
	if p.problems.HasErrors() {
		return nil, p.problems.Sorted()
	}
	return p.book, nil
}

type parser struct {
	text     *source.File
	book     *Book
	problems workflow.Problems
}

// add notes a problem where t begins.
func (p *parser) add(code string, t *source.Tree, msg, hint string) {
	p.problems = append(p.problems, p.text.Wrong(code, t, msg, hint))
}

// object calls field for each field of t, which are to be among names. It reports
// whether t is an object.
func (p *parser) object(t *source.Tree, what string, names []string, field func(name string, v *source.Tree)) bool {
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, what+" is "+t.What()+", not an object", "")
		return false
	}
	for i, k := range t.Keys {
		name := k.Value.(string)
		if !slices.Contains(names, name) {
			hint := "there is " + strings.Join(names, ", ")
			if near := expr.Closest(name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.add(workflow.CodeUnknownField, k, fmt.Sprintf("%s has no field %s", what, strconv.Quote(name)), hint)
			continue
		}
		field(name, t.Items[i])
	}
	return true
}

func (p *parser) file(t *source.Tree) {
	ok := p.object(t, "a price list", []string{"as_of", "models"}, func(name string, v *source.Tree) {
		switch name {
		case "as_of":
			day, _ := v.Value.(string)
			if _, err := time.Parse(time.DateOnly, day); err != nil {
				p.add(workflow.CodeType, v, "as_of is no day", "write it as 2026-01-31")
				return
			}
			p.book.AsOf = day
		case "models":
			p.models(v)
		}
	})
	if ok && t.Get("models") == nil {
		p.add(workflow.CodeMissingField, t, "a price list needs models", words.Empty)
	}
}

func (p *parser) models(t *source.Tree) {
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, "models is "+t.What()+", not an object", "write one `<model>: {input: …, output: …}` per line under it")
		return
	}
	for i, k := range t.Keys {
		name := k.Value.(string)
		id := fold(name)
		if id == "" {
			p.add(workflow.CodeName, k, "a model needs a name", "")
			continue
		}
		if other, twice := p.book.models[id]; twice {
			p.add(workflow.CodeDuplicateKey, k, fmt.Sprintf("%s and %s are the same model", strconv.Quote(name), strconv.Quote(other.name)), "remove one")
			continue
		}
		p.book.models[id] = p.model(name, t.Items[i])
	}
}

func (p *parser) model(name string, t *source.Tree) entry {
	e := entry{name: name}
	what := "the price of " + strconv.Quote(name)
	ok := p.object(t, what, []string{"input", "cached", "output", "over"}, func(field string, v *source.Tree) {
		if field == "over" {
			e.above, e.long = p.over(what, v)
		}
	})
	if ok {
		e.price = p.price(what, t)
	}
	return e
}

func (p *parser) over(what string, t *source.Tree) (above int64, long event.Price) {
	what += " for long input"
	if !p.object(t, what, []string{"tokens", "input", "cached", "output"}, func(string, *source.Tree) {}) {
		return 0, long
	}
	if v := t.Get("tokens"); v != nil {
		above, _ = v.Value.(int64)
	}
	if above < 1 || above > event.MaxTokens {
		p.add(workflow.CodeRange, t, what+" needs tokens, a whole number of them", "as in over: {tokens: 200000, input: 4, output: 18}")
	}
	return above, p.price(what, t)
}

// price reads the amounts of a price.
func (p *parser) price(what string, t *source.Tree) event.Price {
	var e event.Price
	for _, f := range []struct {
		name string
		to   *event.Micros
	}{{"input", &e.Input}, {"output", &e.Output}, {"cached", &e.Cached}} {
		v := t.Get(f.name)
		switch {
		case v != nil:
			*f.to = p.amount(what+": "+f.name, v)
		case f.name == "cached":
			e.Cached = e.Input
		default:
			p.add(workflow.CodeMissingField, t, what+" has no "+f.name, "a model that costs nothing is {input: 0, output: 0}")
		}
	}
	return e
}

// amount reads dollars per million tokens. A number that a file writes in a few
// decimals is read exactly: its shortest spelling is what was written.
func (p *parser) amount(what string, t *source.Tree) event.Micros {
	var text string
	switch v := t.Value.(type) {
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		text = v
	}
	m, err := event.ParseUSD(text)
	switch {
	case err != nil:
		p.add(workflow.CodeType, t, what+" is no amount: "+err.Error(), "US dollars per million tokens, as 2.50")
	case m > event.MaxPrice:
		p.add(workflow.CodeRange, t, fmt.Sprintf("%s is %s, more than %s dollars per million tokens", what, m, event.MaxPrice), "")
	}
	return m
}
