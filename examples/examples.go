// Package examples holds definitions to begin with, and scripted answers for
// them, so that they run without models. wfd dev registers them where a directory
// has none of its own.
package examples

import (
	"embed"
	"regexp"
	"sync"
)

// Files are the definitions, and the answers in replies.yaml.
//
//go:embed *.yaml
var Files embed.FS

// Start is the project that wfd init writes, in the folder StartDir.
//
//go:embed start
var Start embed.FS

// StartDir is where the project is in Start.
const StartDir = "start"

// Replies is the name of the file with the answers.
const Replies = "replies.yaml"

// Has reports whether a workflow of this name is among the definitions: replies.yaml
// answers those, and nobody else's.
func Has(workflow string) bool { return names()[workflow] }

var names = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	files, err := Files.ReadDir(".")
	if err != nil {
		panic(err) // it is in the binary
	}
	for _, f := range files {
		text, err := Files.ReadFile(f.Name())
		if err != nil {
			panic(err)
		}
		if m := regexp.MustCompile(`(?m)^name: *(\S+)`).FindSubmatch(text); m != nil {
			all[string(m[1])] = true
		}
	}
	return all
})

// Demos are the runs that wfd dev begins with: one that ends by itself, and one that
// asks a person.
var Demos = []Demo{
	{"tour", `{"topic": "tides"}`},
	{"release-note", `{"product": "wfd"}`},
}

// Demo is a run to begin with.
type Demo struct{ Workflow, Input string }
