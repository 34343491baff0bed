// Package guard looks at what comes into runs from outside, and at what agents and
// services answer, by rules: it lets it pass, warns, has somebody asked, or blocks it.
//
// A rule looks for words, as whole words in any case and spacing, or for a regular
// expression, in every text of a value: keys too. It never looks at prompts, nor at
// anything else in a definition: whoever installs one is trusted with it.
//
// Rules are no proof against somebody who knows them; they find what is said openly.
//
// The engine asks a guard before a command is decided. What is found is an event, and so
// is what follows from it: a history is decided again without a rule being asked.
package guard

import (
	"path"
	"regexp"
	"strings"
)

// What is looked at: these, or the result of somebody or something.
const (
	Input  = "input"  // of a run: what it is started, forked or resumed with
	Signal = "signal" // to a run
	Answer = "answer" // of a person

	Agent  = "agent"  // a model's answer, also in a chat, for a plan or at a converge
	HTTP   = "http"   // what a service said
	Tool   = "tool"   // what a tool said: to a tool node, or to an agent
	Exec   = "exec"   // what a program said
	Worker = "worker" // what a worker said
)

var places = []string{Input, Signal, Answer, Agent, HTTP, Tool, Exec, Worker}

// Given reports whether what comes with a command. Whoever gives one is told at once
// that it was blocked, so that nobody else is asked.
func Given(what string) bool { return what == Input || what == Signal || what == Answer }

// Outcome is what becomes of something in which a rule found something.
type Outcome string

// Outcomes, the gravest last.
const (
	Warn  Outcome = "warn"  // it passes
	Ask   Outcome = "ask"   // somebody is asked
	Block Outcome = "block" // it does not pass
)

var outcomes = []string{string(Warn), string(Ask), string(Block)}

// Content is what is looked at.
type Content struct {
	What     string
	Workflow string
	Values   []any // nil, bool, int64, float64, string, []any or map[string]any
}

// Finding is what a rule found.
type Finding struct {
	Rule    string
	Then    Outcome
	Message string
}

// Rules is a guard that goes by rules. It is safe for concurrent use.
type Rules struct{ list []rule }

type rule struct {
	name, message string
	then          Outcome
	on            map[string]bool
	workflows     []string // patterns of names; none: all
	match         *regexp.Regexp
}

// Check returns what the rules find, in their order.
func (r *Rules) Check(c Content) []Finding {
	var found []Finding
	for i := range r.list {
		if x := &r.list[i]; x.on[c.What] && x.of(c.Workflow) && x.in(c.Values) {
			found = append(found, Finding{Rule: x.name, Then: x.then, Message: x.message})
		}
	}
	return found
}

// Gravest returns the finding that decides what becomes of something, by its place
// among those found; -1 if nothing was found.
func Gravest(found []Finding) int {
	g := -1
	for i, f := range found {
		if g < 0 || rank(f.Then) > rank(found[g].Then) {
			g = i
		}
	}
	return g
}

func rank(o Outcome) int {
	switch o {
	case Block:
		return 2
	case Ask:
		return 1
	}
	return 0
}

func (x *rule) of(workflow string) bool {
	for _, p := range x.workflows {
		if ok, _ := path.Match(strings.ToLower(p), strings.ToLower(workflow)); ok { // they were tried
			return true
		}
	}
	return len(x.workflows) == 0
}

// in reports whether the rule finds something in a value.
func (x *rule) in(v any) bool {
	switch v := v.(type) {
	case string:
		return x.match.MatchString(visible(v))
	case []any:
		for _, e := range v {
			if x.in(e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if x.in(k) || x.in(e) {
				return true
			}
		}
	}
	return false
}

// visible takes out characters that nobody sees, with which words could be broken up.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == 0x00AD, r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x2064, r == 0xFEFF:
			return -1
		}
		return r
	}, s)
}

// wordsPattern returns an expression that matches any of words, as whole words: none
// that goes on with a letter, a digit or an underscore.
func wordsPattern(words []string) string {
	alt := make([]string, len(words))
	for i, w := range words {
		parts := strings.Fields(w)
		for j := range parts {
			parts[j] = regexp.QuoteMeta(parts[j])
		}
		alt[i] = strings.Join(parts, `\s+`)
	}
	const edge = `[^\p{L}\p{M}\p{N}_]`
	return `(?i)(?:^|` + edge + `)(?:` + strings.Join(alt, "|") + `)(?:$|` + edge + `)`
}
