package guard

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Limits of a file of rules.
const (
	MaxRules   = 200
	MaxWords   = 1000 // of a rule
	MaxText    = 256  // bytes of a word, and of a message
	MaxPattern = 4096 // bytes of a regular expression
)

//go:embed default.yaml
var defaults []byte

// Default returns the rules of the binary.
func Default() *Rules {
	r, err := Parse("default.yaml", defaults)
	if err != nil {
		panic("guard: " + err.Error()) // it is part of the program
	}
	return r
}

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	ruleFields = []string{"name", "message", "on", "workflows", "words", "match", "then"}
	fileWords  = source.Words{
		Content:   "file of rules",
		Empty:     "write `rules:` and a list under it",
		Documents: "put the rules into one",
		Syntax:    true,
	}
)

// Parse reads a file of rules, YAML or JSON. The error, a workflow.Problems, holds
// everything that is wrong with it.
func Parse(file string, src []byte) (*Rules, error) {
	text, t, problem := source.Read(file, src, fileWords)
	if problem != nil {
		return nil, workflow.Problems{*problem}
	}
	p := &parser{text: text, names: map[string]bool{}}
	r := p.rules(t)
	if p.problems.HasErrors() {
		return nil, p.problems.Sorted()
	}
	return r, nil
}

type parser struct {
	text     *source.File
	problems workflow.Problems
	names    map[string]bool
}

// add notes a problem where t begins.
func (p *parser) add(code string, t *source.Tree, msg, hint string) {
	p.problems = append(p.problems, p.text.Wrong(code, t, msg, hint))
}

// object calls field for each field of t, which are to be among names.
func (p *parser) object(t *source.Tree, what string, names []string, field func(name string, v *source.Tree)) {
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, what+" is "+t.What()+", not an object", "there is "+strings.Join(names, ", "))
		return
	}
	for i, k := range t.Keys {
		name := fmt.Sprint(k.Value)
		if slices.Contains(names, name) {
			field(name, t.Items[i])
			continue
		}
		hint := "there is " + strings.Join(names, ", ")
		if near := expr.Closest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.add(workflow.CodeUnknownField, k, fmt.Sprintf("%s has no field %s", what, strconv.Quote(name)), hint)
	}
}

func (p *parser) rules(t *source.Tree) *Rules {
	r := &Rules{}
	p.object(t, "a file of rules", []string{"rules"}, func(_ string, v *source.Tree) {
		switch {
		case v.Kind != source.List:
			p.add(workflow.CodeType, v, "rules is "+v.What()+", not a list", "begin each rule with a dash")
		case len(v.Items) > MaxRules:
			p.add(workflow.CodeLimit, v, fmt.Sprintf("there are %d rules, the limit is %d", len(v.Items), MaxRules), "")
		default:
			for _, x := range v.Items {
				r.list = append(r.list, p.rule(x))
			}
		}
	})
	if t.Kind == source.Map && t.Get("rules") == nil {
		p.add(workflow.CodeMissingField, t, "a file of rules needs rules", fileWords.Empty)
	}
	return r
}

func (p *parser) rule(t *source.Tree) rule {
	x := rule{on: map[string]bool{}}
	at := map[string]*source.Tree{}
	p.object(t, "a rule", ruleFields, func(name string, v *source.Tree) {
		at[name] = v
		switch name {
		case "name":
			p.name(&x, v)
		case "message":
			x.message = p.line(name, v)
		case "then":
			x.then = Outcome(p.oneOf(name, v, outcomes))
		case "on":
			for _, v := range p.list(name, v) {
				x.on[p.oneOf(name, v, places)] = true
			}
		case "workflows":
			for _, v := range p.list(name, v) {
				w := p.line(name, v)
				if _, err := path.Match(w, ""); err != nil {
					p.add(workflow.CodeType, v, fmt.Sprintf("%s is no pattern of names", strconv.Quote(w)), "* stands for any part")
				}
				x.workflows = append(x.workflows, w)
			}
		case "words":
			x.match = p.words(v)
		case "match":
			x.match = p.pattern(v)
		}
	})
	if t.Kind != source.Map {
		return x
	}
	for _, need := range []struct{ field, hint string }{
		{"name", "events name it"},
		{"on", "some of " + strings.Join(places, ", ")},
		{"then", "one of " + strings.Join(outcomes, ", ")},
	} {
		if at[need.field] == nil {
			p.add(workflow.CodeMissingField, t, "the rule has no "+need.field, need.hint)
		}
	}
	switch {
	case at["words"] == nil && at["match"] == nil:
		p.add(workflow.CodeMissingField, t, "the rule looks for nothing", "write words:, or match: with a regular expression")
	case at["words"] != nil && at["match"] != nil:
		p.add(workflow.CodeType, at["match"], "the rule has both words and match", "make two rules of it")
	}
	if x.then == Ask && at["on"] != nil {
		for _, what := range places {
			if x.on[what] && Given(what) {
				p.add(workflow.CodeType, at["then"], "nobody is asked about what comes as "+what, "ask is for results; let it warn, or block: whoever gives it is told at once")
				break
			}
		}
	}
	return x
}

func (p *parser) name(x *rule, v *source.Tree) {
	x.name = p.line("name", v)
	switch {
	case x.name == "": // it was said
	case !nameForm.MatchString(x.name):
		p.add(workflow.CodeName, v, fmt.Sprintf("%s is no name for a rule", strconv.Quote(x.name)), "up to 64 letters, digits, -, _ and .")
	case p.names[x.name]:
		p.add(workflow.CodeDuplicateKey, v, fmt.Sprintf("there are two rules %s", x.name), "events tell rules apart by their names")
	}
	p.names[x.name] = true
}

// words returns the expression of a list of words, nil if there is something wrong.
func (p *parser) words(v *source.Tree) *regexp.Regexp {
	items := p.list("words", v)
	if len(items) > MaxWords {
		p.add(workflow.CodeLimit, v, fmt.Sprintf("there are %d words, the limit is %d", len(items), MaxWords), "make several rules of it")
		return nil
	}
	words := make([]string, len(items))
	for i, x := range items {
		if words[i] = p.line("words", x); words[i] == "" {
			return nil
		}
	}
	if len(words) == 0 {
		return nil
	}
	re, err := regexp.Compile(wordsPattern(words))
	if err != nil {
		p.add(workflow.CodeType, v, "the words make no expression: "+err.Error(), "")
	}
	return re
}

// pattern returns an expression, nil if there is something wrong with it.
func (p *parser) pattern(v *source.Tree) *regexp.Regexp {
	s, ok := v.Value.(string)
	if !ok {
		p.add(workflow.CodeType, v, "match is "+v.What()+", not text", "a regular expression")
		return nil
	}
	if len(s) > MaxPattern {
		p.add(workflow.CodeLimit, v, fmt.Sprintf("match has %d bytes, the limit is %d", len(s), MaxPattern), "")
		return nil
	}
	re, err := regexp.Compile(s)
	switch {
	case err != nil:
		p.add(workflow.CodeType, v, strings.TrimPrefix(err.Error(), "error parsing regexp: "), "the syntax is that of RE2: no backreferences, no look-around")
	case re.MatchString(""):
		p.add(workflow.CodeType, v, "match fits the empty text", "it would find something everywhere")
	}
	return re
}

// line reads a short text that is not empty; "" if it is none.
func (p *parser) line(field string, v *source.Tree) string {
	s, ok := v.Value.(string)
	switch {
	case !ok:
		p.add(workflow.CodeType, v, field+" is "+v.What()+", not text", "put it in quotes")
	case strings.TrimSpace(s) == "":
		p.add(workflow.CodeType, v, field+" is empty", "")
	case len(s) > MaxText:
		p.add(workflow.CodeLimit, v, fmt.Sprintf("%s has %d bytes, the limit is %d", field, len(s), MaxText), "")
	default:
		return s
	}
	return ""
}

// oneOf reads one of some names.
func (p *parser) oneOf(field string, v *source.Tree, names []string) string {
	s := p.line(field, v)
	if s != "" && !slices.Contains(names, s) {
		hint := "there is " + strings.Join(names, ", ")
		if near := expr.Closest(s, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.add(workflow.CodeType, v, fmt.Sprintf("%s cannot be %s", field, strconv.Quote(s)), hint)
	}
	return s
}

// list returns the items of a list, or one that stands alone.
func (p *parser) list(field string, v *source.Tree) []*source.Tree {
	switch {
	case v.Kind == source.Scalar:
		return []*source.Tree{v}
	case v.Kind != source.List:
		p.add(workflow.CodeType, v, field+" is "+v.What()+", not a list", "")
	case len(v.Items) == 0:
		p.add(workflow.CodeType, v, field+" is an empty list", "")
	}
	return v.Items
}
