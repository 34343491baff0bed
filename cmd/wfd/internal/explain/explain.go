// Package explain knows every word by which wfd says that something is wrong: the
// types of the API's problems, the classes of failures, the codes of what is wrong
// with a definition, and the exit codes. Each has a cause and a remedy. Its test holds
// the table against the words in use.
package explain

import (
	"cmp"
	"slices"
	"strings"
)

// Kind says where a word is met.
type Kind string

// Kinds.
const (
	Problem    Kind = "problem"    // the API's answer: urn:wfd:problem:<word>
	Failure    Kind = "failure"    // the class of a failed attempt or run
	Definition Kind = "definition" // what is wrong with a file: error[<word>]
	Exit       Kind = "exit"       // the code that a command ends with
)

var kinds = []Kind{Problem, Failure, Definition, Exit}

// Prefix comes before the word of a Problem in the API's answers.
const Prefix = "urn:wfd:problem:"

// Entry explains a word.
type Entry struct {
	Kind   Kind   `json:"kind"`
	Word   string `json:"word"`
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
}

// All returns every entry, by kind and word.
func All() []Entry {
	var all []Entry
	for _, k := range kinds {
		for word, text := range table[k] {
			all = append(all, Entry{k, word, text.cause, text.remedy})
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			cmp.Compare(len(a.Word)*exits(a), len(b.Word)*exits(b)), cmp.Compare(a.Word, b.Word))
	})
	return all
}

// exits is 1 of an exit code: numbers are ordered by their length first.
func exits(e Entry) int {
	if e.Kind == Exit {
		return 1
	}
	return 0
}

// Find returns what a word means, wherever it is met. It takes it as people copy it:
// with the prefix of its kind, in brackets, in any case, with - or _.
func Find(word string) []Entry {
	only := Kind("")
	w := strings.ToLower(strings.TrimSpace(word))
	if rest, ok := strings.CutPrefix(w, Prefix); ok {
		w, only = rest, Problem
	}
	for _, severity := range []string{"error[", "warning["} {
		if rest, ok := strings.CutPrefix(w, severity); ok {
			w, only = rest, Definition
		}
	}
	for _, k := range kinds {
		for _, sep := range []string{" ", ":", "/"} {
			if rest, ok := strings.CutPrefix(w, string(k)+sep); ok {
				w, only = strings.TrimSpace(rest), k
			}
		}
	}
	w = plain(strings.TrimRight(w, "]:. "))
	var found []Entry
	for _, e := range All() {
		if plain(e.Word) == w && (only == "" || only == e.Kind) {
			found = append(found, e)
		}
	}
	return found
}

// Near returns words that are much like one that is not there.
func Near(word string) []string {
	w := plain(strings.ToLower(word))
	var near []string
	for _, e := range All() {
		p := plain(e.Word)
		if len(w) > 2 && (strings.Contains(p, w) || strings.Contains(w, p) && len(p) > 3 || distance(p, w) <= 2) && !slices.Contains(near, e.Word) {
			near = append(near, e.Word)
		}
	}
	return near
}

func plain(s string) string { return strings.ReplaceAll(s, "_", "-") }

// distance is how many characters have to be put in, taken out or replaced to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
